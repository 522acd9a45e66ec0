package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/protocol"
)

func TestMaySubscribe(t *testing.T) {
	h := serve(t, nil)
	c := h.tcp(t)
	c.connect("agent-a")
	own := append(protocol.Filters("agent-a"), topic("agent-a", protocol.KindDesired))
	require.Equal(t, bytes.Repeat([]byte{1}, len(own)), c.subscribe(own...))
	others := []string{
		"#", "+/#", "licet/v1/a/#", "licet/v1/a/+/settings", "$SYS/#", "$share/g/" + topic("agent-a", protocol.KindAsk),
		"licet/v1/a/agent-a/#", topic("agent-a", protocol.KindPresence), "licet/v1/a/agent-a/s/+/reported",
	}
	others = append(others, protocol.Filters("agent-b")...)
	require.Equal(t, bytes.Repeat([]byte{0x80}, len(others)), c.subscribe(others...))
	for _, filter := range others {
		require.Equal(t, refusal{"agent-a", filter, ErrForbidden}, <-h.refusals)
	}
}

func TestRetained(t *testing.T) {
	h := serve(t, nil)
	ctx := context.Background()
	desired := topic("agent-a", protocol.KindDesired)
	require.NoError(t, h.Publish(ctx, desired, []byte("one"), true))
	require.NoError(t, h.Publish(ctx, topic("agent-b", protocol.KindDesired), []byte("not yours"), true))
	require.NoError(t, h.Publish(ctx, topic("agent-a", protocol.KindAsk), []byte("early"), false))
	c := h.tcp(t)
	c.connect("agent-a")
	c.subscribe(protocol.Filters("agent-a")...)
	p := c.next().(*packets.PublishPacket)
	require.Equal(t, "one", string(p.Payload))
	require.True(t, p.Retain)
	require.NoError(t, h.Publish(ctx, desired, []byte("two"), true))
	p = c.next().(*packets.PublishPacket)
	require.Equal(t, "two", string(p.Payload))
	require.EqualValues(t, 1, p.Qos)
	require.False(t, p.Retain)
	require.NoError(t, h.Publish(ctx, desired, nil, true))
	require.Empty(t, c.next().(*packets.PublishPacket).Payload)
	later := h.tcp(t)
	later.connect("agent-a")
	later.subscribe(protocol.Filters("agent-a")...)
	require.NoError(t, h.Publish(ctx, topic("agent-a", protocol.KindAsk), []byte("now"), false))
	require.Equal(t, "now", string(later.next().(*packets.PublishPacket).Payload), "what was withdrawn is not sent")
}

func TestMatches(t *testing.T) {
	for filter, want := range map[string]bool{
		"a/b/c": true, "a/+/c": true, "+/+/+": true, "a/b": false, "a/b/c/d": false, "a/+": false, "+/b/d": false, "": false,
	} {
		require.Equal(t, want, matches(filter, "a/b/c"), filter)
	}
}

func TestRefusedToPublish(t *testing.T) {
	h := serve(t, nil)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, err := range map[string]error{
		"retained ask":    h.Publish(context.Background(), topic("agent-a", protocol.KindAsk), nil, true),
		"an agent's kind": h.Publish(context.Background(), topic("agent-a", protocol.KindReported), nil, true),
		"no topic":        h.Publish(context.Background(), "x", nil, true),
		"too large":       h.Publish(context.Background(), topic("agent-a", protocol.KindDesired), make([]byte, protocol.MaxPayload+1), true),
		"canceled":        h.Publish(canceled, topic("agent-a", protocol.KindDesired), nil, true),
	} {
		require.Error(t, err, name)
	}
}

// TestAgentsRetainNothing: what they say is for the coordinator, which keeps it.
func TestAgentsRetainNothing(t *testing.T) {
	h := serve(t, nil)
	c := connected(t, h, "agent-a", nil)
	for _, kind := range []protocol.Kind{protocol.KindPresence, protocol.KindReported, protocol.KindHeartbeat} {
		token := c.Publish(topic("agent-a", kind), 1, true, "{}")
		require.True(t, token.WaitTimeout(10*time.Second))
		<-h.messages
	}
	require.Empty(t, h.server.Topics.Retained.GetAll())
	require.Empty(t, h.outbox.agents)
}

// TestNothingOlderFollows: documents change while the agent subscribes again and again; what it has last is the newest.
func TestNothingOlderFollows(t *testing.T) {
	h := serve(t, nil)
	desired := topic("agent-a", protocol.KindDesired)
	c := h.tcp(t)
	c.connect("agent-a")
	c.subscribe(protocol.Filters("agent-a")...)
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range 500 {
			if err := h.Publish(t.Context(), desired, []byte(strconv.Itoa(i)), true); err != nil {
				t.Error(err)
			}
		}
		if err := h.Publish(t.Context(), topic("agent-a", protocol.KindAsk), []byte("end"), false); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for range 100 {
			p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
			p.MessageID, p.Topics, p.Qoss = 1, protocol.Filters("agent-a"), []byte{1, 1, 1}
			if p.Write(c.conn) != nil {
				return
			}
		}
	}()
	last := -1
	for said := ""; said != "end"; {
		p, ok := c.next().(*packets.PublishPacket)
		if !ok {
			continue
		}
		if said = string(p.Payload); said == "end" {
			break
		}
		n, err := strconv.Atoi(said)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, last)
		last = n
	}
	publishing.Wait()
}

