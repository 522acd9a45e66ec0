package mqttconn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/shared/mqttconn/mqtttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a connection under test and what it told.
type running struct {
	*Conn
	t    *testing.T
	log  *bytes.Buffer
	stop func()

	mu    sync.Mutex
	wills int
	got   []string
	ups   int
	downs []error
}

func newBroker(t *testing.T) *mqtttest.Broker {
	b := mqtttest.New()
	t.Cleanup(b.Close)
	return b
}

func start(t *testing.T, p *mqtttest.Broker, change func(*Options)) *running {
	r := &running{t: t, log: &bytes.Buffer{}}
	o := Options{
		ClientID:      "agent-1",
		Open:          p.Open,
		Subscriptions: []string{"a/+", "b"},
		Will: func() (string, []byte) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.wills++
			return "will", fmt.Appendf(nil, "%d", r.wills)
		},
		Handle: func(topic string, payload []byte, retained bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, fmt.Sprintf("%s=%s,%t", topic, payload, retained))
		},
		Up:     func(context.Context) { r.mu.Lock(); r.ups++; r.mu.Unlock() },
		Down:   func(err error) { r.mu.Lock(); r.downs = append(r.downs, err); r.mu.Unlock() },
		Logger: zerolog.New(zerolog.SyncWriter(r.log)),
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	require.NoError(t, err)
	r.Conn = c
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	r.stop = func() { cancel(); require.NoError(t, <-done); synctest.Wait() }
	synctest.Wait()
	return r
}

func (r *running) publish(payload string) error {
	return r.Publish(r.t.Context(), "c", 1, false, []byte(payload))
}

func TestConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Send("b", []byte("early"), true)
		r := start(t, p, nil)
		p.Send("a/1", []byte("one"), false)
		p.Send("a/2", []byte("two"), false)
		synctest.Wait()
		require.Equal(t, []string{"b=early,true", "a/1=one,false", "a/2=two,false"}, r.got, "early, in order, with the flag")
		require.Equal(t, 1, r.ups)

		require.NoError(t, r.publish("hello"))
		require.Equal(t, "hello", string(p.Published()[0].Payload))

		connect := p.Connects()[0]
		require.Equal(t, "agent-1", connect.ClientIdentifier)
		require.True(t, connect.CleanSession)
		require.EqualValues(t, 30, connect.Keepalive)
		require.EqualValues(t, 4, connect.ProtocolVersion)
		require.Equal(t, "will", connect.WillTopic)
		require.True(t, connect.WillRetain)
		require.EqualValues(t, 1, connect.WillQos)

		r.stop()
		require.Equal(t, 1, p.Goodbyes(), "a clean end, so that the will is not published")
		require.Equal(t, []error{nil}, r.downs)
		require.ErrorIs(t, r.publish("late"), ErrNotConnected)
	})
}

func TestStaysConnectedWhenNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		r := start(t, p, nil)
		pass(time.Hour) // the bubble's clock: pings go to and fro
		require.Equal(t, 1, p.Attempts())
		require.Empty(t, r.downs)
		r.stop()
	})
}

func TestKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		r := start(t, p, nil)
		var want []string
		for i := range 2_000 {
			p.Send("a/1", []byte(fmt.Sprint(i)), false)
			want = append(want, fmt.Sprintf("a/1=%d,false", i))
		}
		synctest.Wait()
		require.Equal(t, want, r.got)
		r.stop()
	})
}

func TestBrokerAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Behave(func(b *mqtttest.Behavior) { b.Away = true })
		r := start(t, p, nil)
		pass(10 * time.Minute)
		require.Zero(t, r.ups)
		require.Greater(t, p.Attempts(), 10, "60 s at most between attempts")
		require.Less(t, p.Attempts(), 200, "and not in a hurry")
		require.Equal(t, 1, strings.Count(r.log.String(), `"level":"warn"`), "said once:\n%s", r.log)
		p.Behave(func(b *mqtttest.Behavior) { b.Away = false })
		pass(longestPause)
		synctest.Wait()
		require.Equal(t, 1, r.ups)
		r.stop()
	})
}

func TestWillIsOfTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		r := start(t, p, nil)
		for range 3 {
			pass(time.Minute)
			p.Drop()
			pass(time.Minute)
		}
		r.stop()
		var wills []string
		for _, connect := range p.Connects() {
			wills = append(wills, string(connect.WillMessage))
		}
		require.Equal(t, []string{"1", "2", "3", "4"}, wills)
		require.Equal(t, 4, r.ups)
		require.Len(t, r.downs, 4)
		var said []string
		for _, m := range p.Published() {
			require.True(t, m.Will && m.Retained)
			said = append(said, string(m.Payload))
		}
		require.Equal(t, []string{"1", "2", "3"}, said, "each of the connection that broke, none of the one that ended well")
		require.ErrorIs(t, r.downs[0], ErrLost)
	})
}

func TestRefusedSubscriptionIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Behave(func(b *mqtttest.Behavior) {
			b.Grant = func(filter string) byte {
				if filter == "b" {
					return 0x80
				}
				return 1
			}
		})
		r := start(t, p, nil)
		require.NoError(t, r.publish("still reports"))
		for range 2 {
			pass(time.Minute)
			p.Drop()
			pass(time.Minute)
		}
		require.Equal(t, 3, r.ups)
		require.Equal(t, 1, strings.Count(r.log.String(), "refuses a subscription"), r.log.String())
		require.Contains(t, r.log.String(), `"filter":"b","granted":128`)

		p.Behave(func(b *mqtttest.Behavior) { b.Grant = nil })
		p.Drop()
		pass(time.Minute)
		p.Behave(func(b *mqtttest.Behavior) { b.Grant = func(string) byte { return 0x80 } })
		p.Drop()
		pass(time.Minute)
		require.Equal(t, 3, strings.Count(r.log.String(), "refuses a subscription"), "again after it had been granted, and the other filter")
		r.stop()
	})
}

func TestResubscribeBringsWhatIsRetainedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Send("a/1", []byte("kept"), true)
		r := start(t, p, nil)
		require.Equal(t, []string{"a/1=kept,true"}, r.got)
		require.NoError(t, r.Resubscribe(t.Context(), "a/+"))
		synctest.Wait()
		require.Equal(t, []string{"a/1=kept,true", "a/1=kept,true"}, r.got)
		r.stop()
		require.ErrorIs(t, r.Resubscribe(t.Context(), "a/+"), ErrNotConnected)
	})
}

func TestRefusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Behave(func(b *mqtttest.Behavior) { b.Refuse = packets.ErrRefusedNotAuthorised })
		r := start(t, p, nil)
		require.Contains(t, r.log.String(), "not Authorized")
		require.Zero(t, r.ups)
		require.Empty(t, r.downs, "it was never up")
		r.stop()
	})
}

func TestSilentBroker(t *testing.T) {
	silent := func(b *mqtttest.Behavior) { b.Silent = true }
	for name, does := range map[string]struct {
		before, after func(*mqtttest.Behavior)
	}{
		"no CONNACK":  {before: silent},
		"no PINGRESP": {after: silent},
		"never reads": {before: func(b *mqtttest.Behavior) { b.Deaf = func(packets.ControlPacket) bool { return true } }},
		"stops reading": {before: func(b *mqtttest.Behavior) {
			b.Deaf = func(p packets.ControlPacket) bool { _, subscribed := p.(*packets.SubscribePacket); return subscribed }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newBroker(t)
				if does.before != nil {
					p.Behave(does.before)
				}
				r := start(t, p, nil)
				if does.after != nil {
					p.Behave(does.after)
				}
				pass(3 * time.Minute)
				require.GreaterOrEqual(t, p.Attempts(), 2, "given up and tried again")
				r.stop()
			})
		})
	}
}

func TestPublishIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Behave(func(b *mqtttest.Behavior) {
			b.Acknowledge = func(_ string, payload []byte) bool { return string(payload) != "unanswered" }
		})
		r := start(t, p, nil)

		began := time.Now()
		require.ErrorIs(t, r.publish("unanswered"), ErrNoAnswer)
		require.Equal(t, answerTimeout, time.Since(began))
		require.NoError(t, r.publish("the connection is fine"))

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("enough"))
		defer cancel()
		require.ErrorContains(t, r.Publish(ctx, "c", 1, false, []byte("unanswered")), "enough")

		result := make(chan error, 1)
		go func() { result <- r.publish("unanswered") }()
		synctest.Wait()
		p.Drop()
		require.Error(t, <-result, "never a success over a lost connection")
		r.stop()
	})
}

func TestShortLivesMakeItPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		r := start(t, p, nil)
		for range 30 * 60 { // thrown out within a second of each connect, for half an hour
			p.Drop()
			pass(time.Second)
		}
		require.Less(t, p.Attempts(), 2+30*60/30+1)
		require.Greater(t, p.Attempts(), 30*60/62)
		r.stop()
	})
}

func TestSlowHandlerDoesNotStopPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		r := start(t, p, func(o *Options) {
			inner := o.Handle
			o.Handle = func(topic string, payload []byte, retained bool) {
				time.Sleep(time.Hour)
				inner(topic, payload, retained)
			}
		})
		p.Send("a/1", []byte("x"), false)
		p.Send("a/2", []byte("y"), false)
		pass(150 * time.Minute)
		require.Equal(t, []string{"a/1=x,false", "a/2=y,false"}, r.got)
		require.Equal(t, 1, p.Attempts())
		r.stop()
	})
}

func TestOverflowEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		gate := make(chan struct{})
		r := start(t, p, func(o *Options) { o.Handle = func(string, []byte, bool) { <-gate } })
		for range maxWaiting + 2 {
			p.Send("a/1", []byte("x"), false)
		}
		synctest.Wait()
		close(gate)
		pass(time.Minute)
		require.Equal(t, 2, r.ups, "everything that is retained comes again")
		require.ErrorIs(t, r.downs[0], errOverflow)
		r.stop()
	})
}

func TestTooLargePacketEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		r := start(t, p, nil)
		p.Send("a/1", []byte(strings.Repeat("x", maxPacket-10)), false)
		synctest.Wait()
		require.Len(t, r.got, 1)
		p.Send("a/1", []byte(strings.Repeat("x", maxPacket)), false)
		pass(time.Second)
		synctest.Wait()
		require.ErrorContains(t, r.downs[0], "more than 1048576 bytes")
		require.Len(t, r.got, 1)
		r.stop()
	})
}

func TestStopWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newBroker(t)
		p.Behave(func(b *mqtttest.Behavior) { b.Silent = true })
		began := time.Now()
		r := start(t, p, nil)
		r.stop()
		require.Less(t, time.Since(began), time.Second)
		require.Empty(t, r.downs)
	})
}

func TestDialsTheBroker(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	up := make(chan struct{})
	c, err := New(Options{Broker: "tcp://" + listener.Addr().String(), ClientID: "agent-1", Up: func(context.Context) { close(up) }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()

	conn, err := listener.Accept()
	require.NoError(t, err)
	packet, err := packets.ReadPacket(conn)
	require.NoError(t, err)
	require.IsType(t, &packets.ConnectPacket{}, packet)
	require.NoError(t, packets.NewControlPacket(packets.Connack).Write(conn))
	<-up
	cancel()
	packet, err = packets.ReadPacket(conn)
	require.NoError(t, err)
	require.IsType(t, &packets.DisconnectPacket{}, packet)
	require.NoError(t, conn.Close())
	require.NoError(t, <-done)
}

func TestNewRefuses(t *testing.T) {
	for _, broker := range []string{"", "127.0.0.1:1883", "ssl://h:1", "tcp://h", "tcp://:1883", "tcp://h:1/x", "tcp://u:p@h:1", "\x7f"} {
		_, err := New(Options{Broker: broker, ClientID: "a"})
		require.ErrorContains(t, err, "tcp://host:port", broker)
	}
	_, err := New(Options{Broker: "tcp://h:1"})
	require.ErrorContains(t, err, "client ID")
}

func TestBackoff(t *testing.T) {
	var b backoff
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		pause := b.next(false, 0)
		require.Equal(t, want*time.Second, b.ceiling())
		require.Positive(t, pause)
		require.LessOrEqual(t, pause, want*time.Second)
	}
	b.next(true, shortLife)
	require.Equal(t, time.Second, b.ceiling())
	b.next(true, shortLife-1)
	b.next(true, shortLife-1)
	require.GreaterOrEqual(t, b.next(true, shortLife-1), 30*time.Second)
	require.LessOrEqual(t, b.next(true, shortLife), time.Second)
}

func TestFramesFollowAnySplit(t *testing.T) {
	var stream []byte
	for _, length := range []int{0, 1, 127, 128, 16_383, 16_384, 70_000} {
		stream = append(stream, 0x30)
		stream = binary.AppendUvarint(stream, uint64(length))
		stream = append(stream, make([]byte, length)...)
	}
	tooLarge := binary.AppendUvarint([]byte{0x30}, maxPacket+1)
	for _, chunk := range []int{1, 2, 3, 1_000, len(stream)} {
		var f frames
		for rest := stream; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
			require.NoError(t, f.feed(rest[:min(chunk, len(rest))]))
		}
		require.Error(t, f.feed(tooLarge), "chunk %d", chunk)
	}
}

// pass lets the bubble's time go by, and waits until everything that happens then has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
