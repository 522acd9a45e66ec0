package mqttconn

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// session is one paho client: one attempt and, if the broker accepts, one connection.
type session struct {
	client mqtt.Client
	inbox  *inbox
	ended  <-chan struct{} // the connection is over, or about to be

	mu   sync.Mutex
	wire net.Conn
}

// connection makes one attempt and stays until the connection is lost or ctx ends.
func (c *Conn) connection(parent context.Context) (accepted bool, err error) {
	ctx, end := context.WithCancelCause(parent)
	defer end(nil)
	s := &session{inbox: newInbox(), ended: ctx.Done()}
	s.client = mqtt.NewClient(c.clientOptions(ctx, s, end))

	if err := s.connect(ctx); err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	var calls sync.WaitGroup
	calls.Go(func() { s.inbox.run(ctx, c.o.Handle) })
	if err := c.subscribe(ctx, s); err != nil {
		end(err)
	} else {
		c.setLive(s)
		c.o.Logger.Info().Msg("connected to the broker")
		if c.o.Up != nil {
			calls.Go(func() { c.o.Up(ctx) })
		}
	}

	<-ctx.Done()
	c.setLive(nil)
	calls.Wait()
	s.close()
	err = context.Cause(ctx)
	if parent.Err() != nil {
		err = nil
	}
	if c.o.Down != nil {
		c.o.Down(err)
	}
	return true, err
}

func (c *Conn) clientOptions(ctx context.Context, s *session, end context.CancelCauseFunc) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions()
	o.AddBroker("tcp://broker") // paho wants one; the address is the open function's
	o.SetClientID(c.o.ClientID)
	o.SetProtocolVersion(4)
	o.SetCleanSession(true)
	o.SetStore(mqtt.NewMemoryStore())
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetKeepAlive(keepAlive)
	o.SetPingTimeout(pingTimeout)
	o.SetConnectTimeout(connectTimeout)
	o.SetWriteTimeout(handOver) // deadlines of writing are the wire's
	o.SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return c.open(ctx, s) })
	if c.o.Will != nil {
		topic, payload := c.o.Will()
		o.SetBinaryWill(topic, payload, 1, true)
	}
	// In order, because an empty desired document and the one after it must not change places. Paho warns of handlers that
	// wait, which would stop its reading; this one never does. It stands before connecting, as the only route.
	o.SetOrderMatters(true)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		if err := s.inbox.put(message{m.Topic(), m.Payload(), m.Retained()}); err != nil {
			end(err)
		}
	})
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { end(fmt.Errorf("%w: %w", ErrLost, err)) })
	return o
}

func (c *Conn) open(ctx context.Context, s *session) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var conn net.Conn
	var err error
	if c.o.Open != nil {
		conn, err = c.o.Open(ctx)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
	}
	if err != nil {
		return nil, err
	}
	w := newWire(conn)
	s.mu.Lock()
	s.wire = w
	s.mu.Unlock()
	if err := ctx.Err(); err != nil { // whoever closes at the end of ctx may have come too early
		_ = w.Close()
		return nil, err
	}
	return w, nil
}

// connect waits for CONNACK. Paho bounds the wait by the time-out; the end of ctx cuts it short by closing the wire.
func (s *session) connect(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.cut)
	defer stop()
	token := s.client.Connect()
	<-token.Done()
	return token.Error()
}

// subscribe asks for every filter and compares what was granted. A refusal is said once and does not end the connection:
// what is not received is missing, but reports still arrive.
func (c *Conn) subscribe(ctx context.Context, s *session) error {
	if len(c.o.Subscriptions) == 0 {
		return nil
	}
	filters := make(map[string]byte, len(c.o.Subscriptions))
	for _, filter := range c.o.Subscriptions {
		filters[filter] = 1
	}
	token := s.client.SubscribeMultiple(filters, nil)
	if err := wait(ctx, token, nil); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	granted := token.(*mqtt.SubscribeToken).Result()
	for _, filter := range c.o.Subscriptions {
		qos, answered := granted[filter]
		if answered && qos == 1 {
			delete(c.refused, filter)
			continue
		}
		if !c.refused[filter] {
			c.refused[filter] = true
			c.o.Logger.Error().Str("filter", filter).Uint8("granted", qos).
				Msg("the broker refuses a subscription: is this agent known to it under this name?")
		}
	}
	return nil
}

func (s *session) publish(ctx context.Context, topic string, qos byte, retained bool, payload []byte) error {
	return wait(ctx, s.client.Publish(topic, qos, retained, payload), s.ended)
}

// wait waits for the token, but not for ever: a token of a lost connection may never complete.
func wait(ctx context.Context, token mqtt.Token, lost <-chan struct{}) error {
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	select {
	case <-token.Done():
		return token.Error()
	case <-lost:
		return ErrLost
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return ErrNoAnswer
	}
}

// close says goodbye, cuts the wire and waits until paho's goroutines are gone. All three are bounded; on a connection
// that is already lost they do nothing.
func (s *session) close() {
	s.client.Disconnect(uint(quiesce.Milliseconds()))
	s.cut()
	s.client.Disconnect(uint(answerTimeout.Milliseconds())) // waits for the one before, should that have run out of time
}

func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire != nil {
		_ = s.wire.Close()
	}
}
