package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/agenttest"
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

// rig is the real ledger over a real database, the reference activation server, and two real activations on simulated
// servers, joined by the hand of a test: nothing happens unless the test says so. After each step every invariant is asked,
// and that the activation server has never more consumed than the ledger holds.
type rig struct {
	*testing.T
	d     *db.DB
	las   *exchangetest.Server
	nodes [2]*node
	rows  map[string][]row // of the backup
}

// node is one server with the agent that looks after it.
type node struct {
	id, host string
	system   *agenttest.System
	agent    *agenttest.Stepper
	courier  *courier
}

// The two products on sale, with one activation ID and one seat each unless a test buys more.
const (
	productA = "SAMPLE-SNMP"
	productB = "SAMPLE-SMARTDRIVER"
	rightA   = exchange.ActivationID("FLAW-ACT-A-0001")
	rightB   = exchange.ActivationID("FLAW-ACT-B-0002")
	flawed   = "Example Facilities AB"
)

// courier is a carrier that can keep a message back, to deliver it when the test says so.
type courier struct {
	exchangetest.Direct
	keep bool
	kept [][]byte
}

func (c *courier) Post(ctx context.Context, message []byte) ([]byte, error) {
	if c.keep {
		c.kept = append(c.kept, message)
		return nil, exchangetest.ErrDropped
	}
	return c.Direct.Post(ctx, message)
}

// eachRig runs a trace on both engines.
func eachRig(t *testing.T, returnAll bool, trace func(r *rig, one, two *node)) {
	t.Helper()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := newRig(t, d, returnAll)
		trace(r, r.nodes[0], r.nodes[1])
	})
}

func newRig(t *testing.T, d *db.DB, returnAll bool) *rig {
	start := time.Now().AddDate(0, 0, -1)
	las, err := exchangetest.New(exchangetest.Options{Orders: exchangetest.Orders{Entitlements: []exchangetest.Entitlement{{
		ID: "FLAW-ENT", Kind: "commercial", State: exchangetest.StateDeployed, SoldTo: flawed, OrderNumber: "1",
		Lines: []exchangetest.Line{
			{ActivationID: rightA, PartNumber: productA, Count: 1, Start: start},
			{ActivationID: rightB, PartNumber: productB, Count: 1, Start: start},
		},
	}}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, las.Close()) })
	r := &rig{T: t, d: d, las: las}
	for i := range r.nodes {
		host := fmt.Sprintf("HOST-%d", i+1)
		n := &node{id: fmt.Sprintf("srv-%d", i+1), host: host, courier: &courier{Direct: las.Direct()}}
		n.system = agenttest.NewSystem(t, agenttest.SystemOptions{
			Servers: []agenttest.Server{{HostID: host, Type: "AS-P", Version: "7.0.2"}}, Keys: las.Keys(), ReturnAll: returnAll,
		})
		n.agent = agenttest.NewStepper(t, agenttest.Options{System: n.system, Host: host, Carrier: n.courier, Keys: las.Keys})
		r.nodes[i] = n
	}
	r.must(r.found)
	r.adoptAll()
	for _, n := range r.nodes { // in step before the story begins
		r.sync(n)
	}
	return r
}

