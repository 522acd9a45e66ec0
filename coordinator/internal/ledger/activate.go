package ledger

import (
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// Activation is what Activate admitted.
type Activation struct {
	Servers     int // with a new order
	Assignments int // admitted: ordered anew, up or down, or asked for again
	Retried     int // of them, those that had failed
	Returns     int // of them, those that are lowered
}

// Activate orders what is decided for the servers: their next document asks for it. What has failed is asked for again
// under a new order. Servers with nothing to admit are passed over, whatever state they are in; if one of the others is
// adopting, stranded, being released or frozen, nothing is ordered at all.
func Activate(tx *db.Tx, actor audit.Actor, servers []string) (Activation, error) {
	servers, err := Request{Servers: servers}.check(0)
	if err != nil {
		return Activation{}, err
	}
	found, err := members(tx, servers...)
	if err != nil {
		return Activation{}, err
	}
	seats, err := seatsOf(tx, servers...)
	if err != nil {
		return Activation{}, err
	}
	var result Activation
	b := booking{tx: tx}
	refused, adopting := &StateError{What: "nothing is activated"}, &AdoptingError{}
	var ordered []string
	for _, id := range servers {
		m, ok := found[id]
		if !ok {
			refused.Reasons = append(refused.Reasons, Reason{Server: id, Why: "no such server"})
			continue
		}
		admitted := admit(&b, m, seats[id], &result)
		if len(admitted) == 0 {
			continue
		}
		if why := m.frozen(); why != "" {
			refused.Reasons = append(refused.Reasons, m.because("%s", why))
		}
		if m.adopting {
			adopting.Servers = append(adopting.Servers, id)
		}
		ordered = append(ordered, id)
		err := audit.Record(tx, audit.Entry{Actor: actor, Action: "activate", Subject: id, Detail: map[string]any{"lines": admitted}})
		if err != nil {
			return Activation{}, err
		}
	}
	switch {
	case len(refused.Reasons) > 0:
		return Activation{}, refused
	case len(adopting.Servers) > 0:
		return Activation{}, adopting
	}
	if err := b.close(); err != nil {
		return Activation{}, err
	}
	result.Servers = len(ordered)
	return result, orders(tx, ordered...)
}

// admit notes what is ordered of the seats, and returns the count of each line that is.
func admit(b *booking, m member, seats []seat, result *Activation) map[string]int {
	var admitted map[string]int
	for _, before := range seats {
		retry := before.failed(m.order())
		if before.Want == before.Ordered && !retry {
			continue
		}
		after := before
		after.Ordered = before.Want
		b.putIfChanged(after, before)
		result.Assignments++
		result.Retried += b2i(retry)
		result.Returns += b2i(after.Ordered < before.Ordered)
		if admitted == nil {
			admitted = make(map[string]int)
		}
		admitted[after.line] = after.Ordered
	}
	return admitted
}
