package db_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

func changed(kind string, keys ...string) func(tx *db.Tx) error {
	return func(tx *db.Tx) error {
		for _, key := range keys {
			if err := tx.Changed(kind, key); err != nil {
				return err
			}
		}
		return nil
	}
}

// follow reads everything after the cursor.
func follow(t require.TestingT, d *db.DB, cursor int64) (keys []string, next int64) {
	for {
		changes, err := d.Changes(context.Background(), cursor, 3)
		require.NoError(t, err)
		if len(changes) == 0 {
			return keys, cursor
		}
		for _, c := range changes {
			require.Greater(t, c.ID, cursor)
			keys, cursor = append(keys, c.Key), c.ID
		}
	}
}

func TestFeed(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		d := dbtest.Open(t, dsn, db.Options{Now: func() time.Time { return at }})
		keys, cursor := follow(t, d, 0)
		require.Empty(t, keys)
		update(t, d, changed("server", "a", "b", "a", "c", "d"))
		newest, err := d.Newest(context.Background())
		require.NoError(t, err)
		keys, cursor = follow(t, d, cursor)
		require.Equal(t, []string{"a", "b", "c", "d"}, keys, "in order, each once per commit")
		require.Equal(t, newest, cursor)
		update(t, d, changed("server", "a"))
		changes, err := d.Changes(context.Background(), cursor, 10)
		require.NoError(t, err)
		require.Equal(t, []db.Change{{ID: changes[0].ID, Kind: "server", Key: "a", At: at}}, changes)
	})
}

func TestFeedIsPruned(t *testing.T) {
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		d := dbtest.Open(t, dsn, db.Options{FeedRows: 10})
		update(t, d, changed("server", "first"))
		_, early := follow(t, d, 0)
		for i := range 40 {
			update(t, d, changed("server", name(i)))
		}
		kept := len(dbtest.Dump(t, d)["changes"])
		require.GreaterOrEqual(t, kept, 10)
		require.LessOrEqual(t, kept, 12)
		for _, cursor := range []int64{0, early} {
			_, err := d.Changes(context.Background(), cursor, 10)
			require.ErrorIs(t, err, db.ErrCursorTooOld)
		}
		newest, err := d.Newest(context.Background())
		require.NoError(t, err)
		keys, _ := follow(t, d, newest)
		require.Empty(t, keys)
		_, err = d.Changes(context.Background(), newest+1<<20, 10)
		require.ErrorIs(t, err, db.ErrCursorTooOld, "a cursor from before a restore is of another life")
	})
}

func TestWake(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		signal, stop := d.Wake()
		other, stopOther := d.Wake()
		defer stopOther()
		if d.Engine() == string(dbtest.SQLite) { // on PostgreSQL the listener's first connection is a signal too
			update(t, d, put("unseen", 1))
			require.Empty(t, signal, "no row in the feed, no signal")
		}
		update(t, d, changed("server", "a"))
		update(t, d, changed("server", "b"))
		<-signal
		<-other
		stop()
		select {
		case <-signal:
		default:
		}
		update(t, d, changed("server", "c"))
		<-other
		require.Empty(t, signal, "signals end with the subscription")
	})
}

// open begins an Update that has written (so it has its place among the transactions) and waits.
type open struct {
	goOn chan error
	done chan error
}

func begin(d *db.DB, key string) *open {
	o := &open{goOn: make(chan error), done: make(chan error, 1)}
	begun := make(chan struct{})
	go func() {
		first := true
		o.done <- d.Update(context.Background(), func(tx *db.Tx) error {
			if err := put(key, 1)(tx); err != nil {
				return err
			}
			if !first {
				return tx.Changed("row", key)
			}
			first = false
			close(begun)
			if err := <-o.goOn; err != nil {
				return err
			}
			return tx.Changed("row", key)
		})
	}()
	<-begun
	return o
}

func (o *open) end(err error) error {
	o.goOn <- err
	return <-o.done
}

