package ledger

import (
	"fmt"
	"slices"
	"time"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// Request says what servers should hold of one product.
type Request struct {
	Servers    []string // IDs; one that is named twice counts once
	PartNumber string
	Count      int // absolute, for each server
}

// Result is what a request led to.
type Result struct {
	Servers   int // that were named
	Unchanged int // of them, those for which nothing had to change
	Held      int // seats newly held
	Freed     int // seats free at once: nothing of them was ever sent
	Lowered   int // seats decided away, but ordered: the next activate returns them
	Returns   int // seats on their way back; held until the activation server's receipt says that they are free
	Left      int // seats of the product's usable lines that nobody holds now, of the owners that were asked
}

// Assign decides that each server holds exactly Count of the product, and holds the seats for it; nothing is sent. Lines are
// the site owner's, started and not expired: the one where the server already has it, else the earliest expiry, and several
// only if one cannot serve it. It is all or nothing: a *NotAssignableError, *ShortError or *AdoptingError changed nothing.
func Assign(tx *db.Tx, actor audit.Actor, r Request) (Result, error) {
	servers, err := r.check(1)
	if err != nil {
		return Result{}, err
	}
	found, err := assignable(tx, r.PartNumber, servers)
	if err != nil {
		return Result{}, err
	}
	lines, err := usableLines(tx, owners(found), r.PartNumber)
	if err != nil {
		return Result{}, err
	}
	seats, err := seatsOf(tx, servers...)
	if err != nil {
		return Result{}, err
	}
	result := Result{Servers: len(servers)}
	b := booking{tx: tx}
	var touched []string
	wanted := func(id string) int {
		sum := 0
		for _, o := range optionsOf(lines[found[id].owner], seats[id]) {
			sum += o.counts.Want
		}
		return sum
	}
	for _, id := range lowerFirst(r.Count, servers, wanted) {
		m := found[id]
		wants, ok := spread(r.Count, optionsOf(lines[m.owner], seats[id]))
		if !ok {
			return Result{}, shortage(tx, r, m.owner, servers, found, seats)
		}
		decided := decide(&b, m, lines[m.owner], seats[id], wants, &result)
		if len(decided) == 0 {
			result.Unchanged++
			continue
		}
		touched = append(touched, id)
		err := audit.Record(tx, audit.Entry{Actor: actor, Action: "assign", Subject: id, Detail: map[string]any{
			"product": r.PartNumber, "count": r.Count, "lines": decided,
		}})
		if err != nil {
			return Result{}, err
		}
	}
	if result.Held > 0 {
		if err := allAdopted(tx); err != nil {
			return Result{}, err
		}
	}
	if err := b.close(); err != nil {
		return Result{}, err
	}
	for _, all := range lines {
		for _, line := range all {
			result.Left += max(line.left(), 0)
		}
	}
	return result, changed(tx, touched...)
}

// check refuses what no server could do, and drops what is named twice.
func (r Request) check(least int) ([]string, error) {
	var servers []string
	seen := make(map[string]bool, len(r.Servers))
	for _, id := range r.Servers {
		if !seen[id] {
			seen[id] = true
			servers = append(servers, id)
		}
	}
	switch {
	case len(servers) == 0:
		return nil, &NotAssignableError{PartNumber: r.PartNumber, Why: "no server is named"}
	case r.Count < least || r.Count > exchange.MaxCount:
		return nil, &NotAssignableError{PartNumber: r.PartNumber, Why: fmt.Sprintf("a count of %d is impossible; to take it away, unassign", r.Count)}
	}
	return servers, nil
}

// lowerFirst puts servers that want more than the count first: what they free serves the others.
func lowerFirst(count int, servers []string, wanted func(server string) int) []string {
	ordered := slices.Clone(servers)
	slices.SortStableFunc(ordered, func(a, b string) int { return b2i(wanted(a) <= count) - b2i(wanted(b) <= count) })
	return ordered
}

// decide notes what the server should want of each line, and keeps held of the lines for the next server. It returns the
// new want of each line that changed.
func decide(b *booking, m member, lines []*usable, seats []seat, wants []int, result *Result) map[string]int {
	var decided map[string]int
	for i, line := range lines {
		before, exists := byLine(seats, line.ref)
		if !exists {
			before = seat{server: m.id, line: line.ref, owner: m.owner}
		}
		if before.Want == wants[i] {
			continue
		}
		after := before
		after.Want = wants[i]
		b.put(after, before.Counts)
		more := after.Held() - before.Held()
		line.held += more
		result.Held += max(more, 0)
		result.Freed += max(-more, 0)
		result.Lowered += max(before.Want-after.Want, 0) - max(-more, 0)
		if decided == nil {
			decided = make(map[string]int)
		}
		decided[line.ref] = after.Want
	}
	return decided
}

// usable is a line that has started and not expired.
type usable struct {
	ref          string
	bought, held int
	expires      time.Time // zero: never
}

func (u *usable) left() int { return u.bought - u.held }

// usableLines are the owners' lines of the product that can be used now, the earliest expiry first.
func usableLines(tx *db.Tx, owners []string, partNumber string) (map[string][]*usable, error) {
	found := make(map[string][]*usable, len(owners))
	now := db.Millis(tx.Now())
	args := append([]any{partNumber, now}, anys(owners)...)
	err := each(tx, `SELECT owner, ref, bought, held, COALESCE(expires, 0) FROM lines
		WHERE part_number = $1 AND (starts IS NULL OR starts <= $2) AND (expires IS NULL OR expires > $2) AND owner IN (`+marks(3, len(owners))+`)
		ORDER BY owner, COALESCE(expires, 9223372036854775807), ref`, args, func(scan func(...any) error) error {
		var owner string
		var expires int64
		u := &usable{}
		err := scan(&owner, &u.ref, &u.bought, &u.held, &expires)
		u.expires = moment(expires)
		found[owner] = append(found[owner], u)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the lines of %s: %w", partNumber, err)
	}
	return found, nil
}

func owners(found map[string]member) []string {
	var all []string
	for _, m := range found {
		if !slices.Contains(all, m.owner) {
			all = append(all, m.owner)
		}
	}
	slices.Sort(all)
	return all
}

func optionsOf(lines []*usable, seats []seat) []option {
	options := make([]option, len(lines))
	for i, line := range lines {
		s, _ := byLine(seats, line.ref)
		options[i] = option{left: line.left(), counts: s.Counts}
	}
	return options
}

// shortage says how many seats the request would hold anew for one owner, of how many that were left before it.
func shortage(tx *db.Tx, r Request, owner string, servers []string, found map[string]member, seats map[string][]seat) error {
	lines, err := usableLines(tx, []string{owner}, r.PartNumber)
	if err != nil {
		return err
	}
	short := &ShortError{PartNumber: r.PartNumber}
	for _, line := range lines[owner] {
		short.Left += max(line.left(), 0)
		short.Lines = append(short.Lines, LineLeft{Line: line.ref, Left: max(line.left(), 0), Expires: line.expires})
	}
	for _, id := range servers {
		if found[id].owner != owner {
			continue
		}
		has := 0
		for _, line := range lines[owner] {
			s, _ := byLine(seats[id], line.ref)
			has += s.Held()
		}
		short.Asked += max(r.Count-has, 0)
	}
	return short
}