// found makes two servers of one site, two products, and an entitlement with one seat of each.
func (r *rig) found(tx *db.Tx) error {
	fits := catalog.AppliesTo{Types: []string{"AS-P"}, MinVersion: "7.0"}
	_, err := catalog.Import(tx, audit.Operator, catalog.Catalog{Products: []catalog.Product{
		{PartNumber: productA, Name: "A", Placement: "each", Scope: "server", AppliesTo: fits},
		{PartNumber: productB, Name: "B", Placement: "each", Scope: "server", AppliesTo: fits},
	}})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ('hq', 'HQ', $1, 'UTC', '["direct"]')`, flawed); err != nil {
		return err
	}
	for i, n := range r.nodes {
		_, err := tx.Exec(`INSERT INTO servers (id, name, host_id, host_id_type, host_key, topic_name, type, role, version, site, owner, agent)
			VALUES ($1, $2, $2, 'ETHERNET', $3, $3, 'AS-P', 'top', '7.0.2', 'hq', $4, $5)`,
			n.id, n.host, strings.ToLower(n.host), flawed, fmt.Sprintf("agent-%d", i+1))
		if err != nil {
			return err
		}
	}
	_, err = ledger.ImportEntitlement(tx, audit.Operator, entitlement.Certificate{
		ID: "FLAW-ENT", SoldTo: flawed, OrderNumber: "1", Kind: "Commercial", Digest: exchange.DigestOf(nil), Content: exchange.DigestOf(nil),
		Lines: []entitlement.Line{
			{ActivationID: rightA, Product: "A", PartNumber: productA, OrderLine: "1", Count: 1, Remaining: 1},
			{ActivationID: rightB, Product: "B", PartNumber: productB, OrderLine: "2", Count: 1, Remaining: 1},
		},
	}, "")
	return err
}

// must does something in one transaction and asks everything that must hold.
func (r *rig) must(fn func(tx *db.Tx) error) {
	r.Helper()
	require.NoError(r, r.try(fn))
}

func (r *rig) try(fn func(tx *db.Tx) error) error {
	r.Helper()
	err := r.d.Update(r.Context(), fn)
	r.verify()
	return err
}

func (r *rig) verify() {
	r.Helper()
	require.NoError(r, r.d.View(r.Context(), func(tx *db.Tx) error {
		broken, err := ledger.Verify(tx)
		require.Empty(r, broken)
		if err != nil {
			return err
		}
		waiting, err := ledger.Adopting(tx)
		for _, n := range r.nodes {
			state, _ := r.las.Host(n.host)
			for _, right := range state.Rights {
				if len(waiting) == 0 { // while adopting the ledger says that it does not know
					require.LessOrEqual(r, right.Count+right.Pending, r.held(tx, n, exchange.ActivationID(right.ActivationID)),
						"the ledger thinks free what the activation server thinks consumed")
				}
			}
		}
		for _, id := range []exchange.ActivationID{rightA, rightB} {
			taken, sold := r.las.Consumed(id)
			require.LessOrEqual(r, taken, sold)
		}
		return err
	}))
}

func (r *rig) held(tx *db.Tx, n *node, id exchange.ActivationID) int {
	var held int
	err := tx.QueryRow(`SELECT COALESCE(SUM(a.held), 0) FROM assignments a JOIN lines l ON l.ref = a.line
		WHERE a.server = $1 AND l.right_id = $2`, n.id, string(id.RightID())).Scan(&held)
	require.NoError(r, err)
	return held
}

// requireHeld is what the ledger keeps for a server.
func (r *rig) requireHeld(want int, n *node, id exchange.ActivationID) {
	r.Helper()
	require.NoError(r, r.d.View(r.Context(), func(tx *db.Tx) error {
		require.Equal(r, want, r.held(tx, n, id), "held by %s", n.host)
		return nil
	}))
}

// requireRest is the end of every story: server, activation server and ledger hold the same, and nothing is pending.
func (r *rig) requireRest(want int, n *node, id exchange.ActivationID) {
	r.Helper()
	r.requireHeld(want, n, id)
	require.Equal(r, want, n.system.Held(n.host)[id], "installed on %s", n.host)
	state, _ := r.las.Host(n.host)
	for _, right := range state.Rights {
		if right.ActivationID == id.Reveal() {
			require.Equal(r, want, right.Count, "at the activation server for %s", n.host)
			require.Zero(r, right.Pending)
			return
		}
	}
	require.Zero(r, want, "the activation server knows nothing of it")
}

func (r *rig) assign(n *node, product string) error {
	r.Helper()
	return r.try(func(tx *db.Tx) error {
		_, err := ledger.Assign(tx, audit.Operator, ledger.Request{Servers: []string{n.id}, PartNumber: product, Count: 1})
		return err
	})
}

func (r *rig) unassign(n *node, product string) {
	r.Helper()
	r.must(func(tx *db.Tx) error {
		_, err := ledger.Unassign(tx, audit.Operator, ledger.Request{Servers: []string{n.id}, PartNumber: product})
		return err
	})
}

func (r *rig) activate(n *node) {
	r.Helper()
	r.must(func(tx *db.Tx) error {
		_, err := ledger.Activate(tx, audit.Operator, []string{n.id})
		return err
	})
}

// claim takes the newest document for publication, and returns it.
func (r *rig) claim(n *node) (document ledger.Document, claimed bool) {
	r.Helper()
	r.must(func(tx *db.Tx) (err error) {
		document, claimed, err = ledger.Claim(tx, n.id)
		return err
	})
	return document, claimed
}

// publish claims what is new and delivers it.
func (r *rig) publish(n *node) {
	r.Helper()
	if document, claimed := r.claim(n); claimed {
		require.NoError(r, n.agent.Deliver(document.Payload))
	}
	r.verify()
}

// step lets the agent do one thing.
func (r *rig) step(n *node, want string) {
	r.Helper()
	require.Contains(r, n.agent.Step(), want)
	r.verify()
}

// report brings what the agent says now to the ledger.
func (r *rig) report(n *node) ledger.Settled {
	r.Helper()
	return r.settle(n, n.agent.Report())
}

// settle brings a report to the ledger, however old it is.
func (r *rig) settle(n *node, report protocol.Report) (settled ledger.Settled) {
	r.Helper()
	var receipt *exchange.Receipt
	if len(report.Observed.Receipt) > 0 {
		verified, err := exchange.VerifyReceipt(r.las.Keys(), n.host, report.Observed.Receipt)
		require.NoError(r, err)
		receipt = &verified
	}
	r.must(func(tx *db.Tx) (err error) {
		settled, err = ledger.Settle(tx, n.id, report, receipt)
		return err
	})
	return settled
}

// sync goes on until nothing is left to do: publish, exchange, report, settle.
func (r *rig) sync(n *node) {
	r.Helper()
	for range 10 {
		r.publish(n)
		n.agent.StepUntilIdle()
		r.report(n)
		if _, more := r.claim(n); !more {
			return
		}
		require.Fail(r, "a report led to a new document")
	}
}

// adoptAll lets the coordinator fence every host that it does not know, and take over what it holds.
func (r *rig) adoptAll() {
	r.Helper()
	r.must(func(tx *db.Tx) error {
		_, err := ledger.EnsureServers(tx)
		return err
	})
	var waiting []ledger.Adoption
	require.NoError(r, r.d.View(r.Context(), func(tx *db.Tx) (err error) {
		waiting, err = ledger.Adopting(tx)
		return err
	}))
	for _, a := range waiting {
		document, err := r.las.Release(a.HostID, exchange.Release{Key: a.Key(), Order: a.Order()})
		require.NoError(r, err)
		receipt, err := exchange.VerifyReceipt(r.las.Keys(), a.HostID, document)
		require.NoError(r, err)
		r.must(func(tx *db.Tx) error {
			adopted, err := ledger.Adopt(tx, a.Server, receipt, document)
			require.True(r, adopted)
			return err
		})
	}
}

type row []any

// backup and restore copy the coordinator's tables, parents first.
var kept = []string{"ledger_state", "lines", "ledger_servers", "assignments"}

func (r *rig) backup() {
	r.Helper()
	r.rows = map[string][]row{}
	require.NoError(r, r.d.View(r.Context(), func(tx *db.Tx) error {
		for _, table := range kept {
			rows, err := tx.Query("SELECT * FROM " + table)
			require.NoError(r, err)
			columns, err := rows.Columns()
			require.NoError(r, err)
			for rows.Next() {
				values, into := make(row, len(columns)), make([]any, len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				require.NoError(r, rows.Scan(into...))
				r.rows[table] = append(r.rows[table], values)
			}
			require.NoError(r, rows.Err())
			require.NoError(r, rows.Close())
		}
		return nil
	}))
}

// restore puts the ledger back to what it was, without telling it: a snapshot of a virtual machine.
func (r *rig) restore() {
	r.Helper()
	require.NoError(r, r.d.Update(r.Context(), func(tx *db.Tx) error {
		for i := range kept {
			_, err := tx.Exec("DELETE FROM " + kept[len(kept)-1-i])
			require.NoError(r, err)
		}
		for _, table := range kept {
			for _, values := range r.rows[table] {
				marks := make([]string, len(values))
				for i := range marks {
					marks[i] = fmt.Sprintf("$%d", i+1)
				}
				_, err := tx.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%s)", table, strings.Join(marks, ", ")), values...)
				require.NoError(r, err)
			}
		}
		return nil
	}))
}
