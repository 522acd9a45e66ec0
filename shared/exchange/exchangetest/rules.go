package exchangetest

import (
	"maps"
	"slices"

	"github.com/licet-project/licet/shared/exchange"
)

// account is everything kept of one host. The rules below return a changed copy, so that a refusal changes nothing and the
// change can be made durable before anybody sees it.
type account struct {
	Host     string             `json:"host"`
	Key      []byte             `json:"key,omitempty"` // the host's public key, pinned at first contact
	Sequence int64              `json:"sequence"`
	Fence    exchange.Order     `json:"fence"` // the highest order seen
	Held     map[string]holding `json:"held,omitempty"`
}

// holding is what a host has of one activation ID.
type holding struct {
	Count    int       `json:"count"`
	Removals []removal `json:"removals,omitempty"` // oldest first; taken until confirmed
}

// removal is seats that a response took away and nobody confirmed yet.
type removal struct {
	Sequence int64 `json:"sequence"` // of that response
	Count    int   `json:"count"`
}

func (h holding) pending() int {
	n := 0
	for _, r := range h.Removals {
		n += r.Count
	}
	return n
}

// taken is how many seats nobody else can have.
func (h holding) taken() int { return h.Count + h.pending() }

// lower makes the difference to count pending at the sequence.
func (h holding) lower(count int, sequence int64) holding {
	h.Removals = append(slices.Clone(h.Removals), removal{sequence, h.Count - count})
	h.Count = count
	return h
}

// raise takes the host's own pending removals back first, the newest first: what is left pending is then exactly what the
// host may still use by a response that it has confirmed or may yet confirm. It returns how many more seats it needs.
func (h holding) raise(count int) (raised holding, more int) {
	need := count - h.Count
	h.Removals = slices.Clone(h.Removals)
	for need > 0 && len(h.Removals) > 0 {
		last := &h.Removals[len(h.Removals)-1]
		back := min(need, last.Count)
		need -= back
		if last.Count -= back; last.Count == 0 {
			h.Removals = h.Removals[:len(h.Removals)-1]
		}
	}
	h.Count = count
	return h, need
}

// confirmed drops every removal up to the sequence.
func (h holding) confirmed(sequence int64) holding {
	h.Removals = slices.DeleteFunc(slices.Clone(h.Removals), func(r removal) bool { return r.Sequence <= sequence })
	return h
}

// verdict says why a right may not go from one count to another, or "". More is how many seats that takes which the host
// has not got already; it is 0 for a lower count.
type verdict func(activationID string, from, to, more int) exchange.Code

// request sets the named rights to their absolute counts, all at once; the others stay. A refusal of the whole request
// leaves everything as it is; a refused right stays as it was.
func (a account) request(r exchange.Request, judge verdict) (account, []exchange.RefusedRight, *exchange.Refusal) {
	switch {
	case r.Order.Before(a.Fence):
		return a, nil, refuse(exchange.Superseded, "")
	case r.LastSequence != a.Sequence:
		return a, nil, refuse(exchange.OutOfStep, "")
	}
	a = a.step(r.Order)
	var refused []exchange.RefusedRight
	for _, right := range r.Rights {
		now := a.Held[right.ActivationID]
		next, more := now, 0
		switch {
		case right.Count > now.Count:
			next, more = now.raise(right.Count)
		case right.Count < now.Count:
			next = now.lower(right.Count, a.Sequence)
		}
		if code := judge(right.ActivationID, now.Count, right.Count, more); code != "" {
			refused = append(refused, exchange.RefusedRight{ActivationID: right.ActivationID, Code: code})
			continue
		}
		a.set(right.ActivationID, next)
	}
	return a, refused, nil
}

// report changes no right. One from before the fence is accepted like any other; it just does not lower the fence.
func (a account) report(order exchange.Order) account { return a.step(order) }

// confirm frees every removal up to the sequence of the response that the host has applied. It is accepted however late
// it comes, since it frees nothing that a later response took away.
func (a account) confirm(sequence int64) account {
	a.Held = maps.Clone(a.Held)
	for id, h := range a.Held {
		a.set(id, h.confirmed(sequence))
	}
	return a
}

// release fences the host, and takes everything from it if take is true.
func (a account) release(order exchange.Order, take bool) (account, *exchange.Refusal) {
	if order.Before(a.Fence) {
		return a, refuse(exchange.Superseded, "")
	}
	a = a.step(order)
	if take {
		a.Held = nil
	}
	return a, nil
}

// step raises sequence and fence. It copies what the caller is about to change.
func (a account) step(order exchange.Order) account {
	a.Sequence++
	if a.Fence.Before(order) {
		a.Fence = order
	}
	a.Held = maps.Clone(a.Held)
	return a
}

// set is only for a copy.
func (a *account) set(id string, h holding) {
	if len(h.Removals) == 0 {
		h.Removals = nil // nothing is nil everywhere, as when it is read again
	}
	switch {
	case h.taken() == 0:
		if delete(a.Held, id); len(a.Held) == 0 {
			a.Held = nil
		}
	case a.Held == nil:
		a.Held = map[string]holding{id: h}
	default:
		a.Held[id] = h
	}
}

// rights is the complete set that the host now holds, in the order of the IDs.
func (a account) rights() []exchange.WireRight {
	rights := []exchange.WireRight{}
	for _, id := range a.ids() {
		if n := a.Held[id].Count; n > 0 {
			rights = append(rights, exchange.WireRight{ActivationID: id, Count: n})
		}
	}
	return rights
}

// removed is every removal that a confirmation of the host's sequence would free.
func (a account) removed() []exchange.WireRight {
	var rights []exchange.WireRight
	for _, id := range a.ids() {
		if n := a.Held[id].pending(); n > 0 {
			rights = append(rights, exchange.WireRight{ActivationID: id, Count: n})
		}
	}
	return rights
}

func (a account) receiptRights() []exchange.ReceiptRight {
	rights := []exchange.ReceiptRight{}
	for _, id := range a.ids() {
		h := a.Held[id]
		rights = append(rights, exchange.ReceiptRight{
			Right: exchange.ActivationID(id).RightID(), Count: h.Count, Pending: h.pending(),
		})
	}
	return rights
}

func (a account) state() exchange.HostState {
	state := exchange.HostState{Host: a.Host, Sequence: a.Sequence, Fence: a.Fence, Rights: []exchange.HostRight{}}
	for _, id := range a.ids() {
		h := a.Held[id]
		state.Rights = append(state.Rights, exchange.HostRight{ActivationID: id, Count: h.Count, Pending: h.pending()})
	}
	return state
}

func (a account) ids() []string { return slices.Sorted(maps.Keys(a.Held)) }

func refuse(code exchange.Code, detail string) *exchange.Refusal {
	return &exchange.Refusal{Code: code, Detail: detail, Status: statusOf(code), Retry: code.Meaning().Retry}
}
