package ledger

// Phase is where an assignment is on its way. It is computed from counts and from the exchange as last reported, and is
// never stored.
type Phase string

// Every phase. All but Freed hold seats.
const (
	Freed             Phase = "freed"
	Failed            Phase = "failed"             // refused under this order; held unchanged
	Assigned          Phase = "assigned"           // held, nothing sent
	Returning         Phase = "returning"          // lowered, no response yet
	ReturnUnconfirmed Phase = "return-unconfirmed" // lowered, response here, receipt not settled
	Activated         Phase = "activated"          // proved under this order
	Issued            Phase = "issued"             // response here, receipt not settled
	Requested         Phase = "requested"          // a request under this order exists
	Ordered           Phase = "ordered"            // published or about to be; the agent may act at any instant
)

// Phases is every phase, in the order of the table that decides.
func Phases() []Phase {
	return []Phase{Freed, Failed, Assigned, Returning, ReturnUnconfirmed, Activated, Issued, Requested, Ordered}
}

// Stage is how far the exchange in flight has come with one right, as far as the phase cares.
type Stage int

// The stages. A right that is not in the exchange in flight does not follow its steps: it is Outside.
const (
	Outside  Stage = iota // no exchange in flight under this order, or not for this right
	Asked                 // a request exists, no response yet
	Answered              // the response is here, its receipt has not settled
)

// Situation is all that a phase depends on.
type Situation struct {
	Counts
	Current bool // the receipt behind Proved was made under this order
	Refused bool // this order's exchange refused this right
	Stage   Stage
}

// Phase is the first row of the table that fits.
func (s Situation) Phase() Phase {
	switch {
	case s.zero():
		return Freed
	case s.Refused:
		return Failed
	case s.Want > s.Ordered:
		return Assigned
	case s.Ordered < s.Exposed && s.Stage != Answered:
		return Returning
	case s.Ordered < s.Exposed:
		return ReturnUnconfirmed
	case s.Ordered == s.Exposed && s.Ordered == s.Proved && s.Current:
		return Activated
	case s.Ordered == s.Exposed && s.Stage == Answered:
		return Issued
	case s.Ordered == s.Exposed && s.Stage == Asked:
		return Requested
	}
	return Ordered
}
