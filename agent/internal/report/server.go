package report

import (
	"slices"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// entry is a server and what there is to say of it. Reporter.mu guards all of it.
type entry struct {
	name       string
	system     string
	facts      bms.Facts
	read       Progress // of the activation, before the facts were read
	activation Activation

	due     time.Time // when to report; zero is never
	force   bool      // even if nothing changed
	changed bool      // the activation has news that were not looked at yet
	known   Progress  // what it told when it was looked at last
	ending  bool      // an exchange has ended, and the facts after it are not here yet
	asked   *answer   // whom this report answers, or nil

	sent    exchange.Digest // of the last report that the broker acknowledged
	refused exchange.Digest // of the last report that nobody could read
}

// add makes a server known; r.mu is held.
func (r *Reporter) add(name string) *entry {
	e := &entry{name: name}
	r.servers[name] = e
	at, _ := slices.BinarySearch(r.names, name)
	r.names = slices.Insert(r.names, at, name)
	return e
}

// dueBy makes the entry due at t, unless it is due earlier.
func (e *entry) dueBy(t time.Time) {
	if e.due.IsZero() || t.Before(e.due) {
		e.due = t
	}
}

// look finds out what the activation's news mean for the time of the report. That an exchange has ended is what people
// wait for: it goes as soon as the facts after it are here, and not without them, but for a second. Everything else joins.
// The activation is asked without r.mu, since nobody knows what it locks.
func (r *Reporter) look(e *entry) {
	r.mu.Lock()
	activation := e.activation
	e.changed = false
	r.mu.Unlock()
	if activation == nil {
		return
	}
	news := ProgressOf(activation)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	e.dueBy(now.Add(join))
	if !news.inFlight && news != e.known {
		e.ending, e.due = true, now.Add(join)
		if e.read == news {
			e.ending, e.due = false, now
		}
	}
	e.known = news
}

// Progress tells two instants of an activation apart: between equal ones no exchange went on, so facts that were read in
// between are those of now.
type Progress struct {
	inFlight bool
	receipt  exchange.Digest
	request  exchange.Digest
	step     protocol.Step
}

// ProgressOf is how far the activation is.
func ProgressOf(a Activation) Progress {
	observed, e := a.Observe()
	p := Progress{inFlight: observed.InFlight, receipt: exchange.DigestOf(observed.Receipt)}
	if e != nil {
		p.request, p.step = e.Digest, e.Step
	}
	return p
}

// answer is one ask that is being answered for several servers.
type answer struct {
	nonce string
	left  int // Reporter.mu guards it
	sent  chan struct{}
}

// done says that one server less has to answer; r.mu is held.
func (a *answer) done() {
	if a == nil {
		return
	}
	if a.left--; a.left == 0 {
		close(a.sent)
	}
}
