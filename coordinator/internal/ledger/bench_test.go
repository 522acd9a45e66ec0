package ledger

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

const benchServers = 1_000

func benchWorld(b *testing.B, d *db.DB) (*world, []string) {
	w := newWorld(b, d)
	ids, nodes := make([]string, benchServers), make([]node, benchServers)
	for i := range ids {
		ids[i] = fmt.Sprintf("srv-%04d", i)
		nodes[i] = node{id: ids[i]}
	}
	w.addServers(nodes...)
	w.adoptAll()
	w.buy("ENT-1", line{part: snmp, seats: 1_000_000})
	return w, ids
}

// BenchmarkLedgerAssign is one operation: an assignment of one product to one server, that changes what it holds.
func BenchmarkLedgerAssign(b *testing.B) {
	dbtest.EachB(b, func(b *testing.B, d *db.DB) {
		_, ids := benchWorld(b, d)
		assign := func(n int64) error {
			return d.Update(context.Background(), func(tx *db.Tx) error {
				_, err := Assign(tx, audit.Operator, Request{[]string{ids[n%benchServers]}, snmp, int(n/benchServers)%3 + 1})
				return err
			})
		}
		b.Run("alone", func(b *testing.B) {
			var n int64
			for b.Loop() {
				n++
				require.NoError(b, assign(n))
			}
		})
		b.Run("callers=16", func(b *testing.B) {
			var n atomic.Int64
			b.SetParallelism(8) // times GOMAXPROCS, which is two where this is judged
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := assign(n.Add(1)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	})
}

// BenchmarkLedgerImportEntitlement is one certificate of five lines.
func BenchmarkLedgerImportEntitlement(b *testing.B) {
	dbtest.EachB(b, func(b *testing.B, d *db.DB) {
		n := 0
		for b.Loop() {
			n++
			c := certificate(owner, fmt.Sprintf("ENT-%d", n), line{part: snmp, seats: 5}, line{part: snmp, seats: 5}, line{part: snmp, seats: 5}, line{part: snmp, seats: 5}, line{part: snmp, seats: 5})
			require.NoError(b, d.Update(context.Background(), func(tx *db.Tx) error {
				_, err := ImportEntitlement(tx, audit.Operator, c, "")
				return err
			}))
		}
	})
}

// BenchmarkLedgerSettle is one report whose receipt settles a server with three assignments.
func BenchmarkLedgerSettle(b *testing.B) {
	dbtest.EachB(b, func(b *testing.B, d *db.DB) {
		w := newWorld(b, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9}, line{part: "SAMPLE-EXTRA", seats: 9})
		for _, part := range []string{snmp, essential, "SAMPLE-EXTRA"} {
			_, err := w.assign(part, 1, "srv-a")
			require.NoError(b, err)
		}
		w.activate("srv-a")
		_, document := w.claim("srv-a")
		var n int64
		for b.Loop() {
			n++
			holds := counts{refs[0]: int(n % 2), refs[1]: 1, refs[2]: 1}
			b.StopTimer()
			report, receipt := w.report("srv-a", document, holds), w.receipt("srv-a", document.Order, n, holds)
			b.StartTimer()
			require.NoError(b, d.Update(context.Background(), func(tx *db.Tx) error {
				_, err := Settle(tx, "srv-a", report, receipt)
				return err
			}))
		}
	})
}
