package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// Sixteen operators want the last seats at once, at two coordinators where the database serves several: exactly as many
// get one as there are.
func TestNoSeatTwice(t *testing.T) {
	const callers, seats = 16, 7
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			dsn := dbtest.DSN(t, engine)
			first := dbtest.Open(t, dsn, db.Options{})
			coordinators := []*db.DB{first, first}
			if engine == dbtest.Postgres {
				coordinators[1] = dbtest.Open(t, dsn, db.Options{})
			}
			w := newWorld(t, first)
			var ids []string
			for i := range callers {
				ids = append(ids, fmt.Sprintf("srv-%02d", i))
			}
			w.ready(ids...)
			line := w.buy("ENT-1", line{part: snmp, seats: seats})[0]

			var won, short int
			var mu sync.Mutex
			var group sync.WaitGroup
			for i, id := range ids {
				group.Go(func() {
					for { // as the API does: what lost against others is tried again by who asked
						err := coordinators[i%2].Update(context.Background(), func(tx *db.Tx) error {
							_, err := Assign(tx, audit.Operator, Request{[]string{id}, snmp, 1})
							return err
						})
						if errors.Is(err, db.ErrBusy) {
							continue
						}
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							won++
						} else if missing := (*ShortError)(nil); errors.As(err, &missing) {
							short++
						} else {
							t.Error(err)
						}
						return
					}
				})
			}
			group.Wait()
			require.Equal(t, []int{seats, callers - seats}, []int{won, short})
			require.Equal(t, seats, w.held(line))
			w.verify()
		})
	}
}

// Operators, the dispatcher and reports of the same server at once: every invariant holds afterwards.
func TestEverybodyAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		ids := []string{"srv-a", "srv-b", "srv-c", "srv-d"}
		w.ready(ids...)
		refs := w.buy("ENT-1", line{part: snmp, seats: 3})
		var group sync.WaitGroup
		try := func(fn func(tx *db.Tx) error) {
			group.Go(func() {
				for range 8 {
					if err := d.Update(context.Background(), fn); err != nil && !errors.Is(err, ErrRefused) {
						t.Error(err)
					}
				}
			})
		}
		for _, id := range ids {
			try(func(tx *db.Tx) error {
				_, err := Assign(tx, audit.Operator, Request{[]string{id}, snmp, 1})
				return err
			})
			try(func(tx *db.Tx) error {
				_, err := Unassign(tx, audit.Operator, Request{[]string{id}, snmp, 0})
				return err
			})
			try(func(tx *db.Tx) error { _, err := Activate(tx, audit.Operator, []string{id}); return err })
			try(func(tx *db.Tx) error { _, _, err := Claim(tx, id); return err })
			try(func(tx *db.Tx) error {
				m, _, err := knownMember(tx, id)
				if err != nil {
					return err
				}
				accepted := Document{Order: m.claimed.Order, Generation: m.claimed.Generation, Digest: m.claimed.Digest}
				_, err = Settle(tx, id, w.report(id, accepted, nil), w.receipt(id, m.claimed.Order, 5, nil))
				return err
			})
		}
		group.Wait()
		w.verify()
		require.LessOrEqual(t, w.held(refs[0]), 3)
	})
}
