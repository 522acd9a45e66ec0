package agenttest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/agent"
)

// RunOptions of an Agent.
type RunOptions struct {
	Agent  string                                      // the agent's name; empty: agent-1
	System *System                                     // that it looks after; required
	Open   func(ctx context.Context) (net.Conn, error) // a connection to the broker, in memory or not; nil: dial Broker
	Broker string                                      // tcp://host:port
	Dir    string                                      // what the agent must not forget; empty: a folder of the test
	HTTP   *http.Client                                // to the activation server that the settings name; nil: one of its own
	Poll   time.Duration                               // between two readings of the facts; 0: one minute
	Logger zerolog.Logger
}

// Agent is a whole agent in this process, running by itself: only the command line is left out. It works in a
// testing/synctest bubble, with Open, and with HTTP should there be something to activate.
type Agent struct {
	t    testing.TB
	o    RunOptions
	end  context.CancelFunc
	done chan error // capacity 1
	once sync.Once

	mu    sync.Mutex
	dead  bool
	wires []net.Conn
}

var errKilled = errors.New("the agent was killed")

// Run starts an agent and returns when it runs; its broker is not waited for. The test's end stops it.
func Run(t testing.TB, o RunOptions) *Agent {
	t.Helper()
	require.NotNil(t, o.System, "RunOptions.System")
	if o.Agent == "" {
		o.Agent = "agent-1"
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Open == nil {
		address := o.Broker[min(len("tcp://"), len(o.Broker)):]
		o.Open = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	a := &Agent{t: t, o: o, end: end, done: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		a.done <- agent.Run(ctx, agent.Options{
			Name: o.Agent, Data: o.Dir, Poll: o.Poll, Version: "test", HTTP: o.HTTP, Logger: o.Logger, Open: a.open,
			Systems: []agent.System{{Name: "local", Driver: o.System.system}},
			Ready:   func() { close(ready) },
		})
	}()
	t.Cleanup(a.Stop)
	select {
	case <-ready:
	case err := <-a.done:
		a.once.Do(end)
		require.NoError(t, err, "the agent did not start")
	}
	return a
}

// open hands out connections that Kill can cut.
func (a *Agent) open(ctx context.Context) (net.Conn, error) {
	conn, err := a.o.Open(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		_ = conn.Close()
		return nil, errKilled
	}
	a.wires = append(a.wires, conn)
	return conn, nil
}

// Stop ends the agent in good order, as SIGTERM does, and waits for it.
func (a *Agent) Stop() {
	a.t.Helper()
	a.once.Do(func() {
		a.end()
		require.NoError(a.t, <-a.done)
	})
}

// Kill takes the agent away as a crash does, as far as its broker can tell: the connection breaks without a word, so the
// will is published. Its journal is that of an end between two steps; for an end within one there is Stepper.CrashAt, and
// for a process that dies LICET_CRASH. A new Run with the same Dir is the agent started again.
func (a *Agent) Kill() {
	a.t.Helper()
	a.mu.Lock()
	a.dead = true
	for _, wire := range a.wires {
		_ = wire.Close()
	}
	a.mu.Unlock()
	a.Stop()
}
