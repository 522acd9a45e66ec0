package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

var (
	// ErrOutcomeUnknown is when the connection was lost during the commit: it may have happened or not.
	ErrOutcomeUnknown = errors.New("the connection was lost during the commit: nobody knows whether it happened")
	// ErrBusy is when other processes were in the way for too long; nothing was changed.
	ErrBusy = errors.New("too many others change the same rows: nothing was changed")
)

// maxAttempts bounds how often a group runs that loses against other processes; the pauses between add up to about a second.
const maxAttempts = 14

// job is a function that waits in Update. It runs in the goroutine of its caller, when the writer says so, so that a panic
// (or a test's FailNow) in it is its caller's alone.
type job struct {
	ctx    context.Context
	turn   chan *Tx    // writer: run now
	ran    chan result // caller: it ran
	answer chan error  // writer: committed, or why not
	err    error       // of the function, in the newest attempt; the writer's
}

type result struct {
	err  error
	gone bool // the function panicked; nobody waits for an answer
}

// Update runs the function in a transaction and returns after the commit. With nil it is on disk; with any error but
// ErrOutcomeUnknown nothing of it is.
//
// The function may run again, and shares its commit with others, so it has no effect but on tx and on variables that it
// sets anew each time. It must not wait for anything, and must not call Update. If the context ends while the function waits
// for its turn, it never runs; if it ends later, the next statement fails; after the last statement the commit is waited for.
func (d *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, turn: make(chan *Tx), ran: make(chan result, 1), answer: make(chan error, 1)}
	select {
	case d.jobs <- j:
	case <-ctx.Done():
		return fmt.Errorf("wait for the database: nothing was changed: %w", ctx.Err())
	case <-d.closed.Done():
		return ErrClosed
	}
	for {
		select {
		case tx := <-j.turn:
			j.run(tx, fn)
		case err := <-j.answer:
			return err
		}
	}
}

func (j *job) run(tx *Tx, fn func(*Tx) error) {
	r := result{gone: true}
	defer func() { j.ran <- r }()
	err := fn(tx)
	r = result{err: tx.outcome(err)}
}

// write is the writing goroutine.
func (d *DB) write() {
	for {
		select {
		case j := <-d.jobs:
			d.commitGroup([]*job{j}, true)
		case <-d.closed.Done():
			return
		}
	}
}

// commitGroup runs the jobs, and if gather is set also those that come meanwhile, commits once and answers all.
func (d *DB) commitGroup(jobs []*job, gather bool) {
	for attempt := 1; ; attempt++ {
		g := d.newGroup(jobs)
		err := g.run(gather)
		if err == nil {
			err = g.commit()
		}
		g.end()
		jobs = g.waiting()
		switch {
		case err == nil:
			answer(jobs, nil)
			d.prune(len(g.changes))
			return
		case d.engine.again(err):
			gather = false
			if attempt < maxAttempts && d.pause(attempt) {
				continue
			}
			answer(jobs, fmt.Errorf("%w: %w", ErrBusy, err))
			return
		case len(jobs) > 1 && d.engine.constraint(err):
			// A deferred constraint spoke at the commit and does not say for whom: each alone.
			for _, j := range jobs {
				d.commitGroup([]*job{j}, false)
			}
			return
		default:
			answer(jobs, err)
			return
		}
	}
}

// answer tells every job its own error, or else the group's.
func answer(jobs []*job, err error) {
	for _, j := range jobs {
		if j.err != nil {
			j.answer <- j.err
		} else {
			j.answer <- err
		}
	}
}

// pause waits longer after each attempt, and never as long as another process does. It is false if the DB is closed.
func (d *DB) pause(attempt int) bool {
	most := time.Millisecond << min(attempt, 7)
	timer := time.NewTimer(rand.N(most))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.closed.Done():
		return false
	}
}
