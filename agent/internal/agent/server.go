package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/protocol"
)

// server is a BMS server and its activation.
type server struct {
	name    string // in topics
	host    bms.HostID
	system  *system
	machine *activation.Machine
	last    bms.Facts // as it answered last; only its system's poller touches it

	delivering sync.Mutex // keeps what is accepted and what is forgotten in order
}

// errTwoSystems means that two systems of this agent list one host ID.
var errTwoSystems = errors.New("another system of this agent has a server with this host ID")

// server returns the server with this host ID, and makes it known if it is new. Then its activation starts, with what the
// coordinator has said about it on this connection.
func (a *agent) server(ctx context.Context, sys *system, host bms.HostID) (*server, error) {
	name := protocol.ServerName(string(host))
	a.mu.Lock()
	s := a.servers[name]
	a.mu.Unlock()
	if s != nil {
		if s.system != sys || s.host != host {
			return nil, fmt.Errorf("server %s: %w", host, errTwoSystems)
		}
		return s, nil
	}
	s = &server{name: name, host: host, system: sys}
	var err error
	s.machine, err = activation.Open(activation.Options{
		Dir: filepath.Join(a.o.Data, "servers", name), System: sys.driver, Host: host, Agent: a.o.Name, Server: name,
		Carriers: a.settings.carriers, Keys: a.settings.keys,
		Refresh: func(ctx context.Context) (bms.Facts, error) { return sys.fresh(ctx, host) },
		Refetch: a.askAgain,
		Changed: func() { a.reporter.Changed(name) },
		Logger:  a.log,
	})
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	if other := a.servers[name]; other != nil { // another system's poller was quicker
		a.mu.Unlock()
		return nil, fmt.Errorf("server %s: %w", host, errTwoSystems)
	}
	a.servers[name] = s
	a.mu.Unlock()
	a.log.Info().Str("server", name).Str("host", string(host)).Str("system", sys.name).Msg("a server is found")
	a.deliver(s)
	a.work.Go(func() {
		if err := s.machine.Run(ctx); err != nil {
			a.log.Error().Err(err).Str("server", name).Msg("the activation of this server has ended")
		}
	})
	return s, nil
}

func (a *agent) askAgain() {
	select {
	case a.refetch <- struct{}{}:
	default:
	}
}

// deliver hands the newest desired document of this connection to the server's activation.
func (a *agent) deliver(s *server) {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	a.mu.Lock()
	payload, known := a.desired[s.name]
	a.mu.Unlock()
	if !known {
		return
	}
	if err := s.machine.Accept(payload); err != nil {
		a.refusals.note("desired", err)
	}
}

// forget is after a connection. Whoever delivers at this moment looked up the document before it was forgotten, and is
// waited for.
func (s *server) forget() {
	s.delivering.Lock()
	defer s.delivering.Unlock()
	s.machine.Disconnected()
}
