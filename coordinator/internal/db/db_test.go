package db_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(crashingDSN); dsn != "" {
		insertAndDie(dsn)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// table gives the database a table to play with.
func table(t testing.TB, d *db.DB) {
	t.Helper()
	update(t, d, func(tx *db.Tx) error {
		_, err := tx.Exec("CREATE TABLE played (name TEXT PRIMARY KEY, n BIGINT NOT NULL CHECK (n >= 0))")
		return err
	})
}

func update(t testing.TB, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	require.NoError(t, d.Update(context.Background(), fn))
}

func put(name string, n int) func(tx *db.Tx) error {
	return func(tx *db.Tx) error {
		_, err := tx.Exec("INSERT INTO played (name, n) VALUES ($2, $1)", n, name)
		return err
	}
}

func names(t testing.TB, d *db.DB) []string {
	t.Helper()
	var all []string
	require.NoError(t, d.View(context.Background(), func(tx *db.Tx) error {
		all = nil
		rows, err := tx.Query("SELECT name FROM played ORDER BY name")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			all = append(all, name)
		}
		return rows.Err()
	}))
	return all
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))
	require.Equal(t, time.Date(2026, 3, 1, 11, 0, 0, 123_000_000, time.UTC), db.Time(db.Millis(at)))
}

func TestNowNeverGoesBackwards(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		steps := []time.Duration{0, time.Hour, -time.Hour, 2 * time.Hour}
		next := 0
		d := dbtest.Open(t, dsn, db.Options{Now: func() time.Time { next++; return wall.Add(steps[(next-1)%len(steps)]) }})
		var seen []time.Duration
		for range steps {
			update(t, d, func(tx *db.Tx) error {
				require.Equal(t, tx.Now(), tx.Now())
				seen = append(seen, tx.Now().Sub(wall))
				return nil
			})
		}
		require.Equal(t, []time.Duration{0, time.Hour, time.Hour, 2 * time.Hour}, seen)
	})
}

func TestViewIsOneSnapshot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		count := func(tx *db.Tx) (n int) {
			require.NoError(t, tx.QueryRow("SELECT COUNT(*) FROM played").Scan(&n))
			return n
		}
		require.NoError(t, d.View(context.Background(), func(tx *db.Tx) error {
			require.Equal(t, 0, count(tx))
			update(t, d, put("a", 1))
			require.Equal(t, 0, count(tx), "a view sees nothing that came after it began")
			require.Error(t, tx.Changed("server", "srv-1"))
			return nil
		}))
		require.Equal(t, []string{"a"}, names(t, d), "and everything that was answered before")
	})
}

func TestViewChangesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		require.Error(t, d.View(context.Background(), put("a", 1)))
		require.Empty(t, names(t, d))
	})
}

func TestClosed(t *testing.T) {
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		d, err := db.Open(context.Background(), dsn, db.Options{})
		require.NoError(t, err)
		table(t, d)
		require.NoError(t, d.Close())
		require.ErrorIs(t, d.Update(context.Background(), put("a", 1)), db.ErrClosed)
		require.ErrorIs(t, d.View(context.Background(), put("a", 1)), db.ErrClosed)
	})
}

func name(i int) string { return fmt.Sprintf("row-%05d", i) }
