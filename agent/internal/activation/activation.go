// Package activation makes one server hold what its desired document says: request, response, confirmation, receipt, with
// a journal on disk, so that a crash at any instant is only a delay.
//
// The rules, and why each is needed, were found by an exhaustive model. In short:
//
//  1. Finish before you start: an exchange in flight ends, confirmed or refused, before a new one begins, whatever document
//     has come since. Silence means post the same bytes again.
//  2. Record before it leaves: request, response and confirmation are in the journal before anybody else can act on them.
//  3. An order is done when the server's facts and a receipt under that order both equal it. Facts come first; the journal
//     is only for what is in flight.
//  4. Nothing that changes counts begins before the desired document of this connection is here; after "superseded", only
//     under a newer order.
//  5. Out of step, a refused response, a sequence that went back: a report first, then compare again.
//  6. A server that can only return everything is asked for 0 of all rights first, then for the rest, under the same order.
//
// What comes next is decided by one pure function (decide.go) from the journal, the facts and the document; everything
// else in the package only does it.
package activation

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Carrier takes a message to the activation server and brings the answer. *exchange.Client is one.
type Carrier interface {
	Post(ctx context.Context, message []byte) ([]byte, error)
	Fetch(ctx context.Context, message exchange.Digest) ([]byte, error)
}

// Options of a Machine. Dir, System, Host and Keys are required.
type Options struct {
	Dir    string     // the journal's folder, of this server alone
	System bms.System // that the server belongs to
	Host   bms.HostID

	Agent  string // a desired document must name it; empty: any
	Server string // a desired document must name it; empty: protocol.ServerName of Host

	Carriers func() map[string]Carrier // by protocol.Carrier*, asked at each attempt; nil: none
	Keys     func() signed.KeySet      // of the activation server, asked for each receipt

	// Refresh reads the server's facts anew after an exchange. Nil: System.Servers is asked.
	Refresh func(ctx context.Context) (bms.Facts, error)

	// Refetch asks for the retained desired document once more, because the server was found out of step: this process may
	// itself be a copy from the past, so what it was told before counts for nothing until Accept is called again. Nil: the
	// document of this connection goes on to count.
	Refetch func()

	// Changed is called after Observed or Exchange changed, from whichever goroutine changed it, with no lock held. Nil: nobody
	// cares.
	Changed func()

	CallTimeout time.Duration // of one call to the system or a carrier; 0: one minute
	Logger      zerolog.Logger

	Files durable.FS        // of the journal; nil: the real ones
	Point func(name string) // for tests: called at every crash point
}

// Machine looks after one server. Its methods may be called from any goroutine; steps happen one after the other.
type Machine struct {
	o      Options
	folder *durable.Folder
	wake   chan struct{} // holds one: something may be to do

	stepping sync.Mutex // held for a whole step
	writing  sync.Mutex // held while the journal changes; taken before mu

	mu       sync.Mutex        // guards everything below, never while anything is waited for
	state    state             // what the journal on disk says; values in it are replaced, never changed
	fresh    bool              // the retained desired document of this connection is here
	begun    bool              // the server is writing a request that is not in the journal yet
	facts    *held             // nil: not known, or older than the last exchange
	factsDue bool              // to be read before anything is decided
	undone   []byte            // a desired document that could not be journalled
	pauses   [pauses]time.Time // when they end; not in the journal: an agent that is started anew tries at once
	rounds   int               // exchanges that ended since the order came or was last done
	failures [pauses]int       // in a row, of what the journal does not count
	counts   Counts
	secrets  map[exchange.ActivationID]bool // ever named to this process; masked in what others say
}

// Outcome is what one step did.
type Outcome struct {
	Did  string        // for logs and tests; if Idle, why there is nothing to do
	Wait time.Duration // how long Run waits before the next step, if nothing wakes it
	Idle bool          // there is nothing to do
}

// update changes the journal, on disk first. If change returns false, or the disk fails, nothing has changed in memory; the
// disk may then have the new journal already, which is the same as a crash right after the write, and the next write
// replaces it.
func (m *Machine) update(change func(s *state) bool) (bool, error) {
	changed, err := m.replace(change)
	if changed && m.o.Changed != nil {
		m.o.Changed()
	}
	return changed, err
}

func (m *Machine) replace(change func(s *state) bool) (bool, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	next := m.state
	m.mu.Unlock()
	if !change(&next) {
		return false, nil
	}
	data, err := encodeJournal(next.journal)
	if err != nil {
		return false, err
	}
	if err := m.folder.Write(journalName, data); err != nil {
		return false, fmt.Errorf("write the activation journal: %w", err)
	}
	m.mu.Lock()
	m.state = next
	m.mu.Unlock()
	return true, nil
}

func (m *Machine) point(name string) {
	if m.o.Point != nil {
		m.o.Point(name)
	}
}

// nudge wakes Run.
func (m *Machine) nudge() {
	select {
	case m.wake <- struct{}{}:
	default: // it is awake already
	}
}
