// Package agent wires an agent and keeps it running: systems are polled, every server found has its activation, what they
// tell is reported, and what the coordinator says reaches them. No rule of licensing is in here.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/report"
	"github.com/licet-project/licet/shared/mqttconn"
	"github.com/licet-project/licet/shared/protocol"
)

// Options are what an agent needs. Name, Data and Systems are required, and Broker unless Open is set.
type Options struct {
	Name    string   // the agent's name; also its MQTT client ID
	Broker  string   // tcp://host:port
	Data    string   // folder of everything that must survive; one agent at a time uses it
	Systems []System // with different names

	Poll    time.Duration // between two readings of a system's facts; 0: one minute
	Version string        // of the agent, for reports
	Open    func(ctx context.Context) (net.Conn, error)
	HTTP    *http.Client // to the activation server; nil: one of its own that honors HTTPS_PROXY
	Ready   func()       // called once everything is started; a broker is not waited for
	Logger  zerolog.Logger
}

// System is a system of BMS servers and the name that the site gave it.
type System struct {
	Name   string
	Driver bms.System
}

// agent is a running agent.
type agent struct {
	o        Options
	log      zerolog.Logger
	conn     *mqttconn.Conn
	reporter *report.Reporter
	settings *settings
	refusals *refusals
	asked    *nonces
	systems  []*system
	refetch  chan struct{}  // capacity 1: what is desired is to be asked for once more
	work     sync.WaitGroup // pollers and activations

	mu      sync.Mutex
	servers map[string]*server // by name
	desired map[string][]byte  // what this connection delivered, by server name
}

const (
	defaultPoll = time.Minute
	goodbye     = 3 * time.Second // for the last presence
)

// Run runs an agent until ctx ends, and returns nil after a clean end: activations stop between two steps, the coordinator
// is told, the broker is left in good order. An error means that it never started.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	folder, err := openData(o.Data)
	if err != nil {
		return err
	}
	defer folder.close()
	a, err := newAgent(o)
	if err != nil {
		return err
	}
	a.run(ctx)
	return nil
}

func (o *Options) check() error {
	if !protocol.Identifier(o.Name) {
		return fmt.Errorf("the agent's name %.50q is not one to %d of a-z, 0-9 and hyphen", o.Name, protocol.MaxIdentifier)
	}
	if len(o.Systems) == 0 {
		return errors.New("there is no system to look after")
	}
	names := make(map[string]bool)
	for _, s := range o.Systems {
		if s.Name == "" || names[s.Name] || s.Driver == nil {
			return fmt.Errorf("system %.50q has no name of its own or no driver", s.Name)
		}
		names[s.Name] = true
	}
	if o.Poll <= 0 {
		o.Poll = defaultPoll
	}
	return nil
}

func newAgent(o Options) (*agent, error) {
	a := &agent{
		o: o, log: o.Logger, refusals: newRefusals(o.Logger), asked: &nonces{}, refetch: make(chan struct{}, 1),
		servers: make(map[string]*server), desired: make(map[string][]byte),
	}
	a.settings = newSettings(o.Data, o.HTTP, o.Logger)
	var err error
	a.conn, err = mqttconn.New(mqttconn.Options{
		Broker: o.Broker, ClientID: o.Name, Open: o.Open, Subscriptions: protocol.Filters(o.Name), Logger: o.Logger,
		Will:   func() (string, []byte) { return a.reporter.Will() },
		Handle: a.handle,
		Up:     func(context.Context) { a.reporter.Up() },
		Down:   func(error) { a.down() },
	})
	if err != nil {
		return nil, err
	}
	a.reporter = report.New(report.Options{Agent: o.Name, Version: o.Version, Publish: a.conn.Publish, Logger: o.Logger})
	a.settings.load(o.Name)
	a.reporter.SetHeartbeat(a.settings.heartbeat())
	for _, s := range o.Systems {
		a.systems = append(a.systems, newSystem(a, s))
	}
	return a, nil
}

// run owns every goroutine of the agent. They end in this order: what acts, what tells, what carries.
func (a *agent) run(ctx context.Context) {
	lasting := context.WithoutCancel(ctx)
	connection, disconnect := context.WithCancel(lasting)
	defer disconnect()
	reporting, hush := context.WithCancel(lasting)
	defer hush()

	var carries, tells sync.WaitGroup
	carries.Go(func() { _ = a.conn.Run(connection) }) // it returns nil
	tells.Go(func() { _ = a.reporter.Run(reporting) })
	a.work.Go(func() { a.fetchAgain(ctx) })
	for _, s := range a.systems {
		a.work.Go(func() { s.run(ctx) })
	}
	a.log.Info().Str("agent", a.o.Name).Str("version", a.o.Version).Int("systems", len(a.systems)).Msg("the agent runs")
	if a.o.Ready != nil {
		a.o.Ready()
	}

	<-ctx.Done()
	a.work.Wait()
	hush()
	tells.Wait()
	last, cancel := context.WithTimeout(lasting, goodbye)
	if err := a.reporter.Stop(last); err != nil {
		a.log.Warn().Err(err).Msg("the coordinator was not told that the agent stops")
	}
	cancel()
	disconnect()
	carries.Wait()
	a.log.Info().Msg("the agent has stopped")
}

// fetchAgain asks the broker for what is desired once more, when an activation no longer trusts what it was told. Without
// a connection there is nothing to ask for: the next one brings it.
func (a *agent) fetchAgain(ctx context.Context) {
	filter := protocol.Topic{Agent: a.o.Name, Server: "+", Kind: protocol.KindDesired}.String()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.refetch:
		}
		if err := a.conn.Resubscribe(ctx, filter); err != nil && !errors.Is(err, mqttconn.ErrNotConnected) {
			a.log.Warn().Err(err).Msg("what is desired was not asked for again")
		}
	}
}

// down is after a connection: what it delivered is no longer known to be the newest.
func (a *agent) down() {
	a.reporter.Down()
	a.mu.Lock()
	clear(a.desired)
	servers := make([]*server, 0, len(a.servers))
	for _, s := range a.servers {
		servers = append(servers, s)
	}
	a.mu.Unlock()
	for _, s := range servers {
		s.forget()
	}
}

// carriersChanged lets every activation look at the carriers again.
func (a *agent) carriersChanged() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.servers {
		s.machine.CarriersChanged()
	}
}
