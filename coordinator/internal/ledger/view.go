package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Server is a server as the ledger sees it.
type Server struct {
	ID          string
	Order       exchange.Order     // of what it should hold now
	Generation  int64              // of its newest document
	Claimed     Claimed            // the document last claimed; zero: none in this epoch
	Accepted    exchange.Digest    // of the document that its agent last said it accepted; empty: none
	InFlight    bool               // an exchange is, as last reported
	Exchange    *protocol.Exchange // as last reported; nil: none
	Sequence    int64              // the highest of any receipt
	SettledAt   time.Time          // when a receipt last counted; zero: never
	Unmanaged   int                // rights with seats that are in no assignment
	ReleaseCode exchange.Code      // why its release was refused; empty: it was not
	Conditions  []Condition
	Assignments []Assignment // every one ever made, by reference of the line

	settled bool // the exchange's receipt has settled
}

// Assignment is one line on one server.
type Assignment struct {
	Server      string // ID
	Line        string // reference
	Entitlement string // reference
	PartNumber  string
	Product     string
	Masked      string // the activation ID, masked
	Right       exchange.RightID
	Counts
	Phase      Phase
	Code       exchange.Code  // why it failed; empty: it did not
	ProvedBy   exchange.Order // order of the receipt behind Proved
	Installed  *int           // in the server's store, as last reported; nil: not known
	Starts     time.Time      // zero: not said
	Expires    time.Time      // the first instant at which it is of no use; zero: never
	Conditions []Condition
}

// View is the servers with these IDs that the ledger knows, or all if none are named, in the order of their IDs.
func View(tx *db.Tx, servers ...string) ([]Server, error) {
	if len(servers) == 0 {
		return view(tx, "", nil)
	}
	var all []Server
	for ids := range slices.Chunk(servers, chunk) {
		some, err := view(tx, " IN ("+marks(1, len(ids))+")", anys(ids))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b Server) bool { return a.ID == b.ID }), nil
}

