package db_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// group runs the functions in one commit, or nearly: the first one keeps the writer until all are on their way.
func group(d *db.DB, fns ...func(tx *db.Tx) error) (errs []error, recovered []any) {
	errs, recovered = make([]error, len(fns)), make([]any, len(fns))
	var all, arrived sync.WaitGroup
	arrived.Add(len(fns))
	var once sync.Once
	for i, fn := range fns {
		all.Go(func() {
			defer func() { recovered[i] = recover() }()
			arrived.Done()
			errs[i] = d.Update(context.Background(), func(tx *db.Tx) error {
				once.Do(arrived.Wait)
				return fn(tx)
			})
		})
	}
	all.Wait()
	return errs, recovered
}

var errOwn = errors.New("own error")

// What a function can do; the first few succeed.
const (
	succeeds = iota
	succeedsTwice
	readsOnly
	failsAtOnce
	failsAfterWriting
	failsByStatement
	hidesAFailedStatement
	panics
	kinds
)

func act(kind, i int) func(tx *db.Tx) error {
	return func(tx *db.Tx) error {
		switch kind {
		case succeeds:
			return errors.Join(put(name(i), 1)(tx), tx.Changed("row", name(i)))
		case succeedsTwice:
			return errors.Join(put(name(i), 1)(tx), put(name(i)+"+", 1)(tx), tx.Changed("row", name(i)), tx.Changed("row", name(i)))
		case readsOnly:
			var n int
			return tx.QueryRow("SELECT COUNT(*) FROM played").Scan(&n)
		case failsAtOnce:
			return errOwn
		case failsByStatement:
			_ = tx.Changed("row", name(i))
			return errors.Join(put(name(i), 1)(tx), put(name(i), 2)(tx))
		case hidesAFailedStatement:
			_ = put(name(i), 1)(tx)
			_ = put(name(i), -1)(tx)
			return nil
		}
		_ = put(name(i), 1)(tx)
		_ = tx.Changed("row", name(i))
		if kind == panics {
			panic(errOwn)
		}
		return errOwn
	}
}

// TestGroupProperty: whatever the functions of a group do, each has its own outcome: the rows and the feed are those of the
// functions that succeeded, and of no other.
func TestGroupProperty(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		next := 0
		var want []string
		rapid.Check(t, func(r *rapid.T) {
			plan := rapid.SliceOfN(rapid.IntRange(0, kinds-1), 1, 20).Draw(r, "plan")
			before, err := d.Newest(context.Background())
			require.NoError(r, err)
			fns := make([]func(tx *db.Tx) error, len(plan))
			var mine, fed []string
			for i, kind := range plan {
				next++
				fns[i] = act(kind, next)
				if kind == succeeds || kind == succeedsTwice {
					mine, fed = append(mine, name(next)), append(fed, name(next))
				}
				if kind == succeedsTwice {
					mine = append(mine, name(next)+"+")
				}
			}
			errs, recovered := group(d, fns...)
			for i, kind := range plan {
				switch {
				case kind <= readsOnly:
					require.NoError(r, errs[i])
				case kind == panics:
					require.Equal(r, errOwn, recovered[i], "a panic is its caller's")
				case kind == failsAtOnce || kind == failsAfterWriting:
					require.ErrorIs(r, errs[i], errOwn)
				default:
					require.Error(r, errs[i])
				}
			}
			want = append(want, mine...)
			require.ElementsMatch(r, want, names(t, d))
			changes, err := d.Changes(context.Background(), before, 1000)
			require.NoError(r, err)
			var keys []string
			for _, c := range changes {
				keys = append(keys, c.Key)
			}
			require.ElementsMatch(r, fed, keys)
		})
	})
}

func TestGroupIsCommittedTogether(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		commits := make(map[time.Time]bool) // the writer runs one function at a time
		fns := make([]func(tx *db.Tx) error, 50)
		for i := range fns {
			fns[i] = func(tx *db.Tx) error {
				commits[tx.Now()] = true
				return put(name(i), 1)(tx)
			}
		}
		errs, _ := group(d, fns...)
		require.NoError(t, errors.Join(errs...))
		require.Len(t, names(t, d), 50)
		require.Less(t, len(commits), 10)
	})
}

