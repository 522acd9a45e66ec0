package db

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrCursorTooOld is when rows after the cursor were pruned, or when the cursor is of another life of this database (before
// a restore): the reader starts anew at Newest and reads everything.
var ErrCursorTooOld = errors.New("the change feed does not reach back to this cursor")

// Change is a row of the change feed: something of this kind with this key is no longer as it was.
type Change struct {
	ID        int64
	Kind, Key string
	At        time.Time
}

type change struct{ kind, key string }

// maxChanges bounds the rows of one commit: on PostgreSQL an ID has 20 bits for the place within its commit.
const maxChanges = 1<<20 - 1

// feed writes the changes of the group as its last statement.
func (g *group) feed() error {
	seen := make(map[change]bool, len(g.changes))
	rows := g.changes[:0]
	for _, c := range g.changes {
		if !seen[c] {
			seen[c] = true
			rows = append(rows, c)
		}
	}
	g.changes = rows
	if len(rows) == 0 {
		return nil
	}
	if len(rows) > maxChanges {
		return fmt.Errorf("feed the changes: %d at once, at most %d", len(rows), maxChanges)
	}
	query, args, err := g.db.engine.feed(Millis(g.now), rows)
	if err == nil {
		_, err = g.tx.ExecContext(g.ctx, query, args...)
	}
	if err != nil {
		return fmt.Errorf("feed the changes: %w", err)
	}
	return nil
}

// Newest is the cursor of who has read everything so far. Take it first, then read the tables, then follow Changes.
func (d *DB) Newest(ctx context.Context) (int64, error) {
	var newest int64
	err := d.View(ctx, func(tx *Tx) error {
		return tx.QueryRow("SELECT COALESCE(MAX(id), 0) FROM changes WHERE id < " + d.engine.horizon).Scan(&newest)
	})
	if err != nil {
		return 0, fmt.Errorf("read the end of the change feed: %w", err)
	}
	return newest, nil
}

// heldBack is how soon a reader is woken again for rows that wait for an older transaction to end: its end itself may leave
// no row and so wake nobody.
const heldBack = 10 * time.Millisecond

// Changes are the rows after the cursor, the oldest first, at most limit. The last one's ID is the next cursor. No row is ever
// skipped: on PostgreSQL one is held back until every transaction that began before its own has ended.
func (d *DB) Changes(ctx context.Context, after int64, limit int) ([]Change, error) {
	var changes []Change
	waiting := false
	err := d.View(ctx, func(tx *Tx) error {
		var err error
		if changes, err = d.changes(tx, after, limit); err != nil || len(changes) > 0 {
			return err
		}
		var newest, pruned int64
		if err := tx.QueryRow("SELECT (SELECT COALESCE(MAX(id), 0) FROM changes), (SELECT below FROM changes_pruned)").Scan(&newest, &pruned); err != nil {
			return err
		}
		if after > max(newest, pruned) {
			return ErrCursorTooOld
		}
		waiting = newest > after
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the change feed: %w", err)
	}
	if waiting {
		d.wake.later(heldBack)
	}
	return changes, nil
}

func (d *DB) changes(tx *Tx, after int64, limit int) ([]Change, error) {
	var pruned int64
	if err := tx.QueryRow("SELECT below FROM changes_pruned").Scan(&pruned); err != nil {
		return nil, err
	}
	if after < pruned {
		return nil, ErrCursorTooOld
	}
	rows, err := tx.Query("SELECT id, at, kind, key FROM changes WHERE id > $1 AND id < "+d.engine.horizon+" ORDER BY id LIMIT $2", after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says it all
	var changes []Change
	for rows.Next() {
		var c Change
		var at int64
		if err := rows.Scan(&c.ID, &at, &c.Kind, &c.Key); err != nil {
			return nil, err
		}
		c.At = Time(at)
		changes = append(changes, c)
	}
	return changes, rows.Err()
}

// prune keeps the feed bounded. It runs after a commit now and then, in a transaction of its own; if it fails, the next one
// does the work.
func (d *DB) prune(fed int) {
	d.fed += int64(fed)
	if d.fed < d.options.FeedRows/10+1 {
		return
	}
	d.fed = 0
	ctx, cancel := d.engine.statements()
	defer cancel()
	if err := d.pruneNow(ctx); err != nil {
		d.options.Logger.Warn().Err(err).Msg("prune the change feed")
	}
}

func (d *DB) pruneNow(ctx context.Context) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	var below int64
	err = tx.QueryRowContext(ctx, "SELECT COALESCE(MIN(id), 0) FROM (SELECT id FROM changes ORDER BY id DESC LIMIT 1 OFFSET $1) AS last", d.options.FeedRows).Scan(&below)
	if err != nil || below == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM changes WHERE id <= $1", below); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE changes_pruned SET below = $1 WHERE below < $1", below); err != nil {
		return err
	}
	return tx.Commit()
}
