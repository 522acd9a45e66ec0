package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

var (
	errOver     = errors.New("the transaction is over")
	errReadOnly = errors.New("a view changes nothing")
)

// Tx is a transaction as its function sees it. It is for the function's goroutine, until the function returns.
type Tx struct {
	sql     *sql.Tx
	ctx     context.Context // of the statements
	caller  context.Context // looked at before each statement
	now     time.Time
	changes *[]change // of the whole group; nil in a view
	failed  error     // of the first statement that failed; every later one answers the same
}

// Now is the time of the transaction: one for all that is committed together, UTC, whole milliseconds, never before that
// of an earlier transaction of this process.
func (tx *Tx) Now() time.Time { return tx.now }

// Exec runs a statement and says how many rows it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	if err := tx.ready(); err != nil {
		return 0, err
	}
	result, err := tx.sql.ExecContext(tx.ctx, query, args...)
	if err != nil {
		return 0, tx.fail(err)
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return 0, tx.fail(err)
	}
	return rows, nil
}

// Query runs a query; the rows must be closed before the next statement.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	rows, err := tx.sql.QueryContext(tx.ctx, query, args...)
	if err != nil {
		return nil, tx.fail(err)
	}
	return rows, nil
}

// QueryRow runs a query for one row; its Scan answers sql.ErrNoRows if there is none.
func (tx *Tx) QueryRow(query string, args ...any) *sql.Row {
	ctx := tx.ctx
	if tx.ready() != nil {
		canceled, cancel := context.WithCancel(ctx)
		cancel() // a Row cannot be made with an error of ours; Update and View put the right one in place
		ctx = canceled
	}
	row := tx.sql.QueryRowContext(ctx, query, args...)
	if err := row.Err(); err != nil {
		_ = tx.fail(err)
	}
	return row
}

// Changed leaves a row in the change feed, if the transaction commits. The same kind and key is left once per commit.
func (tx *Tx) Changed(kind, key string) error {
	if tx.changes == nil {
		return errReadOnly
	}
	if err := tx.ready(); err != nil {
		return err
	}
	*tx.changes = append(*tx.changes, change{kind, key})
	return nil
}

// ready is why no further statement may run, or nil.
func (tx *Tx) ready() error {
	if tx.failed == nil {
		if err := tx.caller.Err(); err != nil {
			tx.failed = err
		}
	}
	return tx.failed
}

func (tx *Tx) fail(err error) error {
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}

// outcome is the error of the function, seen together with what its statements met.
func (tx *Tx) outcome(err error) error {
	switch {
	case tx.failed == nil:
		return err
	case tx.caller.Err() != nil && errors.Is(tx.failed, tx.caller.Err()):
		return fmt.Errorf("nothing was changed: %w", tx.failed)
	case err == nil, errors.Is(err, context.Canceled):
		return tx.failed
	default:
		return err
	}
}

// View runs the function over one snapshot. It changes nothing, and sees every commit that was answered before it began.
func (d *DB) View(ctx context.Context, fn func(*Tx) error) error {
	if d.closed.Err() != nil {
		return ErrClosed
	}
	now := d.clock.read()
	began, err := d.readers.BeginTx(ctx, d.engine.view)
	if err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer func() { _ = began.Rollback() }() // a view has nothing to lose
	tx := &Tx{sql: began, ctx: ctx, caller: ctx, now: now}
	defer func() { tx.failed = errOver }()
	return tx.outcome(fn(tx))
}