// TestOverlappingTransactions: two processes on one PostgreSQL; the transaction that began first commits last.
func TestOverlappingTransactions(t *testing.T) {
	dsn := dbtest.DSN(t, dbtest.Postgres)
	one, two := dbtest.Open(t, dsn, db.Options{}), dbtest.Open(t, dsn, db.Options{})
	table(t, one)
	signal, stop := two.Wake()
	defer stop()
	for _, rollBack := range []bool{false, true} {
		_, cursor := follow(t, two, 0)
		key := map[bool]string{false: "early", true: "withdrawn"}[rollBack]
		early := begin(one, key)
		update(t, two, changed("row", "late"))
		keys, cursor := follow(t, two, cursor)
		require.Empty(t, keys, "held back: a row with a lower ID may still come")
		newest, err := two.Newest(context.Background())
		require.NoError(t, err)
		require.Equal(t, cursor, newest)
		want := []string{"early", "late"}
		if rollBack {
			want = want[1:]
			require.ErrorIs(t, early.end(errOwn), errOwn) // leaves no row, and wakes nobody
		} else {
			require.NoError(t, early.end(nil))
		}
		for len(keys) == 0 {
			<-signal
			keys, cursor = follow(t, two, cursor)
		}
		require.Equal(t, want, keys)
	}
}

// TestFeedSkipsNothing: readers of three processes follow the feed while transactions overlap at random; each sees each
// row once.
func TestFeedSkipsNothing(t *testing.T) {
	dsn := dbtest.DSN(t, dbtest.Postgres)
	handles := []*db.DB{dbtest.Open(t, dsn, db.Options{}), dbtest.Open(t, dsn, db.Options{}), dbtest.Open(t, dsn, db.Options{})}
	table(t, handles[0])
	next := 0
	rapid.Check(t, func(r *rapid.T) {
		start, err := handles[0].Newest(context.Background())
		require.NoError(r, err)
		cursors := []int64{start, start, start}
		seen := make([][]string, len(handles))
		read := func(i int) {
			var keys []string
			keys, cursors[i] = follow(r, handles[i], cursors[i])
			seen[i] = append(seen[i], keys...)
		}
		var want []string
		running := make([]*open, len(handles))
		keys := make([]string, len(handles))
		end := func(i int) {
			var err error
			if rapid.Bool().Draw(r, "rolls back") {
				err = errOwn
			} else {
				want = append(want, keys[i])
			}
			require.ErrorIs(r, running[i].end(err), err)
			running[i] = nil
		}
		for range rapid.IntRange(1, 15).Draw(r, "steps") {
			i := rapid.IntRange(0, len(handles)-1).Draw(r, "process")
			switch {
			case rapid.Bool().Draw(r, "reads"):
				read(i)
			case running[i] == nil:
				next++
				keys[i] = name(next)
				running[i] = begin(handles[i], keys[i])
			default:
				end(i)
			}
		}
		for i := range running {
			if running[i] != nil {
				end(i)
			}
		}
		slices.Sort(want)
		for i := range handles {
			read(i)
			slices.Sort(seen[i])
			require.Equal(r, want, seen[i])
		}
	})
}

// TestWakeAcrossProcesses: a commit of another process wakes, also after the connection that listens was cut.
func TestWakeAcrossProcesses(t *testing.T) {
	dsn := dbtest.DSN(t, dbtest.Postgres)
	one, two := dbtest.Open(t, dsn, db.Options{}), dbtest.Open(t, dsn, db.Options{})
	signal, stop := two.Wake()
	defer stop()
	<-signal // the listener is there
	update(t, one, changed("server", "a"))
	<-signal
	update(t, one, func(tx *db.Tx) error {
		var n int
		return tx.QueryRow("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()").Scan(&n)
	})
	<-signal // it is there again
	for keys, cursor := follow(t, two, 0); !slices.Contains(keys, "b"); keys, cursor = follow(t, two, cursor) {
		update(t, one, changed("server", "b"))
		<-signal
	}
}

func TestConcurrentFeed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		signal, stop := d.Wake()
		defer stop()
		const writers, each = 8, 50
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range each {
					if err := d.Update(context.Background(), changed("row", name(w*each+i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := make(map[string]bool)
		cursor := int64(0)
		for len(seen) < writers*each {
			<-signal
			var keys []string
			keys, cursor = follow(t, d, cursor)
			for _, key := range keys {
				require.False(t, seen[key], "twice")
				seen[key] = true
			}
		}
		all.Wait()
	})
}
