package broker

import (
	"bytes"
	"errors"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/licet-project/licet/shared/protocol"
)

const mqttVersion = 4 // MQTT 3.1.1

// hook is what the library asks and tells. Its methods run in the goroutine that reads the client's connection, unless they
// say otherwise.
type hook struct {
	mqtt.HookBase
	b *Embedded
}

// ID names the hook.
func (h *hook) ID() string { return "licet" }

// Provides says which methods are ours.
func (h *hook) Provides(method byte) bool {
	return bytes.Contains([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnWill, mqtt.OnWillSent,
		mqtt.OnQosPublish, mqtt.OnPacketEncode, mqtt.OnPacketSent, mqtt.OnPublishDropped, mqtt.OnPacketProcessed,
	}, []byte{method})
}

var errVersion = errors.New("not MQTT 3.1.1")

// OnConnect sets what a client may not choose: nothing is kept for it while it is away, and its silence has an end.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	if pk.ProtocolVersion != mqttVersion {
		_ = h.b.server.SendConnack(cl, packets.ErrUnsupportedProtocolVersion, false, nil)
		return errVersion
	}
	cl.Properties.Clean = true
	if cl.State.Keepalive == 0 || cl.State.Keepalive > maxKeepAlive {
		cl.State.Keepalive = maxKeepAlive
	}
	return nil
}

// OnConnectAuthenticate lets in who has the name of an agent and a will that the agent could publish itself. A connection
// of that name has ended before it returns.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	name := pk.Connect.ClientIdentifier // the library invents one if it is empty
	if !protocol.Identifier(name) {
		h.b.refuse("", "", ErrForbidden)
		return false
	}
	if pk.Connect.WillFlag && (!maySay(name, pk.Connect.WillTopic, protocol.KindPresence) || len(pk.Connect.WillPayload) > protocol.MaxPayload) {
		h.b.refuse(name, pk.Connect.WillTopic, ErrForbidden)
		return false
	}
	h.b.takeOver(connectionOf(cl), name)
	return true
}

func maySay(agent, topic string, kind protocol.Kind) bool {
	t, err := protocol.ParseTopic(topic)
	return err == nil && t.Kind == kind && protocol.MayPublish(agent, topic)
}

// OnACLCheck is asked before a client publishes, for each filter it subscribes to, and for each message it is to be sent;
// the last in the goroutine of the sender.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	may := protocol.MaySubscribe
	if write {
		may = protocol.MayPublish
	}
	if may(cl.ID, topic) {
		return true
	}
	h.b.refuse(cl.ID, topic, ErrForbidden)
	return false
}

// OnPublish waits for the commit: the library acknowledges after it returns. While it waits the client's next message waits
// in the network, which is the back-pressure that is wanted.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connectionOf(cl)
	if c == nil {
		return pk, nil
	}
	if c.failed || c.over.Load() {
		return pk, packets.ErrRejectPacket // not acknowledged
	}
	if err := h.b.deliver(Message{Agent: cl.ID, Topic: pk.TopicName, Payload: pk.Payload}); err != nil {
		h.b.counters.untaken.Inc()
		if pk.FixedHeader.Qos > 0 {
			c.failed = true
			_ = c.Close() // it comes back and says it again
		}
		return pk, packets.ErrRejectPacket
	}
	// Acknowledged, and neither kept nor passed on, presence included: nobody but the coordinator may read what agents say.
	return pk, packets.CodeSuccessIgnore
}

// OnWill keeps no will either.
func (h *hook) OnWill(_ *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	will.Retain = false
	return will, nil
}

// OnWillSent hands a will over like a publish, unless the agent is there again already, or the coordinator itself ends.
func (h *hook) OnWillSent(cl *mqtt.Client, pk packets.Packet) {
	if connectionOf(cl).over.Load() || h.b.isClosing() {
		return
	}
	if err := h.b.deliver(Message{Agent: cl.ID, Topic: pk.TopicName, Payload: pk.Payload}); err != nil {
		h.b.counters.untaken.Inc() // nobody says it again; the heartbeats that do not come will tell
	}
}

// OnQosPublish is called in the goroutine of the sender, before the document is queued for the client.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if c := connectionOf(cl); c != nil && pk.FixedHeader.Type == packets.Publish { // else it is an acknowledgment, which is not queued
		c.enter()
	}
}

// OnPacketSent is called in the goroutine that writes to the client.
func (h *hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if c := connectionOf(cl); c != nil && pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos > 0 {
		c.queue.leave()
	}
}

// OnPublishDropped is called in the goroutine of the sender, when the queue was full all the same.
func (h *hook) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	if c := connectionOf(cl); c != nil && pk.FixedHeader.Qos > 0 {
		c.queue.leave()
	}
}