// TestFailNowInAFunction: a test that gives up within its function ends that goroutine; the writer goes on.
func TestFailNowInAFunction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		var gone sync.WaitGroup
		gone.Go(func() {
			_ = d.Update(context.Background(), func(tx *db.Tx) error {
				require.NoError(t, put("a", 1)(tx))
				runtime.Goexit() // what FailNow does
				return nil
			})
		})
		gone.Wait()
		update(t, d, put("b", 1))
		require.Equal(t, []string{"b"}, names(t, d))
	})
}

func TestConcurrentWriters(t *testing.T) {
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		handles := []*db.DB{dbtest.Open(t, dsn, db.Options{MaxGroup: 4})}
		if handles[0].Engine() == string(dbtest.Postgres) {
			handles = append(handles, dbtest.Open(t, dsn, db.Options{}), dbtest.Open(t, dsn, db.Options{}))
		}
		d := handles[0]
		table(t, d)
		update(t, d, put("sum", 0))
		const writers, each = 16, 20
		var attempts atomic.Int64
		var all sync.WaitGroup
		errs := make(chan error, writers*each)
		for w := range writers {
			all.Go(func() {
				for range each {
					errs <- handles[w%len(handles)].Update(context.Background(), func(tx *db.Tx) error {
						attempts.Add(1)
						var n int
						if err := tx.QueryRow("SELECT n FROM played WHERE name = 'sum'").Scan(&n); err != nil {
							return err
						}
						_, err := tx.Exec("UPDATE played SET n = $1 WHERE name = 'sum'", n+1)
						return err
					})
				}
			})
		}
		all.Wait()
		close(errs)
		succeeded := 0
		for err := range errs {
			if err == nil {
				succeeded++
			} else {
				require.ErrorIs(t, err, db.ErrBusy)
			}
		}
		var n int
		require.NoError(t, d.View(context.Background(), func(tx *db.Tx) error {
			return tx.QueryRow("SELECT n FROM played WHERE name = 'sum'").Scan(&n)
		}))
		require.Equal(t, succeeded, n, "read, add one, write: none was lost")
		require.Greater(t, succeeded, writers*each/2)
		t.Log(succeeded, "of", writers*each, "in", attempts.Load(), "attempts")
	})
}

func TestContextEndsWhileWaiting(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		ctx, cancel := context.WithCancel(context.Background())
		begun, goOn := make(chan struct{}), make(chan struct{})
		var first sync.WaitGroup
		first.Go(func() {
			update(t, d, func(tx *db.Tx) error {
				close(begun)
				<-goOn
				return put("first", 1)(tx)
			})
		})
		<-begun
		cancel()
		require.ErrorIs(t, d.Update(ctx, put("never", 1)), context.Canceled)
		close(goOn)
		first.Wait()
		require.Equal(t, []string{"first"}, names(t, d))
	})
}

func TestContextEndsWithinTheFunction(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		for i, read := range []bool{true, false} {
			ctx, cancel := context.WithCancel(context.Background())
			err := d.Update(ctx, func(tx *db.Tx) error {
				if err := put(name(i), 1)(tx); err != nil {
					return err
				}
				cancel()
				if read {
					var n int
					return tx.QueryRow("SELECT COUNT(*) FROM played").Scan(&n)
				}
				return fmt.Errorf("wrapped: %w", put(name(i)+"+", 1)(tx))
			})
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "nothing was changed")
		}
		require.Empty(t, names(t, d))
		ctx, cancel := context.WithCancel(context.Background())
		require.NoError(t, d.Update(ctx, func(tx *db.Tx) error { defer cancel(); return put("late", 1)(tx) }))
		require.Equal(t, []string{"late"}, names(t, d), "after its last statement a function is committed, and says so")
	})
}

// TestDeferredConstraint: what only the commit finds fails its own function, not those that share the commit.
func TestDeferredConstraint(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		table(t, d)
		update(t, d, func(tx *db.Tx) error {
			_, err := tx.Exec("CREATE TABLE child (of TEXT REFERENCES played (name) DEFERRABLE INITIALLY DEFERRED)")
			return err
		})
		orphan := func(tx *db.Tx) error {
			_, err := tx.Exec("INSERT INTO child (of) VALUES ('nobody')")
			return err
		}
		errs, _ := group(d, put("a", 1), orphan, put("b", 1))
		require.NoError(t, errs[0])
		require.Error(t, errs[1])
		require.NoError(t, errs[2])
		require.Equal(t, []string{"a", "b"}, names(t, d))
	})
}
