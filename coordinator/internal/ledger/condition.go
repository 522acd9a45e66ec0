package ledger

import (
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Condition is something that a person should know of a server or an assignment. It is computed, and any number hold at once.
type Condition string

// Conditions of a server.
const (
	IsAdopting     Condition = "adopting"        // it is not known yet what it holds: nothing is raised there
	IsRestored     Condition = "restored"        // its sequence went back: it was restored from an older image
	IsUnmanaged    Condition = "unmanaged"       // it holds licenses that Licet did not assign
	IsStranded     Condition = "stranded"        // marked: it will not come back by itself
	IsReleasing    Condition = "releasing"       // its seats are being freed at the activation server
	CloneSuspected Condition = "clone-suspected" // two machines, or two agents, seem to be it
)

// Conditions of an assignment.
const (
	Contested     Condition = "contested"     // the activation server has no seat left, though one is held here
	Overcommitted Condition = "overcommitted" // more of its line is held than was bought
	Differs       Condition = "differs"       // the server's store is not what was proved
	Expired       Condition = "expired"       // its line has
)

// standingFacts are what the conditions of a server depend on.
type standingFacts struct {
	adopting, stranded, releasing, cloned bool
	wentBack                              bool // the last report's receipt has a lower sequence than one before
	unmanaged                             int
	exchange                              *protocol.Exchange
}

func (f standingFacts) conditions() []Condition {
	cloned := f.cloned || f.exchange != nil && f.exchange.Code == exchange.CloneSuspected
	return collect([]possible{
		{IsAdopting, f.adopting},
		{IsRestored, f.wentBack},
		{IsUnmanaged, f.unmanaged > 0},
		{IsStranded, f.stranded},
		{IsReleasing, f.releasing},
		{CloneSuspected, cloned},
	})
}

// seatFacts are what the conditions of an assignment depend on.
type seatFacts struct {
	phase         Phase
	code          exchange.Code
	counts        Counts
	installed     *int
	inFlight      bool // an exchange is: the store may change at any instant
	overcommitted bool
	expired       bool
}

func (f seatFacts) conditions() []Condition {
	// Only at rest: on the way from one count to another the store is allowed to lag.
	atRest := !f.inFlight && (f.phase == Activated || f.phase == Freed)
	return collect([]possible{
		{Contested, f.phase == Failed && f.code == exchange.RightExhausted},
		{Overcommitted, f.overcommitted && f.counts.Held() > 0},
		{Differs, atRest && f.installed != nil && *f.installed != f.counts.Ordered},
		{Expired, f.expired && f.counts.Held() > 0},
	})
}

type possible struct {
	condition Condition
	holds     bool
}

func collect(all []possible) []Condition {
	var conditions []Condition
	for _, p := range all {
		if p.holds {
			conditions = append(conditions, p.condition)
		}
	}
	return conditions
}
