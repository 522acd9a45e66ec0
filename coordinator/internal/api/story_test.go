package api_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/api"
	"github.com/licet-project/licet/coordinator/internal/api/apitest"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
)

// stocked is an API with the samples imported, and the field around it.
func stocked(t *testing.T, d *db.DB) (*house, *apitest.Field) {
	t.Helper()
	field := apitest.New(d)
	h := open(t, d, func(o *api.Options) { o.Ask, o.ActivationServer = field.Ask, field })
	require.NoError(t, apitest.Stock(t.Context(), h.Client))
	require.NoError(t, field.Step(t.Context()))
	return h, field
}

// sound fails if an invariant of the ledger is broken.
func sound(t *testing.T, d *db.DB) {
	t.Helper()
	require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
		broken, err := ledger.Verify(tx)
		require.Empty(t, broken)
		return err
	}))
}

// refusal is the coordinator's no.
func refusal(t *testing.T, err error) client.Problem {
	t.Helper()
	problem, ok := errors.AsType[*client.Problem](err)
	require.True(t, ok, "%v", err)
	require.NotEmpty(t, problem.Hint)
	return *problem
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	content, err := fs.ReadFile(apitest.Samples(), name)
	require.NoError(t, err)
	return content
}

// The demo from the first import to the last receipt, and a return, as the API tells it.
func TestTheMainJob(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h, field := stocked(t, d)
		ctx := t.Context()

		again, err := h.ImportEntitlement(ctx, sample(t, "entitlement-hq.html"), "")
		require.NoError(t, err)
		require.True(t, again.Unchanged)
		require.Equal(t, []any{"DEMO-ENT-2026-000123", 5, 437}, []any{again.EntitlementID, again.Lines, again.Seats})

		for _, c := range []struct {
			r    client.AssignRequest
			want client.AssignResult
		}{
			{client.AssignRequest{Select: "role=top,site=hq", Product: "SAMPLE-TIER-ADV", Count: 1}, client.AssignResult{Servers: 1, SeatsHeld: 1, Changed: 1, Left: 54}},
			{client.AssignRequest{Select: "role=top,site!=hq", Product: "SAMPLE-TIER-ESS", Count: 1}, client.AssignResult{Servers: 5, SeatsHeld: 5, Changed: 5, Left: 155}},
			{client.AssignRequest{Select: "role=top", Product: "SAMPLE-DEV-100", Count: 2}, client.AssignResult{Servers: 6, SeatsHeld: 12, Changed: 6, Left: 1013}},
			{client.AssignRequest{Select: "", Product: "SAMPLE-SNMP", Count: 1}, client.AssignResult{Servers: 12, SeatsHeld: 12, Changed: 12, Left: 188}},
			{client.AssignRequest{Select: "", Product: "SAMPLE-SNMP", Count: 1}, client.AssignResult{Servers: 12, Left: 188}},
		} {
			c.want.Product = c.r.Product
			got, err := h.Assign(ctx, c.r)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		}
		sound(t, d)

		status, err := h.Status(ctx)
		require.NoError(t, err)
		require.Equal(t, map[client.Phase]int{client.Assigned: 24}, status.Phases)
		require.Equal(t, []int{12, 3, 24, 1452, 30, 1422}, []int{status.Servers, status.Sites, status.Assignments, status.Seats.Bought, status.Seats.Held, status.Seats.Left})
		require.Equal(t, map[client.Presence]int{client.Connected: 12}, status.Presence)

		check, err := h.Check(ctx, client.CheckRequest{})
		require.NoError(t, err)
		require.Len(t, check.Mismatches, 24, "what is only assigned is held by nobody yet")

		ordered, err := h.Activate(ctx, client.ActivateRequest{})
		require.NoError(t, err)
		require.Equal(t, client.ActivateResult{Servers: 12, Assignments: 24}, ordered)
		require.NoError(t, field.Step(ctx))
		sound(t, d)

		check, err = h.Check(ctx, client.CheckRequest{})
		require.NoError(t, err)
		require.Equal(t, client.CheckResult{At: check.At, Servers: 12, Assignments: 24, ActivationServer: true, Mismatches: []client.Mismatch{}}, check)

		detail, err := h.Server(ctx, "DEMO-00504e001000")
		require.NoError(t, err)
		require.Equal(t, []string{"HQ Enterprise Server", "hq", "Example Facilities AB", "agent-hq"},
			[]string{detail.Server.Name, detail.Server.Site, detail.Server.Owner, detail.Server.Agent})
		require.Len(t, detail.Assignments, 3)
		for _, a := range detail.Assignments {
			require.Equal(t, []any{client.Activated, "signed", true}, []any{a.Phase, a.Proof, strings.HasPrefix(a.ActivationID, "****")})
			require.NotNil(t, a.ProvedAt)
		}
		require.NotEmpty(t, detail.Licenses)
		byID, err := h.Server(ctx, detail.Server.ID)
		require.NoError(t, err)
		require.Equal(t, detail.Server.HostID, byID.Server.HostID)

		returned, err := h.Unassign(ctx, client.UnassignRequest{Select: "site=campus", Product: "SAMPLE-SNMP"})
		require.NoError(t, err)
		require.Equal(t, client.UnassignResult{Servers: 4, Changed: 4, Returning: 4, Product: "SAMPLE-SNMP"}, returned)
		list, err := h.Assignments(ctx, "site=campus")
		require.NoError(t, err)
		require.Equal(t, 4, countPhase(list.Assignments, client.Returning))
		require.NoError(t, field.Step(ctx))
		list, err = h.Assignments(ctx, "site=campus")
		require.NoError(t, err)
		require.Len(t, list.Assignments, 8, "what is freed is not listed")
		check, err = h.Check(ctx, client.CheckRequest{})
		require.NoError(t, err)
		require.Empty(t, check.Mismatches)
		require.Equal(t, 20, check.Assignments)
		sound(t, d)

		entitlements, err := h.Entitlements(ctx)
		require.NoError(t, err)
		held := map[string]int{}
		for _, e := range entitlements.Entitlements {
			for _, l := range e.Lines {
				held[l.PartNumber] += l.Held
				require.Equal(t, l.Bought-l.Held, l.Left)
				require.True(t, strings.HasPrefix(l.ActivationID, "****"))
			}
		}
		require.Equal(t, map[string]int{"SAMPLE-TIER-ADV": 1, "SAMPLE-TIER-ESS": 5, "SAMPLE-DEV-100": 12, "SAMPLE-SNMP": 8, "SAMPLE-SMARTDRIVER": 0}, held)

		audit, err := h.Audit(ctx, 0, 3)
		require.NoError(t, err)
		require.Len(t, audit.Entries, 3)
		require.True(t, audit.More)
		rest, err := h.Audit(ctx, audit.Entries[2].ID, 1000)
		require.NoError(t, err)
		require.False(t, rest.More)
		require.NotZero(t, len(rest.Entries))
	})
}

