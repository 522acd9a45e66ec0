package mqttconn

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// peer is the least of a broker that these tests need, at the other end of a net.Pipe. Like a real one it reads and
// writes in goroutines of their own; all of them have ended when close returns.
type peer struct {
	mu          sync.Mutex
	away        bool                              // refuses network connections
	silent      bool                              // accepts them and never answers
	deaf        func(packet any) bool             // reads nothing more after this packet
	refuse      byte                              // return code of CONNACK
	granted     func(filter string) byte          // nil grants what is asked
	acknowledge func(*packets.PublishPacket) bool // nil acknowledges all
	before      []*packets.PublishPacket          // sent after CONNACK, before SUBACK
	connects    []*packets.ConnectPacket
	published   []*packets.PublishPacket
	goodbyes    int
	attempts    int
	links       []*link
	wg          sync.WaitGroup
}

type link struct {
	conn net.Conn
	out  chan packets.ControlPacket

	once   sync.Once
	closed chan struct{}
}

func (l *link) close() {
	l.once.Do(func() { close(l.closed) })
	_ = l.conn.Close()
}

var errAway = errors.New("broker away")

func newPeer(t *testing.T) *peer {
	p := &peer{}
	t.Cleanup(p.close)
	return p
}

func (p *peer) open(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts++
	if p.away || ctx.Err() != nil {
		return nil, errAway
	}
	near, far := net.Pipe()
	l := &link{conn: far, out: make(chan packets.ControlPacket, 8_192), closed: make(chan struct{})}
	p.links = append(p.links, l)
	p.wg.Go(func() { p.read(l) })
	p.wg.Go(func() {
		for packet := range l.out {
			if packet.Write(far) != nil {
				l.close()
			}
		}
	})
	return near, nil
}

func (p *peer) read(l *link) {
	defer close(l.out)
	defer l.close()
	for {
		packet, err := packets.ReadPacket(l.conn)
		if err != nil {
			return
		}
		p.mu.Lock()
		answers, deaf := p.answer(packet), p.deaf != nil && p.deaf(packet)
		p.mu.Unlock()
		for _, answer := range answers {
			l.out <- answer
		}
		if deaf {
			<-l.closed
			return
		}
	}
}

func (p *peer) answer(packet packets.ControlPacket) []packets.ControlPacket {
	if p.silent {
		return nil
	}
	switch m := packet.(type) {
	case *packets.ConnectPacket:
		p.connects = append(p.connects, m)
		ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		ack.ReturnCode = p.refuse
		return []packets.ControlPacket{ack}
	case *packets.SubscribePacket:
		var out []packets.ControlPacket
		for _, early := range p.before {
			out = append(out, early)
		}
		ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		ack.MessageID = m.MessageID
		for i, filter := range m.Topics {
			code := m.Qoss[i]
			if p.granted != nil {
				code = p.granted(filter)
			}
			ack.ReturnCodes = append(ack.ReturnCodes, code)
		}
		return append(out, ack)
	case *packets.PublishPacket:
		p.published = append(p.published, m)
		if m.Qos == 1 && (p.acknowledge == nil || p.acknowledge(m)) {
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = m.MessageID
			return []packets.ControlPacket{ack}
		}
	case *packets.PingreqPacket:
		return []packets.ControlPacket{packets.NewControlPacket(packets.Pingresp)}
	case *packets.DisconnectPacket:
		p.goodbyes++
	}
	return nil
}

func message0(topic, payload string) *packets.PublishPacket {
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.TopicName, m.Payload, m.Retain = topic, []byte(payload), true
	return m
}

// send delivers over the newest link.
func (p *peer) send(topic, payload string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[len(p.links)-1].out <- message0(topic, payload)
}

// drop breaks every link, as a broker that dies does.
func (p *peer) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.close()
	}
}

func (p *peer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *peer) close() {
	p.set(func() { p.away = true })
	p.drop()
	p.wg.Wait()
}