// TestLargeSystem: an agent with more servers than its write queue is long gets every document, retained and live.
func TestLargeSystem(t *testing.T) {
	const servers = 3_000
	registry := prometheus.NewRegistry()
	h := serve(t, func(o *Options, _ *house) { o.Metrics = registry })
	name := func(i int) string {
		return protocol.Topic{Agent: "agent-a", Server: "srv-" + strconv.Itoa(i), Kind: protocol.KindDesired}.String()
	}
	payload := []byte(strings.Repeat("x", 500))
	for i := range servers {
		require.NoError(t, h.Publish(context.Background(), name(i), payload, true))
	}
	var mu sync.Mutex
	got := make(map[string]int)
	all := make(chan struct{})
	total := 0
	c := connected(t, h, "agent-a", nil)
	token := c.SubscribeMultiple(map[string]byte{protocol.Filters("agent-a")[2]: 1}, func(_ paho.Client, m paho.Message) {
		mu.Lock()
		defer mu.Unlock()
		got[m.Topic()]++
		if total++; total == 2*servers {
			close(all)
		}
	})
	require.True(t, token.WaitTimeout(10*time.Second))
	for i := range servers {
		require.NoError(t, h.Publish(context.Background(), name(i), payload, true))
	}
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		mu.Lock()
		defer mu.Unlock()
		t.Fatalf("%d of %d documents arrived", total, 2*servers)
	}
	require.Len(t, got, servers)
	expected := "# HELP licet_broker_messages_dropped_total Documents dropped because a client's write queue was full.\n" +
		"# TYPE licet_broker_messages_dropped_total counter\nlicet_broker_messages_dropped_total 0\n"
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(expected), "licet_broker_messages_dropped_total"))
}

// TestSlowClient: one that takes nothing makes the sender wait for a while, and is then closed.
func TestSlowClient(t *testing.T) {
	for name, open := range map[string]func(h *house) *raw{
		"the write blocks":  func(h *house) *raw { return h.pipe(t) },
		"the queue is full": func(h *house) *raw { return h.tcp(t) },
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, func(o *Options, _ *house) { o.Patience = 100 * time.Millisecond })
			c := open(h)
			c.connect("agent-a")
			c.subscribe(protocol.Filters("agent-a")...)
			payload := make([]byte, protocol.MaxPayload)
			for testutil.ToFloat64(h.counters.slow) == 0 {
				require.NoError(t, h.Publish(t.Context(), topic("agent-a", protocol.KindDesired), payload, true))
			}
			c.ended()
			require.Zero(t, atomic.LoadInt64(&h.server.Info.MessagesDropped))
			other := h.tcp(t)
			other.connect("agent-a")
			other.subscribe(protocol.Filters("agent-a")...)
			require.Len(t, other.next().(*packets.PublishPacket).Payload, len(payload), "whoever comes back gets what is retained")
		})
	}
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, func(o *Options, _ *house) { o.Address = "" })
		began := time.Now()
		h.pipe(t).ended()
		require.Equal(t, connectTimeout, time.Since(began), "who does not even say hello is cut off")
		for wants, gets := range map[uint16]time.Duration{30: 45 * time.Second, 0: 450 * time.Second, 65_535: 450 * time.Second} {
			c := h.pipe(t)
			hello := connect("agent-a", 4)
			hello.Keepalive = wants
			began = time.Now()
			c.write(hello)
			c.next()
			c.ended()
			require.Equal(t, gets, time.Since(began))
		}
		h.stop()
	})
}

// TestTakeOver: a connection whose other side is gone does not hold up the one that takes its place, even if writes to it block.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, func(o *Options, _ *house) { o.Address = "" })
		dead := h.pipe(t)
		dead.connect("agent-a")
		dead.subscribe(protocol.Filters("agent-a")...)
		require.NoError(t, h.Publish(t.Context(), topic("agent-a", protocol.KindAsk), []byte("{}"), false))
		synctest.Wait() // the broker is stuck in writing that
		began := time.Now()
		c := h.pipe(t)
		c.connect("agent-a")
		require.Equal(t, []byte{1}, c.subscribe(protocol.Filters("agent-a")[1]))
		require.Equal(t, began, time.Now())
		dead.ended()
		require.NoError(t, h.Publish(t.Context(), topic("agent-a", protocol.KindAsk), []byte("you"), false))
		require.Equal(t, "you", string(c.next().(*packets.PublishPacket).Payload))
		h.stop()
	})
}

func TestLogsWithoutPayloads(t *testing.T) {
	var log notes
	h := serve(t, func(o *Options, _ *house) { o.Logger = zerolog.New(&log).Level(zerolog.TraceLevel) })
	const secret = "SECRET-0000-1111"
	c := h.tcp(t)
	hello := connect("agent-a", 4)
	hello.WillFlag, hello.WillTopic, hello.WillMessage = true, topic("agent-a", protocol.KindPresence), []byte(secret)
	c.write(hello)
	c.next()
	c.subscribe(protocol.Filters("agent-a")...)
	require.NoError(t, h.Publish(t.Context(), topic("agent-a", protocol.KindDesired), []byte(secret), true))
	c.write(publish(1, topic("agent-b", protocol.KindReported), secret)) // the library logs the whole packet
	<-h.refusals
	c.ended()
	h.stop()
	require.Contains(t, log.String(), "error processing packet")
	require.NotContains(t, log.String(), secret)
	require.NotContains(t, log.String(), base64.StdEncoding.EncodeToString([]byte(secret)))
	require.NotContains(t, log.String(), `"level":"warn"`, "a stranger cannot fill the log")
}

func TestNew(t *testing.T) {
	_, err := New(Options{})
	require.ErrorContains(t, err, "handler")
	h := serve(t, nil)
	_, err = New(Options{Handler: h.o.Handler, Address: h.Addr().String()})
	require.ErrorContains(t, err, "listen for agents: ")
	require.ErrorContains(t, err, "address already in use")
	h.stop()
	ours := h.pipe(t)
	ours.ended()
}
