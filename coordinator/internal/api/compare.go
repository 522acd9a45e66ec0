package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// account is what everybody says of one server. It is compared by rules that know no database.
type account struct {
	server     client.Server
	stale      string              // why there is no fresh report; empty: there is one
	ledger     []ledger.Assignment // everything that the ledger knows of the server
	reported   []protocol.HeldRight
	activation *exchange.HostState // nil: the activation server was not asked
}

// said is what everybody says of one right.
type said struct {
	ledger               *ledger.Assignment
	reported, activation int
	pending              int // removals that wait for their confirmation at the activation server
}

// compare names every disagreement about the server: at most one for each right, and one for a missing report.
func (a account) compare() []client.Mismatch {
	var found []client.Mismatch
	if a.stale != "" {
		found = append(found, a.mismatch(a.stale))
	}
	rights := a.rights()
	for _, id := range slices.Sorted(maps.Keys(rights)) {
		s := rights[id]
		problem := a.problem(s)
		if problem == "" {
			continue
		}
		m := a.mismatch(problem)
		m.Right = exchange.Digest(id).Short()
		wanted := 0
		if s.ledger != nil {
			wanted = s.ledger.Want
			m.Right, m.PartNumber, m.Phase = s.ledger.Masked, s.ledger.PartNumber, client.Phase(s.ledger.Phase)
		}
		m.Ledger = &wanted
		if a.stale == "" {
			m.Reported = &s.reported
		}
		if a.activation != nil {
			m.Activation = &s.activation
		}
		found = append(found, m)
	}
	return found
}

func (a account) mismatch(problem string) client.Mismatch {
	return client.Mismatch{Server: a.server.ID, HostID: a.server.HostID, Name: a.server.Name, Problem: problem}
}

// rights is everything that anybody names.
func (a account) rights() map[exchange.RightID]said {
	rights := map[exchange.RightID]said{}
	for i := range a.ledger {
		rights[a.ledger[i].Right] = said{ledger: &a.ledger[i]}
	}
	for _, held := range a.reported {
		s := rights[held.Right]
		s.reported = held.Count
		rights[held.Right] = s
	}
	if a.activation != nil {
		for _, held := range a.activation.Rights {
			id := exchange.ActivationID(held.ActivationID).RightID()
			s := rights[id]
			s.activation, s.pending = held.Count, held.Pending
			rights[id] = s
		}
	}
	return rights
}

// problem is how the parties disagree about a right, the ledger's own trouble first; empty if they agree.
func (a account) problem(s said) string {
	want := 0
	if l := s.ledger; l != nil {
		want = l.Want
		switch settled := l.Phase == ledger.Activated || l.Phase == ledger.Freed; {
		case !settled && l.Phase == ledger.Failed:
			return fmt.Sprintf("it failed: %s", l.Code.Meaning().Text)
		case !settled:
			return fmt.Sprintf("it is not settled: %d wanted, %d ordered, %d exposed, %d proved", l.Want, l.Ordered, l.Exposed, l.Proved)
		}
	}
	reported, activation := a.stale != "" || s.reported == want, a.activation == nil || s.activation == want
	switch {
	case s.ledger == nil && s.reported+s.activation+s.pending > 0:
		return "it is held, and the ledger has no assignment of it"
	case !reported && !activation:
		return fmt.Sprintf("the server holds %d and the activation server has %d, where %d are right", s.reported, s.activation, want)
	case !reported:
		return fmt.Sprintf("the server holds %d where %d are right", s.reported, want)
	case !activation:
		return fmt.Sprintf("the activation server has %d where %d are right", s.activation, want)
	case s.pending > 0:
		return fmt.Sprintf("a removal of %d waits for its confirmation at the activation server", s.pending)
	}
	return ""
}
