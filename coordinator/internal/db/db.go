// Package db is where everything that must survive is kept: one SQLite file, or PostgreSQL. It knows no noun; a noun's rows
// are functions over a Tx, and their SQL is one text for both engines:
//
//   - arguments are $1, $2, ...; upserts are ON CONFLICT ... DO UPDATE ... RETURNING;
//   - times are BIGINT, milliseconds since 1970 (Millis, Time); JSON is TEXT; bytes are BYTEA; booleans are BIGINT 0 or 1; IDs are TEXT;
//   - rows are closed before the next statement of the same Tx (PostgreSQL has one statement at a time);
//   - a failed statement fails its function (as PostgreSQL has it): conflicts are told by ON CONFLICT and by counts, not by errors.
//
// One goroutine per DB writes. It gathers the functions that wait in Update into one transaction, each within a savepoint
// of its own, and commits once for all of them: a commit costs a write to disk that waits for the disk, a function does not.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// ErrClosed is what a closed DB answers.
var ErrClosed = errors.New("the database is closed")

// Options of Open; the zero value is good.
type Options struct {
	Now      func() time.Time // nil: time.Now
	Logger   zerolog.Logger   // zero: no log
	MaxGroup int              // most functions of one commit; 0: 100
	FeedRows int64            // rows of the change feed that are kept, at least; 0: 100,000
	Existing bool             // the database must be of this program's version already: no table is made or changed
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxGroup <= 0 {
		o.MaxGroup = 100
	}
	if o.FeedRows <= 0 {
		o.FeedRows = 100_000
	}
	return o
}

// DB is an open database. At most one process writes to an SQLite file; any number use one PostgreSQL database.
type DB struct {
	engine  engine
	options Options
	writer  *sql.DB // one connection, used by the writing goroutine alone
	readers *sql.DB
	clock   clock
	wake    *waker
	jobs    chan *job // unbuffered: who could not hand over a job is still free to leave
	closed  context.Context
	close   context.CancelFunc
	loops   sync.WaitGroup // the writing goroutine and, on PostgreSQL, the listening one
	fed     int64          // rows fed since the feed was pruned; the writing goroutine's
}

// Open opens the database and brings its tables to the version of this program. The DSN is the path of an SQLite file, which
// is made if it does not exist, or postgres://...; an *OpenError says what a person can do. The context is for opening alone.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	d := &DB{options: o.withDefaults(), jobs: make(chan *job), wake: newWaker()}
	d.closed, d.close = context.WithCancel(context.Background())
	d.clock.now = d.options.Now
	open := d.openSQLite
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		open = d.openPostgres
	}
	if err := open(ctx, dsn); err != nil {
		d.close()
		return nil, errors.Join(err, d.closePools())
	}
	d.loops.Go(d.write)
	if d.engine.listen != nil {
		d.loops.Go(func() { d.engine.listen(d.closed, d.wake.all) })
	}
	return d, nil
}

// Close lets the group that is being committed end, refuses what waits with ErrClosed, and returns when every goroutine of
// the DB has ended. Views must have ended before.
func (d *DB) Close() error {
	d.close()
	d.loops.Wait()
	d.wake.stop()
	if err := d.closePools(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}

func (d *DB) closePools() error {
	var errs []error
	for _, pool := range []*sql.DB{d.readers, d.writer} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// Engine is "sqlite" or "postgres", for a person to read.
func (d *DB) Engine() string { return d.engine.name }

// Millis is how a time is stored.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// Time is the time that was stored.
func Time(millis int64) time.Time { return time.UnixMilli(millis).UTC() }

// clock never goes backwards within the process, whatever the machine's does.
type clock struct {
	now  func() time.Time
	mu   sync.Mutex
	last time.Time
}

func (c *clock) read() time.Time {
	now := c.now().UTC().Truncate(time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.last) {
		c.last = now
	}
	return c.last
}
