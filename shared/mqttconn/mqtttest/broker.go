// Package mqtttest is the least of an MQTT broker that tests of a client need, at the other end of a net.Pipe: retained
// messages, subscriptions, wills, and everything that a broker can do wrong. It works inside a testing/synctest bubble.
// It is no broker to run: it keeps every message it ever got.
package mqtttest

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Behavior is what a broker does. The zero value is a good one.
type Behavior struct {
	Away        bool                               // refuses network connections
	Silent      bool                               // accepts them and answers nothing
	Deaf        func(packets.ControlPacket) bool   // after this packet it reads nothing more from that connection
	Refuse      byte                               // return code of CONNACK
	Grant       func(filter string) byte           // return code of SUBACK; nil grants QoS 1
	Acknowledge func(topic string, p []byte) bool  // whether a QoS 1 publish is acknowledged; nil: always
	Answer      func(*packets.PublishPacket) error // called for each publish; an error ends the connection, as a refusal does
}

// Message is a publish that the broker got, or a will that it published.
type Message struct {
	Topic    string
	Payload  []byte
	QoS      byte
	Retained bool
	Will     bool
}

// Broker is the broker. Its methods may be called from anywhere.
type Broker struct {
	mu        sync.Mutex
	behavior  Behavior
	retained  map[string][]byte
	connects  []*packets.ConnectPacket
	published []Message
	goodbyes  int
	attempts  int
	links     []*link
	wg        sync.WaitGroup
}

// New makes a broker that behaves well.
func New() *Broker { return &Broker{retained: make(map[string][]byte)} }

// errAway is what a broker that is away looks like.
var errAway = errors.New("connection refused")

// Open is a network connection to the broker.
func (b *Broker) Open(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts++
	if b.behavior.Away {
		return nil, errAway
	}
	near, far := net.Pipe()
	b.take(far)
	return near, nil
}

// Take serves a network connection that somebody accepted, for clients in another process.
func (b *Broker) Take(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts++
	b.take(conn)
}

func (b *Broker) take(conn net.Conn) {
	l := &link{conn: conn, out: make(chan packets.ControlPacket, 8_192), closed: make(chan struct{})}
	b.links = append(b.links, l)
	b.wg.Go(func() { b.read(l) })
	b.wg.Go(l.write)
}

// Behave changes what the broker does from now on.
func (b *Broker) Behave(change func(*Behavior)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.behavior)
}

// Send publishes to whoever has subscribed, and keeps the payload if retained; an empty one clears what is kept.
func (b *Broker) Send(topic string, payload []byte, retained bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case retained && len(payload) == 0:
		delete(b.retained, topic)
	case retained:
		b.retained[topic] = payload
	}
	for _, l := range b.links {
		if slices.ContainsFunc(l.filters, func(filter string) bool { return matches(filter, topic) }) {
			l.send(topic, payload, false)
		}
	}
}

// Drop breaks every connection, as a broker that dies does.
func (b *Broker) Drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.links {
		l.close()
	}
}

// Close breaks every connection, takes no more, and returns when every goroutine has ended.
func (b *Broker) Close() {
	b.Behave(func(o *Behavior) { o.Away = true })
	b.Drop()
	b.wg.Wait()
}

// Connects are the CONNECT packets so far.
func (b *Broker) Connects() []*packets.ConnectPacket {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.connects)
}

// Published is what arrived so far, wills included, in order.
func (b *Broker) Published() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.published)
}

// Attempts counts network connections asked for, Goodbyes clean ends.
func (b *Broker) Attempts() int { b.mu.Lock(); defer b.mu.Unlock(); return b.attempts }

// Goodbyes counts connections that ended with DISCONNECT.
func (b *Broker) Goodbyes() int { b.mu.Lock(); defer b.mu.Unlock(); return b.goodbyes }

// matches is the topic matching of MQTT, for filters with whole levels of + and a # at the end.
func matches(filter, topic string) bool {
	levels, parts := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range levels {
		if level == "#" {
			return true
		}
		if i >= len(parts) || level != "+" && level != parts[i] {
			return false
		}
	}
	return len(levels) == len(parts)
}
