package activation

import (
	"slices"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// situation is all that the next move depends on.
type situation struct {
	desired    *protocol.Desired // accepted; nil: none
	fresh      bool              // the document of this connection is here
	step       protocol.Step     // of the exchange in flight; empty: none is
	needReport bool
	fenced     bool
	stopped    exchange.Code
	refused    map[string]refused
	receipt    *exchange.Receipt // the newest
	facts      *held             // nil: not known
	factsDue   bool
}

// held is what a decision needs of a server's facts.
type held struct {
	counts        map[exchange.ActivationID]int
	partialReturn bool
	confirms      bool
}

func heldBy(f bms.Facts) *held {
	h := &held{counts: make(map[exchange.ActivationID]int, len(f.Rights)), partialReturn: f.PartialReturn, confirms: f.Confirms}
	for _, right := range f.Rights {
		h.counts[right.ActivationID] += right.Count
	}
	return h
}

// refused is why a right is not asked for again under the accepted order, and which way.
type refused struct {
	Code     exchange.Code `json:"code"`
	Lowering bool          `json:"lowering,omitempty"`
}

// move is a kind of step.
type move int

const (
	rest move = iota
	beginRequest
	beginReport
	postRequest
	applyResponse
	postConfirmation
	readFacts
)

// decision is the next move, and why.
type decision struct {
	move   move
	why    string
	rights []protocol.DesiredRight // of beginRequest: what to ask for
	done   bool                    // of rest: the order is what it should be
}

func (d decision) same(other decision) bool {
	return d.move == other.move && slices.Equal(d.rights, other.rights)
}

// decide is the next move. It is the agent's half of the exhaustive model (need), in the same order.
func decide(s situation) decision {
	switch s.step { // finish before you start
	case protocol.StepMade:
		return decision{move: postRequest, why: "a request is on its way"}
	case protocol.StepAnswered:
		return decision{move: applyResponse, why: "a response is here"}
	case protocol.StepApplied:
		return decision{move: postConfirmation, why: "a confirmation is on its way"}
	}
	switch {
	case s.factsDue:
		return decision{move: readFacts, why: "an exchange has ended"}
	case s.desired == nil:
		return decision{why: "there is no desired document"}
	case s.stopped != "":
		return decision{why: "the order is refused (" + string(s.stopped) + "): a newer one is needed"}
	case s.desired.Hold:
		if s.unproved() {
			return decision{move: beginReport, why: "a held server reports under the hold"}
		}
		return decision{why: "the server is on hold", done: true}
	case s.needReport:
		return decision{move: beginReport, why: "server and activation server may be out of step"}
	case s.fenced:
		return decision{why: "the order is superseded: a newer one is needed"}
	case s.facts == nil:
		return decision{why: "the server's facts are not known"}
	}
	return s.compare()
}

// compare compares the facts with the desired document, then the receipt.
func (s situation) compare() decision {
	raise, lower := false, false
	for _, right := range s.desired.Rights {
		if difference := right.Count - s.facts.counts[exchange.ActivationID(right.ActivationID)]; !s.denied(right.Ref, difference) {
			raise = raise || difference > 0
			lower = lower || difference < 0
		}
	}
	switch {
	case (raise || lower) && !s.fresh:
		return decision{why: "the desired document of this connection is not here yet"}
	case lower && !s.facts.partialReturn:
		return decision{move: beginRequest, why: "everything goes back, since the server cannot return a part", rights: s.nothing()}
	case raise || lower:
		return decision{move: beginRequest, why: "the server does not hold what it should", rights: s.everything()}
	case s.unproved() || s.disproved():
		return decision{move: beginReport, why: "the facts are right, a receipt must say so"}
	}
	return decision{why: "done", done: true}
}

// denied reports whether asking for this right, this way, was refused under the accepted order.
func (s situation) denied(ref string, difference int) bool {
	why, known := s.refused[ref]
	return known && difference != 0 && why.Lowering == (difference < 0)
}

// everything is what is wanted of every right but those that were refused. A right that is not in the document is not
// Licet's and not named; one that is held already is named, since the activation server may think otherwise.
func (s situation) everything() []protocol.DesiredRight {
	var rights []protocol.DesiredRight
	for _, right := range s.desired.Rights {
		if !s.denied(right.Ref, right.Count-s.facts.counts[exchange.ActivationID(right.ActivationID)]) {
			rights = append(rights, right)
		}
	}
	return rights
}

// nothing is 0 of every right that Licet manages here.
func (s situation) nothing() []protocol.DesiredRight {
	rights := slices.Clone(s.desired.Rights)
	for i := range rights {
		rights[i].Count = 0
	}
	return rights
}

// unproved reports whether there is no receipt under the accepted order. A driver that confirms nothing never gets one.
func (s situation) unproved() bool {
	if s.facts != nil && !s.facts.confirms {
		return false
	}
	return s.receipt == nil || s.receipt.Order != s.desired.Order
}

// disproved reports whether the receipt under the accepted order says something else than the document, beyond what was
// refused.
func (s situation) disproved() bool {
	if !s.facts.confirms {
		return false
	}
	return slices.ContainsFunc(s.desired.Rights, func(right protocol.DesiredRight) bool {
		if _, known := s.refused[right.Ref]; known {
			return false
		}
		count, pending := s.receipt.Count(exchange.ActivationID(right.ActivationID).RightID())
		return count != right.Count || pending != 0
	})
}