func countPhase(all []client.Assignment, phase client.Phase) int {
	n := 0
	for _, a := range all {
		if a.Phase == phase {
			n++
		}
	}
	return n
}

func TestCheckSeesOneChangedFact(t *testing.T) {
	h, field := stocked(t, file(t))
	ctx := t.Context()
	_, err := h.Assign(ctx, client.AssignRequest{Select: "site=harbour", Product: "SAMPLE-SNMP", Count: 1})
	require.NoError(t, err)
	_, err = h.Activate(ctx, client.ActivateRequest{})
	require.NoError(t, err)
	require.NoError(t, field.Step(ctx))

	field.Lose("DEMO-00504e00a000")
	check, err := h.Check(ctx, client.CheckRequest{})
	require.NoError(t, err)
	require.Len(t, check.Mismatches, 1)
	m := check.Mismatches[0]
	require.Equal(t, []any{"Harbour Edge", "SAMPLE-SNMP", "the server holds 0 where 1 are right", 1, 0, 1},
		[]any{m.Name, m.PartNumber, m.Problem, *m.Ledger, *m.Reported, *m.Activation})

	field.Away(&exchange.Refusal{Code: exchange.Unavailable})
	problem := refusal(t, second(h.Check(ctx, client.CheckRequest{})))
	require.Equal(t, []any{http.StatusServiceUnavailable, client.CodeUnavailable}, []any{problem.Status, problem.Code})
}

func second[T any](_ T, err error) error { return err }

func TestCheckWaitsForEveryAgentAndNotForEver(t *testing.T) {
	h, field := stocked(t, file(t))
	field.Absent("campus", true)
	check, err := h.Check(t.Context(), client.CheckRequest{Wait: "50ms"})
	require.NoError(t, err)
	require.Len(t, check.Mismatches, 4)
	for _, m := range check.Mismatches {
		require.Equal(t, "no fresh report: its agent did not answer in time", m.Problem)
	}
}

// Answers come when they come: the check is woken by each of them, the unchanged ones too.
func TestCheckIsWokenByAnswers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		field := apitest.New(d)
		var answering sync.WaitGroup
		var asked atomic.Int64
		h := open(t, d, func(o *api.Options) {
			o.Ask = func(_ context.Context, agent string) (string, error) {
				nonce := fmt.Sprint(asked.Add(1))
				answering.Go(func() {
					if err := field.Answer(context.Background(), agent, nonce); err != nil {
						t.Error(err)
					}
				})
				return nonce, nil
			}
		})
		require.NoError(t, apitest.Stock(t.Context(), h.Client))
		require.NoError(t, field.Step(t.Context()))
		for range 3 {
			check, err := h.Check(t.Context(), client.CheckRequest{Wait: "1m"})
			require.NoError(t, err)
			require.Empty(t, check.Mismatches)
		}
		answering.Wait()
	})
}

func TestServersThatNeverReportedAreMismatches(t *testing.T) {
	d := file(t)
	field := apitest.New(d)
	h := open(t, d, func(o *api.Options) { o.Ask = field.Ask })
	require.NoError(t, apitest.Stock(t.Context(), h.Client))
	check, err := h.Check(t.Context(), client.CheckRequest{})
	require.NoError(t, err)
	require.False(t, check.ActivationServer)
	require.Len(t, check.Mismatches, 12)
	require.Equal(t, "it never reported", check.Mismatches[0].Problem)
	status, err := h.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, 12, status.Unreported)
	require.Nil(t, status.Oldest)
	require.Equal(t, map[string]int{"adopting": 12, "unknown": 12}, status.Conditions)
}
