package activation

import (
	"slices"
	"strings"
	"time"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Observed is how far the machine has come with the desired document, for a report.
func (m *Machine) Observed() protocol.Observed {
	observed, _ := m.Observe()
	return observed
}

// Exchange is the exchange in flight, or the last one under the accepted order, for a report; nil if there is none.
func (m *Machine) Exchange() *protocol.Exchange {
	_, e := m.Observe()
	return e
}

// Observe is both, of one instant.
func (m *Machine) Observe() (protocol.Observed, *protocol.Exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.state
	observed := protocol.Observed{InFlight: s.Exchange != nil || m.begun, Digest: s.digest}
	if s.desired != nil {
		observed.Order, observed.Generation = s.desired.Order, s.desired.Generation
	}
	if s.Receipt != nil {
		observed.Receipt = slices.Clone(s.Receipt.Document)
	}
	if f := s.Exchange; f != nil {
		return observed, m.tellFlight(f)
	}
	return observed, m.tellLast()
}

// tellFlight is called with mu held, like the others below.
func (m *Machine) tellFlight(f *flight) *protocol.Exchange {
	e := &protocol.Exchange{
		Digest: exchange.DigestOf(f.Request), Operation: f.Operation, Order: f.Order, Step: f.step(),
		Code: f.Met, Attempt: f.Attempt, Carrier: f.Carrier, NextTry: m.nextTry(pauseFinish),
	}
	for _, right := range f.Asked {
		e.Rights = append(e.Rights, protocol.ExchangeRight{Ref: right.Ref, Count: right.Count, Code: f.Codes[right.Ref]})
	}
	if m.state.ordered(f.Order) {
		e.Rights = m.addRefused(e.Rights)
	}
	return e
}

// tellLast is the exchange that ended last, if the accepted order is still its own. An order that the server refused to write
// a request for has no exchange, but a code that a person must see: it is told under the digest of nothing.
func (m *Machine) tellLast() *protocol.Exchange {
	s := &m.state
	var e *protocol.Exchange
	switch last := s.Last; {
	case s.desired == nil:
		return nil
	case last != nil && last.Order == s.desired.Order:
		e = &protocol.Exchange{
			Digest: last.Digest, Operation: last.Operation, Order: last.Order, Step: last.Step, Code: last.Code, Carrier: last.Carrier,
			NextTry: m.nextTry(pauseBegin),
		}
		for _, right := range last.Asked {
			e.Rights = append(e.Rights, protocol.ExchangeRight{Ref: right.Ref, Count: right.Count, Code: s.Refused[right.Ref].Code})
		}
	case s.Stopped != "":
		e = &protocol.Exchange{
			Digest: exchange.DigestOf(nil), Operation: exchange.OperationRequest, Order: s.desired.Order,
			Step: protocol.StepRefused, Code: s.Stopped,
		}
	default:
		return nil
	}
	e.Rights = m.addRefused(e.Rights)
	return e
}

// addRefused adds the rights that were refused under the accepted order and that the exchange does not name: a report, or a
// request for the others, must not hide them. If the whole order stopped, that is every right that is not as it should be.
func (m *Machine) addRefused(rights []protocol.ExchangeRight) []protocol.ExchangeRight {
	s := &m.state
	for _, right := range s.desired.Rights {
		code := s.Refused[right.Ref].Code
		if code == "" && s.Stopped != "" && (m.facts == nil || m.facts.counts[exchange.ActivationID(right.ActivationID)] != right.Count) {
			code = s.Stopped
		}
		if code == "" {
			continue
		}
		at := slices.IndexFunc(rights, func(r protocol.ExchangeRight) bool { return r.Ref == right.Ref })
		switch {
		case at < 0:
			rights = append(rights, protocol.ExchangeRight{Ref: right.Ref, Count: right.Count, Code: code})
		case rights[at].Code == "":
			rights[at].Code = code
		}
	}
	return rights
}

// nextTry is when the pause ends, nil if there is none.
func (m *Machine) nextTry(kind int) *time.Time {
	until := m.pauses[kind]
	if !until.After(time.Now()) {
		return nil
	}
	until = until.UTC().Truncate(time.Second)
	return &until
}

// maskedError hides activation IDs in the text of an error that somebody else wrote.
type maskedError struct {
	text  string
	cause error
}

func (e *maskedError) Error() string { return e.text }

func (e *maskedError) Unwrap() error { return e.cause }

// masked is the error without any activation ID in its text.
func (m *Machine) masked(err error) error {
	text := err.Error()
	m.mu.Lock()
	for id := range m.secrets {
		text = strings.ReplaceAll(text, id.Reveal(), id.String())
	}
	m.mu.Unlock()
	if text == err.Error() {
		return err
	}
	return &maskedError{text: text, cause: err}
}

// keepSecret is called with mu held.
func (m *Machine) keepSecret(desired *protocol.Desired) {
	for _, right := range desired.Rights {
		m.secrets[exchange.ActivationID(right.ActivationID)] = true
	}
}
