package db_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// BenchmarkUpdate is five statements and a row in the feed, as an assignment is, by so many callers at once.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 16, 100} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			dbtest.EachB(b, func(b *testing.B, d *db.DB) {
				table(b, d)
				var next atomic.Int64
				b.SetParallelism(callers) // times GOMAXPROCS, so:
				turns := make(chan struct{}, callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						turns <- struct{}{}
						key := strconv.FormatInt(next.Add(1), 10)
						err := d.Update(context.Background(), func(tx *db.Tx) error { return assignment(tx, key) })
						<-turns
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			})
		})
	}
}

func assignment(tx *db.Tx, key string) error {
	var n int
	if err := tx.QueryRow("SELECT COUNT(*) FROM played WHERE name = $1", key).Scan(&n); err != nil {
		return err
	}
	if err := tx.QueryRow("SELECT COALESCE(SUM(n), 0) FROM played WHERE name = $1", "held-"+key).Scan(&n); err != nil {
		return err
	}
	for _, name := range []string{key, "held-" + key, "audit-" + key} {
		if _, err := tx.Exec("INSERT INTO played (name, n) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET n = played.n + excluded.n", name, n+1); err != nil {
			return err
		}
	}
	return tx.Changed("ledger", key)
}

// BenchmarkView is one snapshot of one row.
func BenchmarkView(b *testing.B) {
	dbtest.EachB(b, func(b *testing.B, d *db.DB) {
		table(b, d)
		update(b, d, put("a", 1))
		ctx := context.Background()
		for b.Loop() {
			var n int
			require.NoError(b, d.View(ctx, func(tx *db.Tx) error {
				return tx.QueryRow("SELECT n FROM played WHERE name = $1", "a").Scan(&n)
			}))
		}
	})
}
