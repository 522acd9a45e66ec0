// Package report says what an agent knows: presence, one Reported per server, and the heartbeat. All of it leaves through
// one goroutine, one document at a time and numbered in the order of leaving, so a coordinator that takes only what is
// newer loses nothing.
//
// What waits to be sent is not kept as documents but as servers to report on: the document is composed when its turn
// comes, so the newest always replaces an older unsent one, and a broker that is away costs no memory.
package report

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/protocol"
)

// Activation is what the activation of one server tells of itself: both of one instant.
type Activation interface {
	Observe() (protocol.Observed, *protocol.Exchange)
}

// Options are what a Reporter needs.
type Options struct {
	Agent   string // the agent's name
	Version string // of the agent; may be empty
	// Publish hands a document to the broker and waits for its acknowledgement, for a bounded time.
	Publish func(ctx context.Context, topic string, qos byte, retained bool, payload []byte) error
	Logger  zerolog.Logger
}

// Times of a report.
const (
	DefaultHeartbeat = time.Minute

	join      = time.Second // changes within it travel together
	wholeTime = time.Hour   // everything again, whether it changed or not
	maxPause  = 30 * time.Second
)

// Reporter sends what it is told. Its methods may be called from anywhere and never wait, but for Answer, Run and Stop.
type Reporter struct {
	o    Options
	wake chan struct{} // capacity 1

	mu        sync.Mutex
	session   protocol.Session // the numbers given last
	servers   map[string]*entry
	names     []string // of servers, sorted
	up        bool     // there is a connection
	online    bool     // and it has taken the presence
	heartbeat time.Duration
	beatAt    time.Time
	wholeAt   time.Time
	resumeAt  time.Time // nothing is sent before, because the broker did not take the last document
	failures  int
}

// New makes a Reporter with a session of its own.
func New(o Options) *Reporter {
	return &Reporter{
		o: o, wake: make(chan struct{}, 1), session: protocol.Session{Boot: newBoot()},
		servers: make(map[string]*entry), heartbeat: DefaultHeartbeat,
	}
}

// newBoot is a random UUID, version 4.
func newBoot() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Will begins the numbering of a connection attempt and returns what the broker says if that connection breaks.
func (r *Reporter) Will() (topic string, payload []byte) {
	r.mu.Lock()
	r.session.Connection++
	s := r.session
	r.mu.Unlock()
	s.Sequence = protocol.LastSequence
	payload, err := protocol.Encode(r.presence(protocol.Offline, s))
	if err != nil { // the agent's name is checked before anything starts
		r.o.Logger.Error().Err(err).Msg("compose the will")
	}
	return r.presenceTopic(), payload
}

// Up says that there is a connection: presence goes first, then every server.
func (r *Reporter) Up() {
	r.update(func(now time.Time) {
		r.up, r.online = true, false
		r.resumeAt, r.failures = time.Time{}, 0
		r.beatAt, r.wholeAt = now.Add(jitter(r.heartbeat)), now.Add(jitter(wholeTime))
		for _, e := range r.servers {
			e.due, e.force = now, true
		}
	})
}

// Down says that there is no connection any more. What is asked is not answered any more: the asker has gone too.
func (r *Reporter) Down() {
	r.update(func(time.Time) {
		r.up, r.online = false, false
		for _, e := range r.servers {
			e.asked.done()
			e.asked = nil
		}
	})
}

// SetHeartbeat changes the interval, from now on.
func (r *Reporter) SetHeartbeat(interval time.Duration) {
	r.update(func(now time.Time) {
		if interval > 0 && interval != r.heartbeat {
			r.heartbeat = interval
			r.beatAt = now.Add(jitter(interval))
		}
	})
}

// Facts is told the newest facts of a server that activation a looks after, and how far that was before they were read;
// nobody changes their lists any more. The first facts make the server known.
func (r *Reporter) Facts(system string, f bms.Facts, a Activation, before Progress) {
	r.update(func(now time.Time) {
		name := protocol.ServerName(string(f.HostID))
		e := r.servers[name]
		if e == nil {
			e = r.add(name)
			e.known = before
			e.force, e.due = true, now
		}
		e.system, e.facts, e.activation, e.read = system, f, a, before
		e.dueBy(now.Add(join))
		if e.ending && e.read == e.known { // this is what the report of an ended exchange waits for
			e.ending, e.due = false, now
		}
	})
}

// Changed says that the activation of a server has something new to tell. After the end of an exchange the facts are
// expected to be told anew; the report waits for them, a second at most.
func (r *Reporter) Changed(server string) {
	r.update(func(time.Time) {
		if e := r.servers[server]; e != nil {
			e.changed = true
		}
	})
}

// ErrNotConnected means that there is nobody to answer.
var ErrNotConnected = errors.New("there is no connection to answer over")

// Answer reports on the servers with the nonce of an ask, and waits until all are sent, the connection is lost or ctx
// ends. What it reports is what it knows when it is called or newer, so whoever must not change the answer waits.
func (r *Reporter) Answer(ctx context.Context, nonce string, servers []string) error {
	a := &answer{nonce: nonce, sent: make(chan struct{}), left: len(servers)}
	var err error
	r.update(func(now time.Time) {
		if !r.up {
			err = ErrNotConnected
			return
		}
		for _, name := range servers {
			e := r.servers[name]
			if e == nil {
				a.done()
				continue
			}
			e.asked.done() // a newer answer is a better one
			e.asked, e.force, e.due = a, true, now
		}
	})
	if err != nil || len(servers) == 0 {
		return err
	}
	select {
	case <-a.sent:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("answer an ask: %w", context.Cause(ctx))
	}
}

// Run sends until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		next, at := r.next(now)
		if next != nil {
			next(ctx)
			continue
		}
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// Stop says that the agent ends in good order. It is called after Run has returned, while the connection still stands.
func (r *Reporter) Stop(ctx context.Context) error {
	r.mu.Lock()
	online := r.online
	r.mu.Unlock()
	if !online {
		return nil // nobody was told that it runs
	}
	return r.send(ctx, r.presenceTopic(), true, r.presence(protocol.Stopping, r.number()))
}

// update changes the state and lets Run look at it.
func (r *Reporter) update(change func(now time.Time)) {
	r.mu.Lock()
	change(time.Now())
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// number is the session of the document that is sent next.
func (r *Reporter) number() protocol.Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.session.Sequence++
	return r.session
}

func (r *Reporter) presence(state protocol.State, s protocol.Session) protocol.Presence {
	return protocol.Presence{
		V: protocol.Version, Agent: r.o.Agent, Session: s, State: state, At: time.Now().UTC(), Version: r.o.Version,
	}
}

func (r *Reporter) presenceTopic() string {
	return protocol.Topic{Agent: r.o.Agent, Kind: protocol.KindPresence}.String()
}

// jitter is the interval, a tenth more or less, so that many agents do not speak at once.
func jitter(interval time.Duration) time.Duration {
	return interval - interval/10 + mathrand.N(interval/5+1)
}
