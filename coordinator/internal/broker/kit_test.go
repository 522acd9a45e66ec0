package broker

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/shared/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a broker that serves until the test ends, and what it was told.
type house struct {
	*Embedded
	messages chan Message
	answers  chan error // each message waits for one
	refusals chan refusal
	stop     func() // ends Serve; may be called early
}

type refusal struct {
	agent, topic string
	err          error
}

// serve starts a broker; change may alter its options. By default every message is taken at once.
func serve(t *testing.T, change func(o *Options, h *house)) *house {
	t.Helper()
	h := &house{messages: make(chan Message, 100), refusals: make(chan refusal, 100)}
	o := Options{
		Address: "127.0.0.1:0",
		Handler: func(ctx context.Context, m Message, done func(error)) {
			h.messages <- m
			if h.answers == nil {
				done(nil)
				return
			}
			select {
			case err := <-h.answers:
				done(err)
			case <-ctx.Done():
			}
		},
		Refused: func(agent, topic string, err error) { h.refusals <- refusal{agent, topic, err} },
		Logger:  zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel),
	}
	if change != nil {
		change(&o, h)
	}
	b, err := New(o)
	require.NoError(t, err)
	h.Embedded = b
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := b.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	h.stop = sync.OnceFunc(func() { cancel(); serving.Wait() })
	t.Cleanup(h.stop)
	return h
}

// notes is a log to read afterwards.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func topic(agent string, kind protocol.Kind) string {
	return protocol.Topic{Agent: agent, Server: map[bool]string{true: "srv"}[kind.PerServer()], Kind: kind}.String()
}

// dial connects a real client over TCP.
func dial(t *testing.T, h *house, id string, change func(o *paho.ClientOptions)) (paho.Client, error) {
	t.Helper()
	o := paho.NewClientOptions().AddBroker("tcp://" + h.Addr().String()).SetClientID(id).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectTimeout(10 * time.Second).SetOrderMatters(false)
	if change != nil {
		change(o)
	}
	c := paho.NewClient(o)
	token := c.Connect()
	require.True(t, token.WaitTimeout(10*time.Second))
	if token.Error() == nil {
		t.Cleanup(func() { c.Disconnect(0) })
	}
	return c, token.Error()
}

func connected(t *testing.T, h *house, id string, change func(o *paho.ClientOptions)) paho.Client {
	t.Helper()
	c, err := dial(t, h, id, change)
	require.NoError(t, err)
	return c
}

// raw speaks MQTT by hand, over any connection.
type raw struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
}

func (h *house) tcp(t *testing.T) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", h.Addr().String())
	require.NoError(t, err)
	return newRaw(t, conn)
}

func (h *house) pipe(t *testing.T) *raw {
	t.Helper()
	ours, theirs := net.Pipe()
	h.Attach(theirs)
	return newRaw(t, ours)
}

func newRaw(t *testing.T, conn net.Conn) *raw {
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t, conn, bufio.NewReader(conn)}
}

func (r *raw) write(p packets.ControlPacket) { require.NoError(r.t, p.Write(r.conn)) }

func (r *raw) next() packets.ControlPacket {
	p, err := packets.ReadPacket(r.read)
	require.NoError(r.t, err)
	return p
}

// ended reports that the broker closed the connection.
func (r *raw) ended() {
	for {
		if _, err := packets.ReadPacket(r.read); err != nil {
			return
		}
	}
}

func connect(id string, version byte) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	name := "MQTT"
	if version == 3 {
		name = "MQIsdp"
	}
	p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier, p.CleanSession, p.Keepalive = name, version, id, true, 30
	return p
}

func publish(id uint16, topic string, payload string) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload, p.Qos, p.MessageID = topic, []byte(payload), 1, id
	return p
}

func (r *raw) connect(id string) {
	r.write(connect(id, 4))
	require.EqualValues(r.t, packets.Accepted, r.next().(*packets.ConnackPacket).ReturnCode)
}

func (r *raw) subscribe(filters ...string) []byte {
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics = 1, filters
	for range filters {
		p.Qoss = append(p.Qoss, 1)
	}
	r.write(p)
	return r.next().(*packets.SubackPacket).ReturnCodes
}
