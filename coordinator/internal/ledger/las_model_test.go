package ledger

import (
	"maps"

	"github.com/licet-project/licet/shared/exchange"
)

// las is the activation server, as small as the rules of protocol.md allow: lines by reference, no signatures.
type las struct {
	bought counts
	hosts  map[string]*host
	keys   map[string]exchange.Receipt // answers to releases
	rights map[string]exchange.RightID
	denies bool // by its policy: raises and returns alike
}

type host struct {
	sequence   int64
	fence      exchange.Order
	holds      counts
	pending    counts
	pendingSeq map[string]int64
}

// answer is a response, or why there is none.
type answer struct {
	sequence int64
	set      counts
	refused  map[string]exchange.Code // of single rights
	code     exchange.Code            // of the whole request; empty: it was answered
}

func newLAS() *las {
	return &las{bought: counts{}, hosts: map[string]*host{}, keys: map[string]exchange.Receipt{}, rights: map[string]exchange.RightID{}}
}

func (l *las) host(server string) *host {
	if l.hosts[server] == nil {
		l.hosts[server] = &host{holds: counts{}, pending: counts{}, pendingSeq: map[string]int64{}}
	}
	return l.hosts[server]
}

func (l *las) used(line string) int {
	used := 0
	for _, h := range l.hosts {
		used += h.holds[line] + h.pending[line]
	}
	return used
}

// request asks for absolute counts; nil only reports.
func (l *las) request(server string, o exchange.Order, last int64, want counts) answer {
	h := l.host(server)
	if want != nil {
		switch {
		case o.Before(h.fence):
			return answer{code: exchange.Superseded}
		case last != h.sequence:
			return answer{code: exchange.OutOfStep}
		}
	}
	if h.fence.Before(o) {
		h.fence = o
	}
	h.sequence++
	a := answer{sequence: h.sequence, refused: map[string]exchange.Code{}}
	for line, count := range want {
		switch has := h.holds[line]; {
		case l.denies && count != has:
			a.refused[line] = exchange.RightDenied
		case count > has:
			back := min(h.pending[line], count-has)
			if l.used(line)+count-has-back > l.bought[line] {
				a.refused[line] = exchange.RightExhausted
				continue
			}
			h.pending[line] -= back
			h.holds[line] = count
		case count < has:
			h.pending[line] += has - count
			h.pendingSeq[line] = h.sequence
			h.holds[line] = count
		}
	}
	a.set = maps.Clone(h.holds)
	return a
}

// confirm frees every removal up to the sequence.
func (l *las) confirm(server string, sequence int64) {
	h := l.host(server)
	for line := range h.pending {
		if h.pendingSeq[line] <= sequence {
			delete(h.pending, line)
		}
	}
}

// release fences a host, and takes its seats if asked to; false means that it was refused.
func (l *las) release(server, key string, o exchange.Order, take bool) (exchange.Receipt, bool) {
	if before, ok := l.keys[key]; ok {
		return before, true
	}
	h := l.host(server)
	if o.Before(h.fence) {
		return exchange.Receipt{}, false
	}
	h.fence = o
	h.sequence++
	if take {
		h.holds, h.pending = counts{}, counts{}
	}
	r := l.receipt(server, o, h.sequence, h.holds)
	for line, count := range h.pending {
		if count > 0 {
			r.Rights = append(r.Rights, exchange.ReceiptRight{Right: l.rights[line], Pending: count})
		}
	}
	r.For = exchange.DigestOf([]byte(key))
	merge(&r)
	l.keys[key] = r
	return r, true
}

func (l *las) receipt(server string, o exchange.Order, sequence int64, holds counts) exchange.Receipt {
	r := exchange.Receipt{V: 1, Host: hostOf(server), Order: o, Sequence: sequence}
	for line, count := range holds {
		if count > 0 {
			r.Rights = append(r.Rights, exchange.ReceiptRight{Right: l.rights[line], Count: count})
		}
	}
	return r
}

// merge puts counts and pending of one right together.
func merge(r *exchange.Receipt) {
	var merged []exchange.ReceiptRight
	for _, right := range r.Rights {
		found := false
		for i := range merged {
			if merged[i].Right == right.Right {
				merged[i].Count += right.Count
				merged[i].Pending += right.Pending
				found = true
			}
		}
		if !found {
			merged = append(merged, right)
		}
	}
	r.Rights = merged
}
