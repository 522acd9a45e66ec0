package ledger

import (
	"maps"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// shadow predicts counts, in words of its own: section 6 of the design, for one line of each product and no exclusions.
type shadow struct {
	bought  counts
	seats   map[[2]string]Counts // server, line
	servers map[string]*shadowServer
}

type shadowServer struct {
	adopting, restored, stranded, releasing bool
	claimed                                 *accepted
	sequence                                int64
}

func newShadow() *shadow {
	return &shadow{bought: counts{}, seats: map[[2]string]Counts{}, servers: map[string]*shadowServer{}}
}

func (s *shadow) copy() *shadow {
	c := &shadow{bought: s.bought, seats: maps.Clone(s.seats), servers: map[string]*shadowServer{}}
	for id, server := range s.servers {
		copied := *server
		c.servers[id] = &copied
	}
	return c
}

func (s *shadow) at(server, line string) Counts { return s.seats[[2]string{server, line}] }

func (s *shadow) put(server, line string, c Counts) { s.seats[[2]string{server, line}] = c }

func (s *shadow) sum(line string) (sum int) {
	for key, c := range s.seats {
		if key[1] == line {
			sum += max(c.Want, c.Ordered, c.Exposed)
		}
	}
	return sum
}

func (s *shadow) adoptingAny() bool {
	for _, server := range s.servers {
		if server.adopting {
			return true
		}
	}
	return false
}

func (s *shadow) restoring() bool {
	for _, server := range s.servers {
		if server.adopting && server.restored {
			return true
		}
	}
	return false
}

func (s *shadow) assign(servers []string, line string, count int) bool {
	after := s.copy()
	raised := false
	for _, id := range servers {
		if of := s.servers[id]; of.adopting || of.stranded || of.releasing {
			return false
		}
		c := s.at(id, line)
		before := c.Held()
		c.Want = count
		raised = raised || c.Held() > before
		after.put(id, line, c)
	}
	if raised && (s.restoring() || after.sum(line) > s.bought[line]) {
		return false
	}
	s.seats = after.seats
	return true
}

func (s *shadow) unassign(servers []string, line string) bool {
	for _, id := range servers {
		if s.servers[id].adopting || s.servers[id].releasing {
			return false
		}
	}
	for _, id := range servers {
		if c, ok := s.seats[[2]string{id, line}]; ok {
			c.Want, c.Ordered = 0, 0
			s.put(id, line, c)
		}
	}
	return true
}

func (s *shadow) activate(servers []string, failed map[string]bool) bool {
	for _, id := range servers {
		admits := failed[id]
		for key, c := range s.seats {
			admits = admits || key[0] == id && c.Want != c.Ordered
		}
		if of := s.servers[id]; admits && (of.adopting || of.stranded || of.releasing) {
			return false
		}
	}
	for key, c := range s.seats {
		for _, id := range servers {
			if key[0] == id {
				c.Ordered = c.Want
				s.seats[key] = c
			}
		}
	}
	return true
}

func (s *shadow) claim(server string, d accepted) {
	s.servers[server].claimed = &d
	if d.Hold {
		return
	}
	for line, count := range d.wants {
		c := s.at(server, line)
		c.Exposed = max(c.Exposed, count)
		s.put(server, line, c)
	}
}

func (s *shadow) settle(server string, r protocol.Report, receipt *exchange.Receipt, rights map[string]exchange.RightID) Verdict {
	of := s.servers[server]
	mine := of.claimed
	epoch := int64(-1) // unknown before anything is claimed: then only a lie can be ahead
	if mine != nil {
		epoch = mine.Order.Epoch
	}
	switch o := r.Observed; {
	case o.Digest == other, o.Digest != "" && mine != nil && (o.Order.Epoch > epoch || o.Order.Epoch == epoch && o.Generation > mine.Generation):
		s.newEpoch()
		return Ahead
	case mine == nil || receipt == nil || o.InFlight || o.Digest != mine.Digest || receipt.Order != mine.Order:
		s.reappear(server)
		return Waits
	}
	switch {
	case of.adopting:
		s.reappear(server)
		s.adopt(server, *receipt, rights)
		return Adopts
	case mine.Hold, receipt.Sequence < of.sequence:
		s.reappear(server)
		return Waits
	}
	s.reappear(server)
	for line, count := range mine.wants {
		held, _ := receipt.Count(rights[line])
		c := s.at(server, line)
		c.Proved, c.Exposed = held, max(count, held)
		s.put(server, line, c)
	}
	of.sequence = receipt.Sequence
	return Settles
}

func (s *shadow) reappear(server string) {
	if of := s.servers[server]; !of.releasing {
		of.stranded = false
	}
}

func (s *shadow) adopt(server string, receipt exchange.Receipt, rights map[string]exchange.RightID) {
	for line, right := range rights {
		held, pending := receipt.Count(right)
		if _, ok := s.seats[[2]string{server, line}]; ok || held+pending > 0 {
			s.put(server, line, Counts{Want: held, Ordered: held, Exposed: held + pending, Proved: held})
		}
	}
	of := s.servers[server]
	of.adopting, of.restored, of.sequence = false, false, receipt.Sequence
}

func (s *shadow) strand(server string) bool {
	of := s.servers[server]
	if !of.adopting {
		of.stranded = true
	}
	return !of.adopting
}

func (s *shadow) release(server string) bool {
	of := s.servers[server]
	if of.adopting || !of.stranded {
		return false
	}
	of.releasing = true
	for line := range s.bought {
		if c, ok := s.seats[[2]string{server, line}]; ok {
			c.Want, c.Ordered = 0, 0
			s.put(server, line, c)
		}
	}
	return true
}

// released is true if the receipt counts: that of the release under way.
func (s *shadow) released(r DueRelease, receipt exchange.Receipt) bool {
	of := s.servers[r.Server]
	if !of.releasing || of.claimed == nil || of.claimed.Order != r.Order {
		return false
	}
	of.releasing, of.stranded, of.sequence = false, false, receipt.Sequence
	for line := range s.bought {
		if _, ok := s.seats[[2]string{r.Server, line}]; ok {
			s.put(r.Server, line, Counts{})
		}
	}
	return true
}

func (s *shadow) newEpoch() {
	for _, of := range s.servers {
		of.adopting, of.restored, of.releasing, of.claimed = true, true, false, nil
	}
}
