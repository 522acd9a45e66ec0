package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/licet-project/licet/shared/protocol"
)

const (
	packetMargin   = 1 << 10 // bytes of a packet around its payload: topic and header
	maxInflight    = 32_768  // documents that one client has not acknowledged yet
	connectTimeout = 10 * time.Second
	acceptPause    = 500 * time.Millisecond
	maxKeepAlive   = 300 // seconds; a client that wants none, or a longer one, is cut off after 1.5 times this silence
)

// Options of New; a field not mentioned as required may be zero.
type Options struct {
	Address    string                               // host:port to listen on; empty: connections come by Attach alone
	Handler    Handler                              // required
	Refused    func(agent, topic string, err error) // told of what was refused with ErrTooLarge or ErrForbidden; agent and topic may be unknown
	Patience   time.Duration                        // how long done may take, and a client to take a document; 0: 10 s
	MaxClients int64                                // connections at once; 0: 20,000
	Metrics    prometheus.Registerer                // nil: none
	Logger     zerolog.Logger
}

// Embedded is a broker in this process, for agents alone: a client's ID is its agent's name, and it may publish and
// subscribe to what protocol.MayPublish and protocol.MaySubscribe say. Retained documents live in memory: whoever publishes
// them does so again after a start.
type Embedded struct {
	o        Options
	listener net.Listener // nil without an address
	server   *mqtt.Server
	outbox   *outbox
	counters *counters
	ctx      context.Context // of handlers; ends with Serve
	cancel   context.CancelFunc

	mu          sync.Mutex
	connections map[*connection]struct{}
	agents      map[string]*connection // the newest of each name
	closing     bool
	running     sync.WaitGroup // one for each connection
}

// New binds the address and accepts nothing yet; Publish works from here on.
func New(o Options) (*Embedded, error) {
	if o.Handler == nil {
		return nil, errors.New("the broker needs a handler")
	}
	if o.Refused == nil {
		o.Refused = func(string, string, error) {}
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Second
	}
	if o.MaxClients <= 0 {
		o.MaxClients = 20_000
	}
	b := &Embedded{o: o, connections: make(map[*connection]struct{}), agents: make(map[string]*connection)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = o.MaxClients
	limits.MaximumPacketSize = protocol.MaxPayload + packetMargin
	limits.MaximumClientWritesPending = writeQueue
	limits.MaximumInflight = maxInflight
	limits.MaximumMessageExpiryInterval = 0 // a retained document stays
	limits.MaximumSessionExpiryInterval = 0
	limits.MaximumQos = 1
	limits.MinimumProtocolVersion = mqttVersion
	limits.SharedSubAvailable = 0
	// Its Serve is never called: it would start system topics and expiries that nobody needs, and would not wait for its end.
	b.server = mqtt.New(&mqtt.Options{
		Capabilities:             limits,
		ClientNetReadBufferSize:  512,
		ClientNetWriteBufferSize: 512,
		Logger:                   slog.New(redacting{zerolog.NewSlogHandler(o.Logger)}),
	})
	b.outbox = newOutbox(b.server)
	b.counters = newCounters(b.server)
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("prepare the broker: %w", err)
	}
	if o.Metrics != nil {
		if err := b.counters.register(o.Metrics); err != nil {
			return nil, fmt.Errorf("prepare the broker: %w", err)
		}
	}
	if o.Address != "" {
		listener, err := net.Listen("tcp", o.Address)
		if err != nil {
			return nil, fmt.Errorf("listen for agents: %w", err)
		}
		b.listener = listener
	}
	return b, nil
}

// Addr is where agents connect; nil if nothing was bound.
func (b *Embedded) Addr() net.Addr {
	if b.listener == nil {
		return nil
	}
	return b.listener.Addr()
}

// Serve accepts connections until the context ends, then closes all of them and returns when every goroutine has ended.
// It is called once.
func (b *Embedded) Serve(ctx context.Context) error {
	var accepting sync.WaitGroup
	if b.listener != nil {
		accepting.Go(func() { b.accept(ctx) })
	}
	<-ctx.Done()
	b.shut()
	if b.listener != nil {
		_ = b.listener.Close() // which ends accept
	}
	accepting.Wait()
	b.cancel()
	b.running.Wait()
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("close the broker: %w", err)
	}
	return nil
}

