package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// Strand marks a server that will not come back by itself. The mark frees nothing; it keeps anything from being raised there,
// and goes when the server reports again.
func Strand(tx *db.Tx, actor audit.Actor, server, why string) error {
	m, err := steady(tx, "it cannot be marked as stranded", server)
	if err != nil {
		return err
	}
	if m.stranded {
		return nil
	}
	if _, err := tx.Exec("UPDATE ledger_servers SET stranded = 1 WHERE server = $1", server); err != nil {
		return fmt.Errorf("strand server %s: %w", server, err)
	}
	if err := audit.Record(tx, audit.Entry{Actor: actor, Action: "strand", Subject: server, Detail: map[string]any{"why": why}}); err != nil {
		return err
	}
	return changed(tx, server)
}

// reappear takes the mark of a stranded server away.
func reappear(tx *db.Tx, server string) error {
	if _, err := tx.Exec("UPDATE ledger_servers SET stranded = 0 WHERE server = $1", server); err != nil {
		return fmt.Errorf("note that server %s reappeared: %w", server, err)
	}
	return audit.Record(tx, audit.Entry{Actor: audit.System, Action: "reappear", Subject: server})
}

// Release orders everything down for a stranded server and begins its release: the document of zeros first, so that a server
// that comes back finds it; when that is retained at the broker, the release at the activation server, under the same order.
// Seats are free on its receipt alone. evidence is what the operator states about the server.
func Release(tx *db.Tx, actor audit.Actor, server, evidence string) error {
	m, err := steady(tx, "it cannot be released", server)
	if err != nil {
		return err
	}
	if !m.stranded {
		return &StateError{What: "it cannot be released", Reasons: []Reason{m.because("it is not marked as stranded")}}
	}
	var refused string
	if err := tx.QueryRow("SELECT release_code FROM ledger_servers WHERE server = $1", server).Scan(&refused); err != nil {
		return fmt.Errorf("release server %s: %w", server, err)
	}
	if m.releaseKey != "" && refused == "" {
		return nil // on its way
	}
	found, err := seatsOf(tx, server)
	if err != nil {
		return err
	}
	b := booking{tx: tx}
	held := make(map[string]int)
	for _, before := range found[server] {
		after := before
		after.Want, after.Ordered = 0, 0
		b.putIfChanged(after, before)
		if before.Held() > 0 {
			held[before.line] = before.Held()
		}
	}
	if err := b.close(); err != nil {
		return err
	}
	if err := orders(tx, server); err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE ledger_servers SET release_key = $2, release_generation = order_generation, release_published = 0, release_code = '' WHERE server = $1",
		server, "release "+rand.Text())
	if err != nil {
		return fmt.Errorf("release server %s: %w", server, err)
	}
	return audit.Record(tx, audit.Entry{Actor: actor, Action: "release", Subject: server, Detail: map[string]any{"evidence": evidence, "lines": held}})
}

// steady is a server that the ledger knows and that is not adopting.
func steady(tx *db.Tx, what, server string) (member, error) {
	m, ok, err := knownMember(tx, server)
	switch {
	case err != nil:
		return member{}, err
	case !ok:
		return member{}, &StateError{What: what, Reasons: []Reason{{Server: server, Why: "the ledger does not know it"}}}
	case m.adopting:
		return member{}, &AdoptingError{Servers: []string{server}}
	}
	return m, nil
}

// ReleasePublished notes that the document of this generation is retained at the broker. Nothing happens if the server is
// not being released, or has had a newer order since.
func ReleasePublished(tx *db.Tx, server string, generation int64) error {
	rows, err := tx.Exec(`UPDATE ledger_servers SET release_published = 1
		WHERE server = $1 AND release_key <> '' AND release_published = 0 AND claimed_generation = $2 AND release_generation <= $2`, server, generation)
	if err != nil {
		return fmt.Errorf("note that the release of server %s may be posted: %w", server, err)
	}
	if rows == 0 {
		return nil
	}
	return changed(tx, server)
}

