package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// seat is one assignment's row, with what of its line an operation needs.
type seat struct {
	server, line, owner string
	Counts
	claimed     int            // in the document last claimed in this epoch
	provedOrder exchange.Order // of the receipt behind Proved
	code        exchange.Code  // why it was refused under codeOrder; empty if it was not
	codeOrder   exchange.Order
	installed   *int // in the server's store, as last reported; nil: not reported since

	partNumber   string
	activationID exchange.ActivationID
	right        exchange.RightID
}

// failed reports whether the order's exchange refused this right.
func (s seat) failed(order exchange.Order) bool { return s.code != "" && s.codeOrder == order }

const seatColumns = `SELECT a.server, a.line, a.owner, a.want, a.ordered, a.exposed, a.proved, a.claimed,
	a.proved_epoch, a.proved_generation, a.code, a.code_epoch, a.code_generation, a.installed,
	n.part_number, n.activation_id, n.right_id FROM assignments a JOIN lines n ON n.ref = a.line `

func scanSeat(scan func(...any) error) (seat, error) {
	var s seat
	var installed *int64
	err := scan(&s.server, &s.line, &s.owner, &s.Want, &s.Ordered, &s.Exposed, &s.Proved, &s.claimed,
		&s.provedOrder.Epoch, &s.provedOrder.Generation, &s.code, &s.codeOrder.Epoch, &s.codeOrder.Generation, &installed,
		&s.partNumber, &s.activationID, &s.right)
	if installed != nil {
		n := int(*installed)
		s.installed = &n
	}
	return s, err
}

// seatsOf is every assignment ever made to the servers, by server, in the order of the lines' references.
func seatsOf(tx *db.Tx, servers ...string) (map[string][]seat, error) {
	found := make(map[string][]seat, len(servers))
	for ids := range slices.Chunk(servers, chunk) {
		query := seatColumns + "WHERE a.server IN (" + marks(1, len(ids)) + ")"
		err := each(tx, query, anys(ids), func(scan func(...any) error) error {
			s, err := scanSeat(scan)
			found[s.server] = append(found[s.server], s)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read assignments: %w", err)
		}
	}
	for _, seats := range found { // here, not in SQL: the engines sort text differently
		slices.SortFunc(seats, func(a, b seat) int { return cmp.Compare(a.line, b.line) })
	}
	return found, nil
}

// booking changes assignments. It is the one place where counts change: held of the lines follows in the same transaction,
// and where the database says no, so does close.
type booking struct {
	tx    *db.Tx
	seats []seat
	lines map[string]int // by how much held of each line changes
	// mayOvercommit is for what the activation server proves: it is so, whether it fits or not, and the line is marked.
	mayOvercommit bool
}

// put notes an assignment as it shall be; before are its counts until now.
func (b *booking) put(after seat, before Counts) {
	b.seats = append(b.seats, after)
	if change := after.Held() - before.Held(); change != 0 {
		if b.lines == nil {
			b.lines = make(map[string]int)
		}
		b.lines[after.line] += change
	}
}

// putIfChanged is put for an assignment that may be as it was.
func (b *booking) putIfChanged(after, before seat) bool {
	same := after.Counts == before.Counts && after.claimed == before.claimed && after.provedOrder == before.provedOrder &&
		after.code == before.code && after.codeOrder == before.codeOrder && equal(after.installed, before.installed)
	if !same {
		b.put(after, before.Counts)
	}
	return !same
}

func equal(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

const seatValues = 15

// close writes what was noted. Lines go first, in order: who changes the same ones waits here and not half-way.
func (b *booking) close() error {
	for _, ref := range slices.Sorted(maps.Keys(b.lines)) {
		change := b.lines[ref]
		if change == 0 {
			continue
		}
		mark := "CASE WHEN held + $1 > bought THEN overcommitted ELSE 0 END"
		if b.mayOvercommit {
			mark = "CASE WHEN held + $1 > bought THEN 1 ELSE 0 END"
		}
		rows, err := b.tx.Exec("UPDATE lines SET held = held + $1, overcommitted = "+mark+" WHERE ref = $2", change, ref)
		if err != nil {
			return fmt.Errorf("change what is held of %s: %w", ref, err)
		}
		if rows != 1 {
			return fmt.Errorf("change what is held of %s: there is no such line", ref)
		}
	}
	for seats := range slices.Chunk(b.seats, chunk) {
		if err := b.write(seats); err != nil {
			return fmt.Errorf("write %d assignments: %w", len(seats), err)
		}
	}
	return nil
}

func (b *booking) write(seats []seat) error {
	var query strings.Builder
	query.WriteString(`INSERT INTO assignments (server, line, owner, want, ordered, exposed, proved, held, claimed,
		proved_epoch, proved_generation, code, code_epoch, code_generation, installed) VALUES `)
	args := make([]any, 0, len(seats)*seatValues)
	for i, s := range seats {
		if i > 0 {
			query.WriteByte(',')
		}
		query.WriteString("(" + marks(len(args)+1, seatValues) + ")")
		args = append(args, s.server, s.line, s.owner, s.Want, s.Ordered, s.Exposed, s.Proved, s.Held(), s.claimed,
			s.provedOrder.Epoch, s.provedOrder.Generation, string(s.code), s.codeOrder.Epoch, s.codeOrder.Generation, nullInt(s.installed))
	}
	query.WriteString(` ON CONFLICT (server, line) DO UPDATE SET want = excluded.want, ordered = excluded.ordered,
		exposed = excluded.exposed, proved = excluded.proved, held = excluded.held, claimed = excluded.claimed,
		proved_epoch = excluded.proved_epoch, proved_generation = excluded.proved_generation,
		code = excluded.code, code_epoch = excluded.code_epoch, code_generation = excluded.code_generation, installed = excluded.installed`)
	_, err := b.tx.Exec(query.String(), args...)
	return err
}

// byLine finds the assignment of a line.
func byLine(seats []seat, line string) (seat, bool) {
	at, ok := slices.BinarySearchFunc(seats, line, func(s seat, line string) int { return cmp.Compare(s.line, line) })
	if !ok {
		return seat{}, false
	}
	return seats[at], true
}
