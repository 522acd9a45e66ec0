package mqtttest

import (
	"net"
	"sync"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// link is one network connection. Like a real broker it reads and writes in goroutines of their own.
type link struct {
	conn    net.Conn
	out     chan packets.ControlPacket // closed by the reader, which ends after the connection
	once    sync.Once
	closed  chan struct{}
	filters []string               // Broker.mu guards it and what follows
	connect *packets.ConnectPacket // nil before CONNECT, and after DISCONNECT: then there is no will
	over    bool                   // out is closed
}

func (l *link) close() {
	l.once.Do(func() { close(l.closed) })
	_ = l.conn.Close()
}

func (l *link) write() {
	for packet := range l.out {
		if packet.Write(l.conn) != nil {
			l.close()
		}
	}
}

// send queues a message; Broker.mu is held. A queue that is full is a connection that is too slow: it is cut.
func (l *link) send(topic string, payload []byte, retained bool) {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload, m.Retain = topic, payload, retained
	l.queue(m)
}

func (l *link) queue(packet packets.ControlPacket) {
	if l.over {
		return
	}
	select {
	case l.out <- packet:
	default:
		l.close()
	}
}

func (b *Broker) read(l *link) {
	defer b.end(l)
	for {
		packet, err := packets.ReadPacket(l.conn)
		if err != nil {
			return
		}
		b.mu.Lock()
		goesOn, deaf := b.answer(l, packet), b.behavior.Deaf != nil && b.behavior.Deaf(packet)
		b.mu.Unlock()
		if deaf {
			<-l.closed
		}
		if !goesOn || deaf {
			return
		}
	}
}

// end publishes the will of a connection that did not say goodbye.
func (b *Broker) end(l *link) {
	l.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := l.connect; c != nil && c.WillFlag {
		b.published = append(b.published, Message{c.WillTopic, c.WillMessage, c.WillQos, c.WillRetain, true})
	}
	l.connect, l.filters, l.over = nil, nil, true
	close(l.out)
}

// answer does what the packet asks for; b.mu is held. False ends the connection.
func (b *Broker) answer(l *link, packet packets.ControlPacket) bool {
	if b.behavior.Silent {
		return true
	}
	switch m := packet.(type) {
	case *packets.ConnectPacket:
		b.connects = append(b.connects, m)
		ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		if ack.ReturnCode = b.behavior.Refuse; ack.ReturnCode == packets.Accepted {
			b.takeOver(l, m)
		}
		l.queue(ack)
	case *packets.SubscribePacket:
		b.subscribe(l, m)
	case *packets.PublishPacket:
		if b.behavior.Answer != nil && b.behavior.Answer(m) != nil {
			return false
		}
		b.published = append(b.published, Message{m.TopicName, m.Payload, m.Qos, m.Retain, false})
		if m.Qos == 1 && (b.behavior.Acknowledge == nil || b.behavior.Acknowledge(m.TopicName, m.Payload)) {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = m.MessageID
			l.queue(ack)
		}
	case *packets.PingreqPacket:
		l.queue(packets.NewControlPacket(packets.Pingresp))
	case *packets.DisconnectPacket:
		b.goodbyes++
		l.connect = nil
		return false
	}
	return true
}

// takeOver cuts an earlier connection of the same client, as the specification demands.
func (b *Broker) takeOver(l *link, m *packets.ConnectPacket) {
	for _, other := range b.links {
		if other != l && other.connect != nil && other.connect.ClientIdentifier == m.ClientIdentifier {
			other.close()
		}
	}
	l.connect = m
}

// subscribe sends what is retained before SUBACK, which brokers may do and clients must bear.
func (b *Broker) subscribe(l *link, m *packets.SubscribePacket) {
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID = m.MessageID
	for i, filter := range m.Topics {
		code := m.Qoss[i]
		if b.behavior.Grant != nil {
			code = b.behavior.Grant(filter)
		}
		ack.ReturnCodes = append(ack.ReturnCodes, code)
		if code > 2 {
			continue
		}
		l.filters = append(l.filters, filter)
		for topic, payload := range b.retained {
			if matches(filter, topic) {
				l.send(topic, payload, true)
			}
		}
	}
	l.queue(ack)
}
