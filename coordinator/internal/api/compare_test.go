package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

func TestCompare(t *testing.T) {
	const mine, foreign = exchange.ActivationID("DEMO-ACT-0001"), exchange.ActivationID("DEMO-ACT-9999")
	assignment := func(phase ledger.Phase, counts ledger.Counts) []ledger.Assignment {
		return []ledger.Assignment{{Right: mine.RightID(), Masked: mine.String(), PartNumber: "P", Phase: phase, Counts: counts, Code: exchange.RightExpired}}
	}
	two := ledger.Counts{Want: 2, Ordered: 2, Exposed: 2, Proved: 2}
	held := func(id exchange.ActivationID, n int) []protocol.HeldRight {
		return []protocol.HeldRight{{Right: id.RightID(), Count: n}}
	}
	state := func(id exchange.ActivationID, n, pending int) *exchange.HostState {
		return &exchange.HostState{Rights: []exchange.HostRight{{ActivationID: id.Reveal(), Count: n, Pending: pending}}}
	}
	none := &exchange.HostState{}
	for name, c := range map[string]struct {
		account account
		want    []string
	}{
		"all agree":                  {account{ledger: assignment(ledger.Activated, two), reported: held(mine, 2), activation: state(mine, 2, 0)}, nil},
		"no activation server":       {account{ledger: assignment(ledger.Activated, two), reported: held(mine, 2)}, nil},
		"nothing anywhere":           {account{activation: none}, nil},
		"freed everywhere":           {account{ledger: assignment(ledger.Freed, ledger.Counts{}), reported: held(mine, 0), activation: state(mine, 0, 0)}, nil},
		"the store lost it":          {account{ledger: assignment(ledger.Activated, two), activation: state(mine, 2, 0)}, []string{"the server holds 0 where 2 are right"}},
		"the store has more":         {account{ledger: assignment(ledger.Activated, two), reported: held(mine, 3), activation: state(mine, 2, 0)}, []string{"the server holds 3 where 2 are right"}},
		"the activation server lost": {account{ledger: assignment(ledger.Activated, two), reported: held(mine, 2), activation: none}, []string{"the activation server has 0 where 2 are right"}},
		"both differ": {
			account{ledger: assignment(ledger.Activated, two), reported: held(mine, 1), activation: state(mine, 1, 0)},
			[]string{"the server holds 1 and the activation server has 1, where 2 are right"},
		},
		"the ledger lost its proof": {
			account{ledger: assignment(ledger.Ordered, ledger.Counts{Want: 2, Ordered: 2, Exposed: 2}), reported: held(mine, 2), activation: state(mine, 2, 0)},
			[]string{"it is not settled: 2 wanted, 2 ordered, 2 exposed, 0 proved"},
		},
		"only assigned": {
			account{ledger: assignment(ledger.Assigned, ledger.Counts{Want: 2}), activation: none},
			[]string{"it is not settled: 2 wanted, 0 ordered, 0 exposed, 0 proved"},
		},
		"failed":                   {account{ledger: assignment(ledger.Failed, ledger.Counts{Want: 2, Ordered: 2, Exposed: 2}), activation: none}, []string{"it failed: the right has expired"}},
		"freed, and still there":   {account{ledger: assignment(ledger.Freed, ledger.Counts{}), reported: held(mine, 2), activation: state(mine, 2, 0)}, []string{"the server holds 2 and the activation server has 2, where 0 are right"}},
		"a removal waits":          {account{ledger: assignment(ledger.Activated, two), reported: held(mine, 2), activation: state(mine, 2, 1)}, []string{"a removal of 1 waits for its confirmation at the activation server"}},
		"held without assignment":  {account{reported: held(foreign, 1), activation: state(foreign, 1, 0)}, []string{"it is held, and the ledger has no assignment of it"}},
		"pending without one":      {account{activation: state(foreign, 0, 1)}, []string{"it is held, and the ledger has no assignment of it"}},
		"no fresh report":          {account{stale: "it never reported", activation: none}, []string{"it never reported"}},
		"no fresh report, settled": {account{stale: "too old", ledger: assignment(ledger.Activated, two), activation: state(mine, 2, 0)}, []string{"too old"}},
		"no fresh report, and the activation server differs": {
			account{stale: "too old", ledger: assignment(ledger.Activated, two), reported: held(mine, 2), activation: none},
			[]string{"too old", "the activation server has 0 where 2 are right"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.account.server = client.Server{ID: "srv-1", Name: "S", HostID: "H"}
			var problems []string
			for _, m := range c.account.compare() {
				require.Equal(t, []string{"srv-1", "S", "H"}, []string{m.Server, m.Name, m.HostID})
				require.NotContains(t, m.Right, "DEMO-ACT", "no activation ID in clear")
				require.Equal(t, c.account.stale != "", m.Reported == nil, "an old report is not shown as what the server says")
				problems = append(problems, m.Problem)
			}
			require.Equal(t, c.want, problems)
		})
	}
}
