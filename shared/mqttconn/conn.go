// Package mqttconn keeps one MQTT connection alive. It makes a new paho client for each attempt, so that the will, which
// paho fixes when a client is made, is the one of this attempt, and so that nothing of an earlier connection leaks into a
// later one. Paho's own reconnecting is switched off.
//
// A connection is one stretch: Handle is called for what arrives, one message at a time and in the order of arrival; Up
// once everything is subscribed; Down when the stretch is over and no call of Handle or Up is running any more.
package mqttconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Options say where to connect and what to do with it. Functions that are nil are not called.
type Options struct {
	// Broker is tcp://host:port. It is dialed unless Open is set.
	Broker string
	// ClientID names this side at the broker; two connections with one name push each other out.
	ClientID string
	// Open makes the network connection. It must return when its context ends. Nil dials Broker.
	Open func(ctx context.Context) (net.Conn, error)
	// Will is asked before each attempt for what the broker says of us when the connection breaks: QoS 1, retained.
	Will func() (topic string, payload []byte)
	// Subscriptions are filters, subscribed with QoS 1 after each connect.
	Subscriptions []string
	// Handle gets what arrives. It may be called before Up, since retained messages can overtake the broker's answer to
	// the subscription. While it runs the next message waits; more than a few thousand waiting end the connection.
	Handle func(topic string, payload []byte, retained bool)
	// Up is called once per connection, beside Handle; Publish works from here on. Its context ends with the connection.
	Up func(ctx context.Context)
	// Down is called once per connection that the broker accepted, with the reason, or nil at a clean end.
	Down func(error)

	Logger zerolog.Logger
}

// Why a publish did not succeed. Whether the broker has the message is then unknown, but for ErrNotConnected.
var (
	ErrNotConnected = errors.New("not connected to the broker")
	ErrLost         = errors.New("the connection to the broker was lost")
	ErrNoAnswer     = errors.New("the broker did not answer in time")
)

// Bounds of everything that waits for the other side.
const (
	keepAlive      = 30 * time.Second
	pingTimeout    = 10 * time.Second
	connectTimeout = 20 * time.Second // network connection and CONNACK together
	answerTimeout  = 15 * time.Second // SUBACK, PUBACK
	writeTimeout   = 10 * time.Second // of each single write
	handOver       = time.Second      // to paho's writer; on a connection that is just being lost nobody takes it
	quiesce        = 500 * time.Millisecond
	maxWaiting     = 4_096   // messages between paho and Handle
	maxPacket      = 1 << 20 // bytes of one packet from the broker
)

// Conn is one supervised connection.
type Conn struct {
	o       Options
	address string          // host:port, empty if Open is set
	refused map[string]bool // filters whose refusal was said; only Run touches it

	mu   sync.Mutex
	live *session // nil unless subscribed and not yet lost
}

// New checks the options. Nothing is connected before Run.
func New(o Options) (*Conn, error) {
	if o.ClientID == "" {
		return nil, errors.New("an MQTT connection needs a client ID")
	}
	c := &Conn{o: o, refused: make(map[string]bool)}
	if o.Open == nil {
		address, err := brokerAddress(o.Broker)
		if err != nil {
			return nil, err
		}
		c.address = address
	}
	return c, nil
}

func brokerAddress(broker string) (string, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Scheme != "tcp" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.User != nil {
		return "", fmt.Errorf("the broker's address %.200q is not of the form tcp://host:port", broker)
	}
	return u.Host, nil
}

// Run keeps the connection until ctx ends, then says goodbye to the broker, so that the will is not published, and
// returns nil. Every goroutine it started has ended by then.
func (c *Conn) Run(ctx context.Context) error {
	var pause backoff
	for ctx.Err() == nil {
		began := time.Now()
		accepted, err := c.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		lived := time.Since(began)
		wait := pause.next(accepted, lived)
		event := c.o.Logger.Warn()
		if !accepted && pause.failures > 1 {
			event = c.o.Logger.Debug() // the first failure was said; the rest is the same story
		}
		event.Err(err).Bool("was_connected", accepted).Dur("lived", lived).Dur("retry_in", wait).Msg("no connection to the broker")
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// Publish hands a message to the broker and waits, for a bounded time, until a QoS 1 message is acknowledged or a QoS 0
// message written. It may return up to a second after the end of ctx. A nil error does not mean that anybody accepted what it says.
func (c *Conn) Publish(ctx context.Context, topic string, qos byte, retained bool, payload []byte) error {
	c.mu.Lock()
	s := c.live
	c.mu.Unlock()
	if s == nil {
		return fmt.Errorf("publish to %s: %w", topic, ErrNotConnected)
	}
	if err := s.publish(ctx, topic, qos, retained, payload); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Resubscribe asks for what the broker retains under one of the subscriptions once more.
func (c *Conn) Resubscribe(ctx context.Context, filter string) error {
	c.mu.Lock()
	s := c.live
	c.mu.Unlock()
	if s == nil {
		return fmt.Errorf("subscribe to %s again: %w", filter, ErrNotConnected)
	}
	if err := wait(ctx, s.client.Subscribe(filter, 1, nil), s.ended); err != nil {
		return fmt.Errorf("subscribe to %s again: %w", filter, err)
	}
	return nil
}

func (c *Conn) setLive(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = s
}
