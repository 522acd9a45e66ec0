package ledger

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// Every invariant is broken once, by hand. Constraints of the database would not let most of it happen, so the tables are
// replaced by copies that have none.
func TestEveryInvariantIsNoticedWhenItBreaks(t *testing.T) {
	breaks := map[string]string{
		"held of a line is the sum over its assignments":                     "UPDATE lines SET held = 0 WHERE held = 2",
		"held of an assignment is the greatest of want, ordered and exposed": "UPDATE assignments SET held = 3; UPDATE lines SET held = 3 WHERE held = 2",
		"no more is held than was bought":                                    "UPDATE lines SET bought = 1",
		"what is marked as overcommitted is":                                 "UPDATE lines SET overcommitted = 1",
		"no count is negative":                                               "UPDATE assignments SET proved = -1",
		"a claimed document is covered by what is exposed":                   "UPDATE assignments SET exposed = 1, proved = 0",
		"what is proved is covered by what is exposed":                       "UPDATE assignments SET proved = 3",
		"seats are held at sites of their owner":                             "UPDATE assignments SET owner = 'Other Owner AB'",
		"what is ordered is in the claimed document or in one to be claimed": "UPDATE assignments SET ordered = 1",
		"without a claimed document nothing is claimed":                      "UPDATE ledger_servers SET claimed_hold = 1",
		"a claimed document is kept with its digest and place":               "UPDATE ledger_servers SET claimed_payload = NULL",
		"orders and claims are not ahead of the generation":                  "UPDATE ledger_servers SET claimed_generation = 99",
		"every server is of the ledger's epoch":                              "UPDATE ledger_servers SET epoch = epoch - 1",
		"only adopting servers hold or were restored":                        "UPDATE ledger_servers SET hold = 1",
		"an adopting server has claimed nothing but a hold document":         "UPDATE ledger_servers SET adopting = 1",
		"an adopting server is not being released":                           "UPDATE ledger_servers SET adopting = 1, release_key = 'k'",
		"no proof and no refusal is of an order to come":                     "UPDATE assignments SET code_epoch = 99999999999",
		"a server that is being released is ordered down":                    "UPDATE ledger_servers SET release_key = 'k', release_generation = order_generation",
		"a release is of the order that the server has":                      "UPDATE ledger_servers SET release_key = 'k', release_generation = 99",
		"every entitlement has lines, and every line right of its own":       "UPDATE lines SET right_id = 'same'",
		"every entitlement was imported by somebody":                         "DELETE FROM audit WHERE action = 'import'",
		"every assignment was decided by somebody":                           "DELETE FROM audit WHERE action IN ('assign', 'adopt')",
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		w.buy("ENT-1", line{part: snmp, seats: 2}, line{part: essential, seats: 2})
		_, err := w.assign(snmp, 2, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		w.prove("srv-a", 5)
		w.must(func(tx *db.Tx) error {
			for _, table := range []string{"assignments", "ledger_servers", "lines", "audit"} {
				for _, statement := range []string{"ALTER TABLE " + table + " RENAME TO kept_" + table, "CREATE TABLE " + table + " AS SELECT * FROM kept_" + table} {
					if _, err := tx.Exec(statement); err != nil {
						return err
					}
				}
			}
			return nil
		})
		for _, invariant := range Invariants() {
			sql, ok := breaks[invariant.Name]
			require.True(t, ok, "%q is never broken", invariant.Name)
			var broken []Violation
			taken := d.Update(context.Background(), func(tx *db.Tx) error {
				for statement := range strings.SplitSeq(sql, "; ") {
					if _, err := tx.Exec(statement); err != nil {
						return err
					}
				}
				var err error
				if broken, err = Verify(tx); err != nil {
					return err
				}
				return errTakeBack
			})
			require.ErrorIs(t, taken, errTakeBack)
			var names []string
			for _, v := range broken {
				names = append(names, v.Invariant)
				require.NotEmpty(t, v.Rows[0])
				require.Contains(t, v.String(), v.Rows[0])
			}
			require.Contains(t, names, invariant.Name, sql)
		}
		w.verify()
	})
}

var errTakeBack = context.Canceled

func TestViolationsNameAFewPlaces(t *testing.T) {
	require.Equal(t, "x: a, b", Violation{"x", []string{"a", "b"}}.String())
	require.Equal(t, "x: a, b, c, d, e and 2 more", Violation{"x", strings.Split("abcdefg", "")}.String())
}

func TestEpochsGrow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		first := w.view("srv-a").Order.Epoch
		var now int64
		w.must(func(tx *db.Tx) error { now = tx.Now().Unix(); return nil })
		require.InDelta(t, now, first, 5, "seconds since 1970")
		second := w.newEpoch()
		third := w.newEpoch()
		require.Greater(t, second, first)
		require.Greater(t, third, second, "also within one second")
		above := func(epoch int64) (got int64) {
			w.must(func(tx *db.Tx) (err error) {
				got, err = NewEpochAbove(tx, audit.Operator, epoch, "met elsewhere")
				return err
			})
			return got
		}
		require.Equal(t, third+1001, above(third+1000))
		require.Equal(t, third+1002, above(maxEpoch+1), "beyond any clock is nonsense")
		require.Equal(t, third+1003, above(math.MaxInt64))
	})
}
