package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/licet-project/licet/shared/crash"
)

// group is one attempt at one commit. It is the writing goroutine's.
type group struct {
	db        *DB
	jobs      []*job
	gone      map[*job]bool
	ctx       context.Context
	cancel    context.CancelFunc
	now       time.Time
	tx        *sql.Tx // nil until the first job, and after everything was rolled back
	succeeded int     // jobs whose work is in tx
	open      bool    // the savepoint holds the work of the newest job alone, or nothing
	dirty     bool    // that work succeeded: the savepoint must move before the next job
	changes   []change
}

func (d *DB) newGroup(jobs []*job) *group {
	g := &group{db: d, jobs: jobs, gone: make(map[*job]bool), now: d.clock.read()}
	g.ctx, g.cancel = d.engine.statements()
	return g
}

// run runs every job. An error is the group's: what a job met alone is in the job.
func (g *group) run(gather bool) error {
	for _, j := range g.jobs {
		if err := g.runJob(j); err != nil {
			return err
		}
	}
	for gather && len(g.jobs) < g.db.options.MaxGroup {
		select {
		case j := <-g.db.jobs:
			g.jobs = append(g.jobs, j)
			if err := g.runJob(j); err != nil {
				return err
			}
		default:
			gather = false
		}
	}
	return nil
}

func (g *group) runJob(j *job) error {
	j.err = nil
	if err := g.begin(); err != nil {
		return err
	}
	mark := len(g.changes)
	tx := &Tx{sql: g.tx, ctx: g.ctx, caller: j.ctx, now: g.now, changes: &g.changes}
	j.turn <- tx
	r := <-j.ran
	met := tx.failed
	tx.failed = errOver // a Tx that got away does nothing
	if r.gone {
		g.gone[j] = true
	}
	for _, err := range []error{met, r.err} {
		if err != nil && g.db.engine.again(err) {
			return err
		}
	}
	if r.err == nil && !r.gone {
		g.succeeded++
		g.dirty = true
		return nil
	}
	j.err = r.err
	g.changes = g.changes[:mark]
	return g.undo(j)
}

// begin begins the transaction, or lays the savepoint of the next job. The first job needs none: if it fails, nothing is lost
// with the whole transaction.
func (g *group) begin() error {
	var err error
	switch {
	case g.tx == nil:
		if g.tx, err = g.db.writer.BeginTx(g.ctx, g.db.engine.update); err != nil {
			return fmt.Errorf("begin to write: %w", err)
		}
	case g.dirty && g.open:
		_, err = g.tx.ExecContext(g.ctx, "RELEASE SAVEPOINT job; SAVEPOINT job")
	case g.dirty:
		_, err = g.tx.ExecContext(g.ctx, "SAVEPOINT job")
		g.open = true
	}
	if err != nil {
		return fmt.Errorf("lay a savepoint: %w", err)
	}
	g.dirty = false
	return nil
}

// undo takes back what the job, the newest one, did.
func (g *group) undo(j *job) error {
	if g.succeeded == 0 {
		err := g.tx.Rollback()
		g.tx = nil
		if err != nil {
			return fmt.Errorf("roll back: %w", errors.Join(j.err, err))
		}
		return nil
	}
	if _, err := g.tx.ExecContext(g.ctx, "ROLLBACK TO SAVEPOINT job"); err != nil {
		return fmt.Errorf("roll back to the savepoint: %w", errors.Join(j.err, err)) // the whole transaction is gone
	}
	return nil
}

func (g *group) commit() error {
	if g.tx == nil {
		return nil
	}
	if err := g.feed(); err != nil {
		return err
	}
	crash.At("db.before-commit")
	err := g.tx.Commit()
	g.tx = nil
	if err != nil {
		if g.db.engine.lost(err) {
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		return fmt.Errorf("commit: %w", err)
	}
	crash.At("db.after-commit")
	if len(g.changes) > 0 {
		g.db.wake.all()
	}
	return nil
}

// end gives the connection back, whatever happened.
func (g *group) end() {
	if g.tx != nil {
		_ = g.tx.Rollback() // the error that led here is the one that counts
	}
	g.cancel()
}

// waiting are the jobs whose callers still wait for an answer.
func (g *group) waiting() []*job {
	var waiting []*job
	for _, j := range g.jobs {
		if !g.gone[j] {
			waiting = append(waiting, j)
		}
	}
	return waiting
}