// DueRelease is a release that may be posted to the activation server.
type DueRelease struct {
	Server string // ID
	HostID string
	Key    string
	Order  exchange.Order
}

// ReleaseDue is every release that may be posted: its document is retained, or there is no agent that could be told.
func ReleaseDue(tx *db.Tx) ([]DueRelease, error) {
	var due []DueRelease
	err := each(tx, `SELECT l.server, s.host_id, l.release_key, l.epoch, l.release_generation FROM ledger_servers l JOIN servers s ON s.id = l.server
		WHERE l.release_key <> '' AND l.release_code = '' AND l.adopting = 0 AND (l.release_published = 1 OR s.agent IS NULL) ORDER BY l.server`,
		nil, func(scan func(...any) error) error {
			var r DueRelease
			err := scan(&r.Server, &r.HostID, &r.Key, &r.Order.Epoch, &r.Order.Generation)
			due = append(due, r)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read due releases: %w", err)
	}
	return due, nil
}

// ReleaseRefused notes why the activation server did not release the server. Everything stays held; another Release tries
// under a new order.
func ReleaseRefused(tx *db.Tx, r DueRelease, code exchange.Code) error {
	rows, err := tx.Exec("UPDATE ledger_servers SET release_code = $3 WHERE server = $1 AND release_key = $2", r.Server, r.Key, string(code))
	if err != nil || rows == 0 {
		return err
	}
	err = audit.Record(tx, audit.Entry{Actor: audit.System, Action: "release-refused", Subject: r.Server, Detail: map[string]any{"code": string(code)}})
	if err != nil {
		return err
	}
	return changed(tx, r.Server)
}

var errForeignReceipt = errors.New("the receipt is not of this release")

// ReleaseSettled frees the seats of a released server: receipt is the verified answer to its release, signed its bytes. The
// mark goes too; a server that comes back finds a document of zeros. Nothing happens if the release is not under way.
func ReleaseSettled(tx *db.Tx, r DueRelease, receipt exchange.Receipt, signed []byte) (bool, error) {
	m, ok, err := knownMember(tx, r.Server)
	if err != nil || !ok || m.releaseKey == "" || m.releaseKey != r.Key {
		return false, err
	}
	if receipt.Host != m.hostID || receipt.For != exchange.DigestOf([]byte(r.Key)) || receipt.Order != r.Order {
		return false, fmt.Errorf("settle the release of server %s: %w", r.Server, errForeignReceipt)
	}
	found, err := seatsOf(tx, r.Server)
	if err != nil {
		return false, err
	}
	b := booking{tx: tx, mayOvercommit: true}
	freed := make(map[string]int)
	for _, before := range found[r.Server] {
		after := before
		held, pending := receipt.Count(before.right)
		// No agent, no document: then nothing was claimed since, and what was exposed is what the release took.
		claimed := before.claimed
		if m.claimed.Order != r.Order {
			claimed = 0
		}
		after.claimed = claimed
		after.Counts, after.provedOrder = before.settle(claimed, held, pending), receipt.Order
		b.putIfChanged(after, before)
		if less := before.Held() - after.Held(); less > 0 {
			freed[after.line] = less
		}
	}
	if err := b.close(); err != nil {
		return false, err
	}
	_, err = tx.Exec("UPDATE ledger_servers SET stranded = 0, release_key = '', release_generation = 0, release_published = 0, release_code = '' WHERE server = $1", r.Server)
	if err == nil {
		err = keepReceipt(tx, r.Server, receipt, signed)
	}
	if err != nil {
		return false, fmt.Errorf("settle the release of server %s: %w", r.Server, err)
	}
	err = audit.Record(tx, audit.Entry{Actor: audit.System, Action: "released", Subject: r.Server, Detail: map[string]any{
		"order": receipt.Order.String(), "sequence": receipt.Sequence, "freed": freed,
	}})
	if err != nil {
		return false, err
	}
	return true, changed(tx, r.Server)
}
