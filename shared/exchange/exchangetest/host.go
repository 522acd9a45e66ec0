package exchangetest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Host is the least that a BMS server has to be for an activation server: a key, the last sequence, and what it holds. It
// applies responses by the rules of protocol.md, section 3. For tests; not for concurrent use. It can be copied, as an
// image of a machine is.
type Host struct {
	exchange.Host
	Sequence int64          // of the response that was applied last
	Rights   map[string]int // as that response said
	Keys     func() signed.KeySet
	Now      func() time.Time // nil: time.Now

	key     signed.Key
	newest  exchange.Digest // of the newest request or report
	applied exchange.Digest // of the response that was applied last
	confirm []byte
}

// NewHost is a host with a new key, that trusts what keys returns at the time.
func NewHost(id string, keys func() signed.KeySet) (*Host, error) {
	key, err := signed.NewKey()
	if err != nil {
		return nil, err
	}
	return &Host{
		Host: exchange.Host{ID: id, Type: "ETHERNET", Product: "AS-P", Version: "7.0.2"},
		Keys: keys, key: key, Rights: map[string]int{},
	}, nil
}

// Image is a copy of the host as it is now: what a restored backup or a clone is.
func (h *Host) Image() *Host {
	image := *h
	image.Rights = maps.Clone(h.Rights)
	return &image
}

// Request writes a request for absolute counts.
func (h *Host) Request(order exchange.Order, counts map[string]int) ([]byte, error) {
	r := exchange.Request{Operation: exchange.OperationRequest, Order: order, LastSequence: h.Sequence}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		r.Rights = append(r.Rights, exchange.WireRight{ActivationID: id, Count: counts[id]})
	}
	return h.newestOf(h.write(r))
}

// Report writes a report.
func (h *Host) Report(order exchange.Order) ([]byte, error) {
	return h.newestOf(h.write(exchange.Request{Operation: exchange.OperationReport, Order: order, LastSequence: h.Sequence}))
}

// Apply applies the response to the newest request or report, and returns its confirmation; for the response that was
// applied last, the same confirmation again.
func (h *Host) Apply(document []byte) (confirmation []byte, err error) {
	payload, err := h.Keys().Verify(document, signed.Purpose{Kind: exchange.ResponseKind, Audience: h.ID}, exchange.MaxMessage)
	if err != nil {
		return nil, fmt.Errorf("apply a response: %w", err)
	}
	digest := exchange.DigestOf(document)
	if digest == h.applied {
		return h.confirm, nil
	}
	var r exchange.Response
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("apply a response: %w", err)
	}
	switch {
	case r.Host != h.ID || r.Request != h.newest:
		return nil, refuse(exchange.ResponseForAnother, "")
	case r.Sequence <= h.Sequence:
		return nil, refuse(exchange.ResponseStale, "")
	case h.now().After(r.NotAfter):
		return nil, refuse(exchange.ResponseExpired, "")
	}
	confirmation, err = h.write(exchange.Request{
		Operation: exchange.OperationConfirm, Order: r.Order, LastSequence: r.Sequence, Confirms: digest, Confirmed: r.Sequence,
	})
	if err != nil {
		return nil, err
	}
	h.Sequence, h.applied, h.confirm = r.Sequence, digest, confirmation
	h.Rights = make(map[string]int, len(r.Rights))
	for _, right := range r.Rights {
		h.Rights[right.ActivationID] = right.Count
	}
	return confirmation, nil
}

func (h *Host) write(r exchange.Request) ([]byte, error) {
	r.V, r.ID, r.Host, r.Clock = 1, rand.Text(), h.Host, h.now().UTC()
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write a message: %w", err)
	}
	return h.key.SignSelf(signed.Purpose{Kind: exchange.RequestKind, Audience: exchange.RequestAudience}, payload)
}

func (h *Host) newestOf(message []byte, err error) ([]byte, error) {
	if err == nil {
		h.newest = exchange.DigestOf(message)
	}
	return message, err
}

func (h *Host) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}
