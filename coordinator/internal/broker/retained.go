package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/licet-project/licet/shared/protocol"
)

// The coordinator's own clients of the library. Their names are no identifiers, so no agent can have one.
const (
	liveOrigin = "!live"
	keptOrigin = "!kept" // what it sends goes out with the retain flag
)

// outbox keeps what is retained and sends it to who subscribes. The library could, but reads its memory of retained
// messages without a lock while others write it, and drops what does not fit into a client's write queue.
type outbox struct {
	server     *mqtt.Server
	live, kept *mqtt.Client

	mu     sync.Mutex
	agents map[string]*shelf
}

// shelf is what is retained for one agent. Its lock also orders what the agent is sent: nothing older follows what is newer.
type shelf struct {
	mu        sync.Mutex
	documents map[string][]byte // by topic
}

func newOutbox(server *mqtt.Server) *outbox {
	return &outbox{
		server: server,
		live:   server.NewClient(nil, "", liveOrigin, true),
		kept:   server.NewClient(nil, "", keptOrigin, true),
		agents: make(map[string]*shelf),
	}
}

func (o *outbox) shelf(agent string) *shelf {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.agents[agent]
	if s == nil {
		s = &shelf{documents: make(map[string][]byte)}
		o.agents[agent] = s
	}
	return s
}

// send sends to who has subscribed, and with retained set keeps it for who will.
func (o *outbox) send(t protocol.Topic, payload []byte, retained bool) error {
	topic, s := t.String(), o.shelf(t.Agent)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case retained && len(payload) == 0:
		delete(s.documents, topic)
	case retained:
		s.documents[topic] = slices.Clone(payload)
	}
	return o.inject(o.live, topic, payload)
}

func (o *outbox) inject(from *mqtt.Client, topic string, payload []byte) error {
	err := o.server.InjectPacket(from, packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
		PacketID:    1, // any: each client gets one of its own
		TopicName:   topic,
		Payload:     payload,
	})
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// catchUp sends the connection what is retained under its new filters, each document as it is when its turn comes.
func (o *outbox) catchUp(c *connection, filters []string) {
	s := o.shelf(c.agent)
	s.mu.Lock()
	topics := slices.Sorted(maps.Keys(s.documents))
	s.mu.Unlock()
	for _, topic := range topics {
		if c.hasLeft() {
			return
		}
		if slices.ContainsFunc(filters, func(filter string) bool { return matches(filter, topic) }) {
			s.mu.Lock()
			if payload, ok := s.documents[topic]; ok {
				_ = o.inject(o.kept, topic, payload) // it fails for a topic that is none, and this one was sent before
			}
			s.mu.Unlock()
		}
	}
}

// matches is the part of MQTT's rule that the filters of agents need: + is any one level.
func matches(filter, topic string) bool {
	levels := strings.Split(topic, "/")
	for i, level := range strings.Split(filter, "/") {
		if i >= len(levels) || level != "+" && level != levels[i] {
			return false
		}
	}
	return strings.Count(filter, "/") == strings.Count(topic, "/")
}

// OnPacketProcessed follows a subscription with what is retained, in a goroutine of the connection's own: the one that reads
// must go on reading the client's acknowledgments.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	c := connectionOf(cl)
	if c == nil || err != nil || pk.FixedHeader.Type != packets.Subscribe {
		return
	}
	var filters []string
	for _, sub := range pk.Filters {
		if protocol.MaySubscribe(cl.ID, sub.Filter) {
			filters = append(filters, sub.Filter)
		}
	}
	c.senders.Go(func() { h.b.outbox.catchUp(c, filters) })
}

// OnPacketEncode is called in the goroutine that writes to the client.
func (h *hook) OnPacketEncode(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Publish {
		pk.FixedHeader.Retain = pk.Origin == keptOrigin
	}
	return pk
}
