package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/report"
	"github.com/licet-project/licet/shared/protocol"
)

// system reads the facts of one system: in intervals, when asked, and after an exchange. One goroutine reads, so facts of a
// system come in order.
type system struct {
	agent   *agent
	name    string
	driver  bms.System
	wake    chan struct{}     // capacity 1
	trouble map[string]string // what was said already, by what it is about; only the reading goroutine touches it

	mu      sync.Mutex
	asks    []protocol.Ask
	waiters []waiter
}

// waiter waits for a reading that begins after it came.
type waiter struct {
	host bms.HostID
	come chan<- reading // capacity 1
}

type reading struct {
	facts bms.Facts
	err   error
}

const (
	readTimeout   = 45 * time.Second
	answerTimeout = 5 * time.Second // how long what was asked may hold up what is to be done
	maxAsks       = 8
)

var errGone = errors.New("the system does not list this server")

func newSystem(a *agent, s System) *system {
	return &system{agent: a, name: s.Name, driver: s.Driver, wake: make(chan struct{}, 1), trouble: make(map[string]string)}
}

func (s *system) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.read(ctx)
		poll := s.agent.o.Poll
		timer := time.NewTimer(poll - poll/10 + rand.N(poll/5+1))
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *system) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ask has the system read and reported with the nonce. More asks than anybody needs push out the oldest.
func (s *system) ask(ask protocol.Ask) {
	s.mu.Lock()
	if s.asks = append(s.asks, ask); len(s.asks) > maxAsks {
		s.asks = s.asks[1:]
	}
	s.mu.Unlock()
	s.poke()
}

// fresh returns facts of the host that are read after the call.
func (s *system) fresh(ctx context.Context, host bms.HostID) (bms.Facts, error) {
	come := make(chan reading, 1)
	s.mu.Lock()
	s.waiters = append(s.waiters, waiter{host, come})
	s.mu.Unlock()
	s.poke()
	select {
	case r := <-come:
		return r.facts, r.err
	case <-ctx.Done():
		return bms.Facts{}, context.Cause(ctx)
	}
}

// read reads the facts of every server and hands them on: first to the reporter, which answers what was asked, and only
// then to the activations, so that whoever asks sees what was there before anybody acts on it.
func (s *system) read(ctx context.Context) {
	s.mu.Lock()
	asks, waiters := s.asks, s.waiters
	s.asks, s.waiters = nil, nil
	s.mu.Unlock()
	before := make(map[*server]report.Progress)
	for _, srv := range s.known() {
		before[srv] = report.ProgressOf(srv.machine)
	}

	bounded, cancel := context.WithTimeout(ctx, readTimeout)
	listed, err := s.driver.Servers(bounded)
	cancel()
	if ctx.Err() != nil {
		return
	}
	s.say("", err)
	found := s.find(ctx, listed, err)
	for _, f := range found {
		if progress, known := before[f.server]; known {
			f.before = progress
		} else {
			f.before = report.ProgressOf(f.server.machine)
		}
	}

	for _, f := range found {
		s.agent.reporter.Facts(s.name, f.shown, f.server.machine, f.before)
	}
	s.answer(ctx, asks, found)
	for _, f := range found { // should they be old already, the next reading comes before the next decision
		f.server.machine.FactsChanged(f.read)
	}
	for _, w := range waiters {
		r := reading{err: err}
		if err == nil {
			r.err = fmt.Errorf("read the facts of %s: %w", w.host, errGone)
			for _, f := range listed {
				if f.HostID == w.host {
					r = reading{facts: f}
				}
			}
		}
		w.come <- r
	}
}

// finding is what a reading says of one server.
type finding struct {
	server *server
	before report.Progress // of its activation, before the reading
	read   bms.Facts       // as they were read
	shown  bms.Facts       // for people: of a server that does not answer, what it said last
}

// find puts what was listed and what is known together.
func (s *system) find(ctx context.Context, listed []bms.Facts, err error) []*finding {
	known := s.known()
	var found []*finding
	seen := make(map[bms.HostID]bool, len(listed))
	for _, f := range listed {
		if seen[f.HostID] || f.HostID == "" {
			continue
		}
		seen[f.HostID] = true
		before := known[f.HostID]
		if before == nil && f.Unanswered != "" {
			s.say(string(f.HostID), fmt.Errorf("server %s has never answered yet: %s", f.HostID, f.Unanswered))
			continue
		}
		srv, err := s.agent.server(ctx, s, f.HostID)
		s.say(string(f.HostID), err)
		if err != nil {
			continue
		}
		shown := f
		if f.Unanswered != "" {
			shown = srv.last
			shown.Unanswered = f.Unanswered
		} else {
			srv.last = f
		}
		found = append(found, &finding{server: srv, read: f, shown: shown})
	}
	for host, srv := range known {
		if seen[host] {
			continue
		}
		missing := errGone
		if err != nil {
			missing = err
		}
		shown := srv.last
		shown.Unanswered = cause(missing)
		found = append(found, &finding{server: srv, shown: shown, read: bms.Facts{HostID: host, Unanswered: shown.Unanswered}})
	}
	return found
}

// known are the servers of this system that were found so far.
func (s *system) known() map[bms.HostID]*server {
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	known := make(map[bms.HostID]*server)
	for _, srv := range s.agent.servers {
		if srv.system == s {
			known[srv.host] = srv
		}
	}
	return known
}

// answer reports all servers of the system under each nonce that is still worth something.
func (s *system) answer(ctx context.Context, asks []protocol.Ask, found []*finding) {
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.server.name
	}
	for _, ask := range asks {
		if !time.Now().Before(ask.Expires) {
			s.agent.refusals.note("ask", errExpired)
			continue
		}
		bounded, cancel := context.WithTimeoutCause(ctx, answerTimeout, errors.New("the broker is slow"))
		if err := s.agent.reporter.Answer(bounded, ask.Nonce, names); err != nil && ctx.Err() == nil {
			s.agent.log.Warn().Err(err).Str("system", s.name).Msg("what was asked is not answered in time")
		}
		cancel()
	}
}

// say logs trouble when it begins, when it changes and when it is over.
func (s *system) say(about string, err error) {
	before := s.trouble[about]
	now := ""
	if err != nil {
		now = cause(err)
	}
	if now == before {
		return
	}
	log := s.agent.log.With().Str("system", s.name).Str("host", about).Logger()
	if now == "" {
		delete(s.trouble, about)
		log.Info().Msg("this answers again")
		return
	}
	s.trouble[about] = now
	log.Warn().Err(err).Msg("the facts of this cannot be read")
}
