package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/licet-project/licet/coordinator/internal/db"
)

// Breakable are the places where Break changes one fact.
var Breakable = []string{"store", "ledger", "activation-server"}

// Break changes one fact behind Licet's back, to show that a check notices. The fact is a right of the first server.
func (t *Thread) Break(ctx context.Context, where string) error {
	system := t.Process("site-" + t.options.Sites[0]).Ready
	if len(system.Systems) == 0 {
		return fmt.Errorf("break %s: the site has no system", where)
	}
	host := system.Systems[0].HostID
	var err error
	switch where {
	case "store":
		err = tamper(ctx, system.Systems[0].Address, system.Systems[0].Trust, host)
	case "ledger":
		err = t.breakLedger(ctx, host)
	case "activation-server":
		_, err = call(ctx, "POST", t.Process(roleActivation).Ready.Listen+"/v1/faults",
			fmt.Sprintf(`{"fault":"forget-right","host":%q,"activation_id":"DEMO-ACT-7f3a-0004"}`, host))
	default:
		err = fmt.Errorf("there is only %s", strings.Join(slices.Sorted(slices.Values(Breakable)), ", "))
	}
	if err != nil {
		return fmt.Errorf("break %s: %w", where, err)
	}
	return nil
}

// tamper changes the count of one right in a simulated server's store.
func tamper(ctx context.Context, address, trust, host string) error {
	client, err := trusting(trust)
	if err != nil {
		return err
	}
	_, err = callWith(ctx, client, "POST", address+"/sim/v1/servers/"+host+"/tamper", `{"any":true,"count":7}`)
	return err
}

// breakLedger pretends that one proof was never seen.
func (t *Thread) breakLedger(ctx context.Context, host string) error {
	dsn := t.options.Database
	if dsn == "" {
		dsn = t.path("coordinator", "licet.db")
	}
	d, err := db.Open(ctx, dsn, db.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Update(ctx, func(tx *db.Tx) error {
		changed, err := tx.Exec(`UPDATE assignments SET proved = 0 WHERE server = (SELECT id FROM servers WHERE host_id = $1)
			AND line = (SELECT MIN(line) FROM assignments WHERE server = (SELECT id FROM servers WHERE host_id = $1) AND proved > 0)`, host)
		if err == nil && changed != 1 {
			err = fmt.Errorf("%d rows changed instead of one", changed)
		}
		return err
	})
}
