package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// EnsureServers gives every server that the fleet knows well enough (a host ID and an owner) its place in the ledger: of
// these servers, or of all if none are named. A new one is adopting: nothing is assigned to it before it is known what it
// holds. It returns the new ones.
func EnsureServers(tx *db.Tx, servers ...string) ([]string, error) {
	epoch, err := currentEpoch(tx)
	if err != nil {
		return nil, err
	}
	const insert = `INSERT INTO ledger_servers (server, epoch) SELECT s.id, CAST($1 AS BIGINT) FROM servers s
		WHERE s.host_id IS NOT NULL AND s.owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ledger_servers l WHERE l.server = s.id)`
	const rest = ` ON CONFLICT (server) DO NOTHING RETURNING server`
	var added []string
	if len(servers) == 0 {
		added, err = texts(tx, insert+rest, epoch)
	}
	for ids := range slices.Chunk(servers, chunk) {
		var some []string
		some, err = texts(tx, insert+" AND s.id IN ("+marks(2, len(ids))+")"+rest, append([]any{epoch}, anys(ids)...)...)
		if added = append(added, some...); err != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("take servers into the ledger: %w", err)
	}
	return added, changed(tx, added...)
}

// Adoption is a server that waits for its adoption.
type Adoption struct {
	Server string // ID
	HostID string
	Epoch  int64
	Hold   bool // it is told to hold: its own report will do, if asking the activation server does not
}

// Key is the key under which its host is fenced. It is the same for every attempt of an epoch, so that every attempt gets
// the same receipt.
func (a Adoption) Key() string { return fmt.Sprintf("adopt %s %d", a.Server, a.Epoch) }

// Order is the order of the fence: below every document of the epoch, above all that came before.
func (a Adoption) Order() exchange.Order { return exchange.Order{Epoch: a.Epoch} }

// Adopting is every server that waits for its adoption.
func Adopting(tx *db.Tx) ([]Adoption, error) {
	var all []Adoption
	err := each(tx, `SELECT l.server, s.host_id, l.epoch, l.hold FROM ledger_servers l JOIN servers s ON s.id = l.server WHERE l.adopting = 1 ORDER BY l.server`,
		nil, func(scan func(...any) error) error {
			var a Adoption
			var hold int64
			err := scan(&a.Server, &a.HostID, &a.Epoch, &hold)
			a.Hold = hold != 0
			all = append(all, a)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read which servers are adopting: %w", err)
	}
	return all, nil
}

// Hold lets adopting servers be told to hold, because the activation server cannot be asked: change nothing, finish, report.
// It returns those that were not told before.
func Hold(tx *db.Tx, servers ...string) ([]string, error) {
	var told []string
	for ids := range slices.Chunk(servers, chunk) {
		some, err := texts(tx, "UPDATE ledger_servers SET hold = 1 WHERE adopting = 1 AND hold = 0 AND server IN ("+marks(1, len(ids))+") RETURNING server", anys(ids)...)
		if err != nil {
			return nil, fmt.Errorf("let servers hold: %w", err)
		}
		told = append(told, some...)
	}
	return told, changed(tx, told...)
}

// Adopt takes over what the activation server says an adopting server holds: receipt is the verified answer to a fence under
// the adoption's order, signed its bytes. It returns false, and changes nothing, if the server is not adopting any more or
// the receipt is of another epoch.
func Adopt(tx *db.Tx, server string, receipt exchange.Receipt, signed []byte) (bool, error) {
	m, ok, err := knownMember(tx, server)
	if err != nil || !ok || !m.adopting || receipt.Host != m.hostID || receipt.Order != (exchange.Order{Epoch: m.epoch}) {
		return false, err
	}
	if _, err := adopt(tx, m, receipt, signed); err != nil {
		return false, err
	}
	return true, changed(tx, server)
}

// adopt replaces every count of the server by what the receipt says; whatever was wished before is in the audit entry and
// nowhere else. Pending removals count as exposed. The next document is the first that may change something.
func adopt(tx *db.Tx, m member, receipt exchange.Receipt, signed []byte) (freed int, err error) {
	found, err := seatsOf(tx, m.id)
	if err != nil {
		return 0, err
	}
	seats, foreign, err := withNewRights(tx, m, found[m.id], receipt)
	if err != nil {
		return 0, err
	}
	b := booking{tx: tx, mayOvercommit: true}
	holds, differences := make(map[string]int), make(map[string]string)
	for _, before := range seats {
		held, pending := receipt.Count(before.right)
		after := before
		after.Counts, after.claimed = adopted(held, pending), 0
		after.provedOrder, after.code, after.codeOrder = receipt.Order, "", exchange.Order{}
		b.put(after, before.Counts)
		freed += max(before.Held()-after.Held(), 0)
		if held+pending > 0 {
			holds[after.line] = held + pending
		}
		if before.Want != held {
			differences[after.line] = fmt.Sprintf("wanted %d, holds %d", before.Want, held)
		}
	}
	if err := b.close(); err != nil {
		return 0, err
	}
	_, err = tx.Exec(`UPDATE ledger_servers SET adopting = 0, restored = 0, hold = 0, generation = generation + 1, order_generation = generation + 1, unmanaged = $2 WHERE server = $1`,
		m.id, foreign)
	if err == nil {
		err = keepReceipt(tx, m.id, receipt, signed)
	}
	if err != nil {
		return 0, fmt.Errorf("adopt server %s: %w", m.id, err)
	}
	return freed, audit.Record(tx, audit.Entry{Actor: audit.System, Action: "adopt", Subject: m.id, Detail: map[string]any{
		"order": receipt.Order.String(), "sequence": receipt.Sequence, "lines": holds, "unmanaged": foreign, "differences": differences,
	}})
}

// withNewRights are the seats and, for rights of the receipt that the server has no assignment of but its owner has a line
// of, new ones without counts. Rights that no line of the owner has are counted.
func withNewRights(tx *db.Tx, m member, seats []seat, receipt exchange.Receipt) ([]seat, int, error) {
	foreign := make(map[string]bool)
	for _, right := range receipt.Rights {
		known := slices.ContainsFunc(seats, func(s seat) bool { return s.right == right.Right })
		if !known && right.Count+right.Pending > 0 {
			foreign[string(right.Right)] = true
		}
	}
	var ids []string
	for id := range foreign {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	all := slices.Clone(seats)
	for some := range slices.Chunk(ids, chunk) {
		query := "SELECT ref, right_id FROM lines WHERE owner = $1 AND right_id IN (" + marks(2, len(some)) + ")"
		err := each(tx, query, append([]any{m.owner}, anys(some)...), func(scan func(...any) error) error {
			s := seat{server: m.id, owner: m.owner}
			err := scan(&s.line, &s.right)
			delete(foreign, string(s.right))
			all = append(all, s)
			return err
		})
		if err != nil {
			return nil, 0, fmt.Errorf("read the lines that server %s holds: %w", m.id, err)
		}
	}
	slices.SortFunc(all, func(a, b seat) int { return cmp.Compare(a.line, b.line) })
	return all, len(foreign), nil
}
