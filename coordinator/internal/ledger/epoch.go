package ledger

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// currentEpoch is the epoch of this ledger, which begins when it is first asked for.
func currentEpoch(tx *db.Tx) (int64, error) {
	var epoch int64
	err := tx.QueryRow("SELECT epoch FROM ledger_state").Scan(&epoch)
	if errors.Is(err, sql.ErrNoRows) {
		epoch = tx.Now().Unix()
		_, err = tx.Exec("INSERT INTO ledger_state (one, epoch) VALUES (1, $1)", epoch)
	}
	if err != nil {
		return 0, fmt.Errorf("read the epoch: %w", err)
	}
	return epoch, nil
}

// NewEpoch begins a new epoch and returns it: after a restore, or when it shows that the ledger was rolled back. Every server
// is adopting, whatever was claimed or released in earlier epochs is forgotten, and nothing is raised until all are adopted.
func NewEpoch(tx *db.Tx, actor audit.Actor, reason string) (int64, error) {
	return newEpoch(tx, actor, 0, map[string]any{"reason": reason})
}

// NewEpochAbove is NewEpoch for one that must be above an epoch that was met elsewhere.
func NewEpochAbove(tx *db.Tx, actor audit.Actor, above int64, reason string) (int64, error) {
	return newEpoch(tx, actor, above, map[string]any{"reason": reason, "above": above})
}

// newEpoch takes an epoch above every one ever used: a repeated one would let old documents and receipts pass for new. An
// epoch beyond any clock is not followed.
func newEpoch(tx *db.Tx, actor audit.Actor, above int64, detail map[string]any) (int64, error) {
	stored, err := currentEpoch(tx)
	if err != nil {
		return 0, err
	}
	epoch := max(tx.Now().Unix(), stored+1)
	if above <= maxEpoch {
		epoch = max(epoch, above+1)
	}
	detail["epoch"], detail["before"] = epoch, stored
	if err := audit.Record(tx, audit.Entry{Actor: actor, Action: "new-epoch", Subject: "ledger", Detail: detail}); err != nil {
		return 0, err
	}
	if _, err := tx.Exec("UPDATE ledger_state SET epoch = $1", epoch); err != nil {
		return 0, fmt.Errorf("begin epoch %d: %w", epoch, err)
	}
	if _, err := tx.Exec("UPDATE assignments SET claimed = 0 WHERE claimed <> 0"); err != nil {
		return 0, fmt.Errorf("begin epoch %d: %w", epoch, err)
	}
	servers, err := texts(tx, `UPDATE ledger_servers SET epoch = $1, generation = 0, order_generation = 0, adopting = 1, restored = 1, hold = 0,
		claimed_generation = 0, claimed_order = 0, claimed_digest = '', claimed_payload = NULL, claimed_hold = 0,
		release_key = '', release_generation = 0, release_published = 0, release_code = '' RETURNING server`, epoch)
	if err != nil {
		return 0, fmt.Errorf("begin epoch %d: %w", epoch, err)
	}
	return epoch, changed(tx, servers...)
}