// view reads servers and then their assignments; among is a condition on the server's ID, empty for all.
func view(tx *db.Tx, among string, args []any) ([]Server, error) {
	var servers []Server
	where := ""
	if among != "" {
		where = " WHERE l.server" + among
	}
	err := each(tx, serverColumns+where, args, func(scan func(...any) error) error {
		s, err := scanServer(scan)
		servers = append(servers, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read servers of the ledger: %w", err)
	}
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	if among != "" {
		where = " WHERE a.server" + among
	}
	now := tx.Now()
	err = each(tx, assignmentColumns+where, args, func(scan func(...any) error) error {
		a, order, overcommitted, err := scanAssignment(scan)
		at, ok := slices.BinarySearchFunc(servers, a.Server, func(s Server, id string) int { return cmp.Compare(s.ID, id) })
		if err != nil || !ok {
			return err
		}
		servers[at].add(a, order, overcommitted, now)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read assignments: %w", err)
	}
	for _, s := range servers {
		slices.SortFunc(s.Assignments, func(a, b Assignment) int { return cmp.Compare(a.Line, b.Line) })
	}
	return servers, nil
}

const serverColumns = `SELECT l.server, l.epoch, l.generation, l.order_generation,
	l.claimed_generation, l.claimed_order, l.claimed_digest, l.claimed_hold, l.accepted_digest, l.in_flight, l.exchange, l.exchange_settled,
	l.sequence, l.server_sequence, l.reported_sequence, COALESCE(l.settled_at, 0), l.unmanaged,
	l.adopting, l.stranded, l.release_key, l.release_code, s.clone_suspected
	FROM ledger_servers l JOIN servers s ON s.id = l.server`

func scanServer(scan func(...any) error) (Server, error) {
	var s Server
	var text, release string
	var hold, inFlight, settled, reached, reported, at, adopting, stranded, cloned int64
	err := scan(&s.ID, &s.Order.Epoch, &s.Generation, &s.Order.Generation,
		&s.Claimed.Generation, &s.Claimed.Order.Generation, &s.Claimed.Digest, &hold, &s.Accepted, &inFlight, &text, &settled,
		&s.Sequence, &reached, &reported, &at, &s.Unmanaged,
		&adopting, &stranded, &release, &s.ReleaseCode, &cloned)
	if err != nil {
		return s, err
	}
	s.Claimed.Hold, s.InFlight, s.settled = hold != 0, inFlight != 0, settled != 0
	if s.Claimed.Digest != "" {
		s.Claimed.Order.Epoch = s.Order.Epoch
	}
	s.SettledAt = moment(at)
	if text != "" {
		s.Exchange = new(protocol.Exchange)
		if err := json.Unmarshal([]byte(text), s.Exchange); err != nil {
			return s, fmt.Errorf("exchange of server %s: %w", s.ID, err)
		}
	}
	s.Conditions = standingFacts{
		adopting: adopting != 0, stranded: stranded != 0, releasing: release != "", cloned: cloned != 0,
		wentBack: reported < reached, unmanaged: s.Unmanaged, exchange: s.Exchange,
	}.conditions()
	return s, nil
}

const assignmentColumns = `SELECT a.server, a.line, n.entitlement, n.part_number, n.product, n.activation_id, n.right_id,
	a.want, a.ordered, a.exposed, a.proved, a.proved_epoch, a.proved_generation, a.code, a.code_epoch, a.code_generation, a.installed,
	COALESCE(n.starts, 0), COALESCE(n.expires, 0), n.overcommitted
	FROM assignments a JOIN lines n ON n.ref = a.line`

func scanAssignment(scan func(...any) error) (a Assignment, refusedBy exchange.Order, overcommitted bool, err error) {
	var id exchange.ActivationID
	var installed *int64
	var starts, expires, over int64
	err = scan(&a.Server, &a.Line, &a.Entitlement, &a.PartNumber, &a.Product, &id, &a.Right,
		&a.Want, &a.Ordered, &a.Exposed, &a.Proved, &a.ProvedBy.Epoch, &a.ProvedBy.Generation, &a.Code, &refusedBy.Epoch, &refusedBy.Generation, &installed,
		&starts, &expires, &over)
	a.Masked = id.String()
	if installed != nil {
		n := int(*installed)
		a.Installed = &n
	}
	a.Starts, a.Expires = moment(starts), moment(expires)
	return a, refusedBy, over != 0, err
}

// add computes what is not stored of the assignment.
func (s *Server) add(a Assignment, refusedBy exchange.Order, overcommitted bool, now time.Time) {
	refused := a.Code != "" && refusedBy == s.Order
	if !refused {
		a.Code = ""
	}
	a.Phase = Situation{
		Counts: a.Counts, Current: a.ProvedBy == s.Order, Refused: refused, Stage: stageOf(s.Exchange, s.settled, s.Order, a.Line),
	}.Phase()
	a.Conditions = seatFacts{
		phase: a.Phase, code: a.Code, counts: a.Counts, installed: a.Installed, inFlight: s.InFlight,
		overcommitted: overcommitted, expired: !a.Expires.IsZero() && !now.Before(a.Expires),
	}.conditions()
	s.Assignments = append(s.Assignments, a)
}

// Summary counts assignments by phase and names what is not as it should be.
type Summary struct {
	Servers     int
	Assignments int // that hold seats: those of phase freed are not counted
	Phases      map[Phase]int
	Conditions  map[Condition]int // servers or assignments for which it holds
}

// Summarize counts what View returned.
func Summarize(servers []Server) Summary {
	sum := Summary{Servers: len(servers), Phases: make(map[Phase]int), Conditions: make(map[Condition]int)}
	for _, s := range servers {
		for _, c := range s.Conditions {
			sum.Conditions[c]++
		}
		for _, a := range s.Assignments {
			sum.Phases[a.Phase]++
			sum.Assignments += b2i(a.Phase != Freed)
			for _, c := range a.Conditions {
				sum.Conditions[c]++
			}
		}
	}
	return sum
}
