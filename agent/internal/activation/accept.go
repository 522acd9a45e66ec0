package activation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/crash"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Why a desired document is not taken.
var (
	ErrStale        = errors.New("not newer than the accepted document")
	ErrMisaddressed = errors.New("for another agent, server or host")
)

// Counts are the documents that came, by what became of them.
type Counts struct {
	Accepted, Repeated, Withdrawn int
	Stale, Misaddressed, Invalid  int // changed nothing
}

// Counts are the documents that came since Open.
func (m *Machine) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Accept takes a desired document that this connection delivered. Only one with a greater (epoch of the order, generation)
// is taken; the same bytes again say that the accepted one is still the newest; an empty payload withdraws: the document is
// forgotten and nothing is changed at the server. An error changes nothing; if it was the disk's, the document is kept and
// tried again.
func (m *Machine) Accept(payload []byte) error {
	if len(payload) == 0 {
		return m.withdraw()
	}
	desired, err := protocol.Decode[protocol.Desired](payload)
	if err != nil {
		m.count(func(c *Counts) { c.Invalid++ })
		return fmt.Errorf("read the desired document of %s: %w", m.o.Host, err)
	}
	if desired.Host != string(m.o.Host) || desired.Server != m.o.Server || m.o.Agent != "" && desired.Agent != m.o.Agent {
		m.count(func(c *Counts) { c.Misaddressed++ })
		return fmt.Errorf("read the desired document of %s: %w", m.o.Host, ErrMisaddressed)
	}
	payload = slices.Clone(payload)
	err = m.take(&desired, payload)
	switch {
	case err == nil:
		m.nudge()
		return nil
	case !errors.Is(err, ErrStale):
		m.mu.Lock()
		m.undone = payload
		m.mu.Unlock()
		m.nudge()
	}
	return fmt.Errorf("accept the desired document of %s: %w", m.o.Host, err)
}

// take accepts a document that is well-formed and meant for this server.
func (m *Machine) take(desired *protocol.Desired, payload []byte) error {
	digest := exchange.DigestOf(payload)
	repeated, ordered := false, false
	accepted, err := m.update(func(s *state) bool {
		repeated = s.digest == digest
		if repeated || s.desired != nil && !newer(desired, s.desired) {
			return false
		}
		ordered = s.desired == nil || s.desired.Order != desired.Order
		s.accept(desired, payload, digest)
		return true
	})
	if err != nil {
		return err
	}
	if accepted {
		// A crash here: the document is accepted. The broker delivers it again, which says nothing new.
		crash.At("activation.desired-accepted")
		m.point("activation.desired-accepted")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case accepted:
		m.counts.Accepted++
	case repeated:
		m.counts.Repeated++
	default:
		// What the broker retains is not what this agent knows: it may have been rolled back. Nothing begins on its word.
		m.counts.Stale++
		return ErrStale
	}
	m.undone = nil
	m.fresh = true
	m.keepSecret(desired)
	if ordered {
		m.pauses[pauseBegin], m.failures[pauseBegin], m.rounds = time.Time{}, 0, 0
	}
	return nil
}

// accept replaces the document. A new order is a new chance for everything that was refused under the old one.
func (s *state) accept(desired *protocol.Desired, payload []byte, digest exchange.Digest) {
	if !s.ordered(desired.Order) {
		s.Refused, s.Stopped, s.Fenced = nil, "", false
	}
	s.Desired, s.desired, s.digest = payload, desired, digest
}

func newer(a, b *protocol.Desired) bool {
	return cmp.Or(cmp.Compare(a.Order.Epoch, b.Order.Epoch), cmp.Compare(a.Generation, b.Generation)) > 0
}

// withdraw forgets the document. What is in flight is finished; the receipt stays, it is a fact.
func (m *Machine) withdraw() error {
	_, err := m.update(func(s *state) bool {
		if s.desired == nil {
			return false
		}
		s.Refused, s.Stopped, s.Fenced = nil, "", false
		s.Desired, s.desired, s.digest = nil, nil, ""
		return true
	})
	if err != nil {
		return fmt.Errorf("withdraw the desired document of %s: %w", m.o.Host, err)
	}
	m.mu.Lock()
	m.counts.Withdrawn++
	m.fresh, m.undone = false, nil
	m.mu.Unlock()
	m.nudge()
	return nil
}

func (m *Machine) count(add func(*Counts)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add(&m.counts)
}

// Disconnected says that the connection which delivered the desired document is gone: what it says now is not known.
func (m *Machine) Disconnected() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh, m.undone = false, nil
}

// FactsChanged takes the newest facts of the server, from whoever reads them. Facts of another host are not looked at; of a
// server that did not answer nothing is known. Facts that were read before an exchange ended do no harm, since the machine
// reads them itself then.
func (m *Machine) FactsChanged(f bms.Facts) {
	if f.HostID != m.o.Host {
		return
	}
	m.mu.Lock()
	m.facts = nil
	if f.Unanswered == "" {
		m.facts = heldBy(f)
	}
	m.mu.Unlock()
	m.nudge()
}

// CarriersChanged says that the way to the activation server, or its keys, are not what they were: an exchange in flight is
// tried at once.
func (m *Machine) CarriersChanged() {
	m.setPause(pauseFinish, 0)
	m.nudge()
}