// accept goes on after an error: too many open files, for instance, is over when some agents have gone.
func (b *Embedded) accept(ctx context.Context) {
	for {
		conn, err := b.listener.Accept()
		if err == nil {
			b.Attach(conn)
			continue
		}
		if b.isClosing() || errors.Is(err, net.ErrClosed) {
			return
		}
		b.o.Logger.Error().Err(err).Msg("accept agents")
		pause := time.NewTimer(acceptPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// Attach takes a connection that somebody else made, an in-memory pipe for instance, and owns it from here on.
func (b *Embedded) Attach(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		_ = conn.Close()
		return
	}
	c := newConnection(conn, b.o.Patience, b.counters.slow.Inc)
	b.connections[c] = struct{}{}
	b.running.Go(func() { b.converse(c) })
}

func (b *Embedded) converse(c *connection) {
	_ = c.SetDeadline(time.Now().Add(connectTimeout)) // a connection on which it fails fails to be read next
	err := b.server.EstablishConnection("agents", c)
	_ = c.Close()
	if errors.Is(err, packets.ErrPacketTooLarge) {
		b.refuse(c.agent, "", ErrTooLarge)
	}
	close(c.left)
	c.senders.Wait()
	close(c.ended)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.connections, c)
	if b.agents[c.agent] == c {
		delete(b.agents, c.agent)
	}
}

// takeOver gives the name to the connection, and returns when the one that had it is over and done with. The library
// can take over by itself, but then the end of the old connection can remove the new one.
func (b *Embedded) takeOver(c *connection, agent string) {
	b.mu.Lock()
	old := b.agents[agent]
	b.agents[agent], c.agent = c, agent
	b.mu.Unlock()
	if old != nil {
		old.over.Store(true)
		_ = old.Close()
		<-old.ended // it waits for its own patience at most
	}
}

func (b *Embedded) shut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = true
	for c := range b.connections {
		_ = c.Close()
	}
}

func (b *Embedded) isClosing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

// Publish sends a document of the coordinator's. A client that is slow to take its documents makes it wait, a while.
func (b *Embedded) Publish(ctx context.Context, topic string, payload []byte, retained bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	t, err := protocol.ParseTopic(topic)
	switch {
	case err != nil:
		return fmt.Errorf("publish: %w", err)
	case t.Kind.FromAgent():
		return fmt.Errorf("publish: %q is for agents to say", t.Kind)
	case t.Kind == protocol.KindAsk && retained:
		return errors.New("publish: an ask is never retained")
	case len(payload) > protocol.MaxPayload:
		return fmt.Errorf("publish %s: %d bytes, at most %d", t.Kind, len(payload), protocol.MaxPayload)
	}
	if err := b.outbox.send(t, payload, retained); err != nil {
		return fmt.Errorf("publish %s: %w", t.Kind, err)
	}
	return nil
}

// deliver hands a message over and waits for its commit.
func (b *Embedded) deliver(m Message) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.o.Patience)
	defer cancel()
	answer := make(chan error, 1)
	var once sync.Once
	done := func(err error) { once.Do(func() { answer <- err }) }
	b.handle(ctx, m, done)
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for the commit: %w", ctx.Err())
	}
}

// handle calls the handler. What one agent said must not end the coordinator for all of them.
func (b *Embedded) handle(ctx context.Context, m Message, done func(error)) {
	defer func() {
		if cause := recover(); cause != nil {
			b.o.Logger.Error().Str("agent", m.Agent).Str("topic", m.Topic).Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("handle a message")
			done(errPanic)
		}
	}()
	b.o.Handler(ctx, m, done)
}

var errPanic = errors.New("the handler panicked")

func (b *Embedded) refuse(agent, topic string, err error) {
	b.counters.refuse(err)
	b.o.Refused(agent, topic, err)
}
