package broker

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/protocol"
)

func TestAcknowledgedAfterTheCommit(t *testing.T) {
	h := serve(t, func(_ *Options, h *house) { h.answers = make(chan error) })
	c := connected(t, h, "agent-a", nil)
	token := c.Publish(topic("agent-a", protocol.KindReported), 1, false, "report")
	require.Equal(t, Message{"agent-a", topic("agent-a", protocol.KindReported), []byte("report")}, <-h.messages)
	require.False(t, token.WaitTimeout(20*time.Millisecond), "acknowledged before the commit")
	h.answers <- nil
	require.True(t, token.WaitTimeout(10*time.Second))
	require.NoError(t, token.Error())
}

// TestNotTaken: a message that could not be taken is not acknowledged, and nothing said after it overtakes it.
func TestNotTaken(t *testing.T) {
	h := serve(t, func(_ *Options, h *house) { h.answers = make(chan error, 10) })
	c := h.tcp(t)
	c.connect("agent-a")
	h.answers <- nil
	c.write(publish(1, topic("agent-a", protocol.KindReported), "first"))
	require.EqualValues(t, 1, c.next().(*packets.PubackPacket).MessageID)
	var both bytes.Buffer
	require.NoError(t, publish(2, topic("agent-a", protocol.KindReported), "second").Write(&both))
	require.NoError(t, publish(3, topic("agent-a", protocol.KindReported), "third").Write(&both))
	h.answers <- errors.New("the disk is full")
	h.answers <- nil // must not be used
	_, err := c.conn.Write(both.Bytes())
	require.NoError(t, err)
	p, err := packets.ReadPacket(c.read)
	require.Error(t, err, "got %v", p)
	again := h.tcp(t)
	again.connect("agent-a")
	again.write(publish(2, topic("agent-a", protocol.KindReported), "second"))
	require.EqualValues(t, 2, again.next().(*packets.PubackPacket).MessageID)
	h.stop()
	var said []string
	for len(h.messages) > 0 {
		said = append(said, string((<-h.messages).Payload))
	}
	require.Equal(t, []string{"first", "second", "second"}, said)
}

func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := serve(t, func(o *Options, h *house) { o.Address = ""; h.answers = make(chan error) })
		c := h.pipe(t)
		c.connect("agent-a")
		began := time.Now()
		c.write(publish(1, topic("agent-a", protocol.KindReported), "report"))
		_, err := packets.ReadPacket(c.read)
		require.Error(t, err)
		require.Equal(t, 10*time.Second, time.Since(began))
		h.stop()
	})
}

func TestHandlerPanics(t *testing.T) {
	var log notes
	h := serve(t, func(o *Options, _ *house) {
		handler := o.Handler
		o.Handler = func(ctx context.Context, m Message, done func(error)) {
			if string(m.Payload) == "bad" {
				panic("out of range")
			}
			handler(ctx, m, done)
		}
		o.Logger = zerolog.New(&log)
	})
	c := h.tcp(t)
	c.connect("agent-a")
	c.write(publish(1, topic("agent-a", protocol.KindReported), "bad"))
	c.ended()
	again := h.tcp(t)
	again.connect("agent-b")
	again.write(publish(1, topic("agent-b", protocol.KindReported), "good"))
	again.next()
	h.stop()
	require.Contains(t, log.String(), "out of range")
}

// TestHeartbeatNotTaken: there is no acknowledgment to withhold, so the connection stays.
func TestHeartbeatNotTaken(t *testing.T) {
	h := serve(t, func(_ *Options, h *house) { h.answers = make(chan error, 2) })
	c := connected(t, h, "agent-a", nil)
	h.answers <- errors.New("the disk is full")
	h.answers <- nil
	c.Publish(topic("agent-a", protocol.KindHeartbeat), 0, false, "one")
	token := c.Publish(topic("agent-a", protocol.KindReported), 1, false, "two")
	require.True(t, token.WaitTimeout(10*time.Second))
	require.NoError(t, token.Error())
	require.Equal(t, "one", string((<-h.messages).Payload))
	require.Equal(t, "two", string((<-h.messages).Payload))
}

func TestTooLarge(t *testing.T) {
	h := serve(t, nil)
	c := h.tcp(t)
	c.connect("agent-a")
	c.write(publish(1, topic("agent-a", protocol.KindReported), strings.Repeat("x", protocol.MaxPayload)))
	require.EqualValues(t, 1, c.next().(*packets.PubackPacket).MessageID, "the largest document fits")
	require.Len(t, (<-h.messages).Payload, protocol.MaxPayload)
	_ = publish(2, topic("agent-a", protocol.KindReported), strings.Repeat("x", protocol.MaxPayload+packetMargin)).Write(c.conn)
	require.Equal(t, refusal{"agent-a", "", ErrTooLarge}, <-h.refusals)
	c.ended()

	stranger := h.tcp(t)
	hello := connect("agent-a", 4)
	hello.WillFlag, hello.WillTopic, hello.WillMessage = true, topic("agent-a", protocol.KindPresence), make([]byte, 65_000)
	hello.PasswordFlag, hello.UsernameFlag, hello.Username = true, true, "u"
	hello.Password = make([]byte, 65_000)
	var hello2 bytes.Buffer
	require.NoError(t, hello.Write(&hello2))
	header := append([]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, hello2.Bytes()...) // says that it has 256 MiB
	_, err := stranger.conn.Write(header[:100])
	require.NoError(t, err)
	require.Equal(t, refusal{"", "", ErrTooLarge}, <-h.refusals)
	stranger.ended()
	require.Empty(t, h.messages)
}

func TestWho(t *testing.T) {
	h := serve(t, nil)
	for name, ok := range map[string]bool{
		"agent-a": true, strings.Repeat("a", 36): true,
		"": false, "Agent-A": false, "agent a": false, "!live": false, "a/b": false, "+": false, strings.Repeat("a", 37): false,
	} {
		c := h.tcp(t)
		c.write(connect(name, 4))
		code := c.next().(*packets.ConnackPacket).ReturnCode
		if ok {
			require.EqualValues(t, packets.Accepted, code, name)
			continue
		}
		require.NotEqualValues(t, packets.Accepted, code, name)
		c.ended()
		require.ErrorIs(t, (<-h.refusals).err, ErrForbidden)
	}
	for _, version := range []byte{3, 5} {
		c := h.tcp(t)
		var hello bytes.Buffer
		require.NoError(t, connect("agent-a", version).Write(&hello))
		packet := hello.Bytes()
		if version == 5 { // no properties: one byte more after the keep-alive
			packet = append(packet[:12:12], append([]byte{0}, packet[12:]...)...)
			packet[1]++
		}
		_, err := c.conn.Write(packet)
		require.NoError(t, err)
		first, err := c.read.Peek(4)
		require.NoError(t, err)
		require.NotZero(t, first[3], "version %d is let in", version)
		c.ended()
	}
}

func TestWillOfAnother(t *testing.T) {
	h := serve(t, nil)
	for _, will := range []string{
		topic("agent-b", protocol.KindPresence), topic("agent-a", protocol.KindDesired), topic("agent-a", protocol.KindReported), "x",
	} {
		c := h.tcp(t)
		hello := connect("agent-a", 4)
		hello.WillFlag, hello.WillTopic, hello.WillMessage = true, will, []byte("{}")
		c.write(hello)
		require.NotEqualValues(t, packets.Accepted, c.next().(*packets.ConnackPacket).ReturnCode, will)
		require.Equal(t, refusal{"agent-a", will, ErrForbidden}, <-h.refusals)
	}
	require.Empty(t, h.messages)
}

func TestMayPublish(t *testing.T) {
	h := serve(t, nil)
	for _, forbidden := range []string{
		topic("agent-b", protocol.KindReported), topic("agent-b", protocol.KindPresence), topic("agent-a", protocol.KindDesired),
		topic("agent-a", protocol.KindSettings), topic("agent-a", protocol.KindAsk), "licet/v1/a/agent-a/x", "licet/v1/a/agent-a/s/Not An Identifier/reported", "other",
	} {
		c := h.tcp(t)
		c.connect("agent-a")
		c.write(publish(1, forbidden, "{}"))
		require.Equal(t, refusal{"agent-a", forbidden, ErrForbidden}, <-h.refusals, forbidden)
		c.ended()
	}
	require.Empty(t, h.messages)
}

func TestWill(t *testing.T) {
	presence := topic("agent-a", protocol.KindPresence)
	will := func(o *paho.ClientOptions) { o.SetWill(presence, "gone", 1, true) }
	t.Run("an abrupt end", func(t *testing.T) {
		h := serve(t, nil)
		c := h.tcp(t)
		hello := connect("agent-a", 4)
		hello.WillFlag, hello.WillTopic, hello.WillMessage, hello.WillQos, hello.WillRetain = true, presence, []byte("gone"), 1, true
		c.write(hello)
		c.next()
		require.NoError(t, c.conn.Close())
		require.Equal(t, Message{"agent-a", presence, []byte("gone")}, <-h.messages)
		h.stop()
		require.Empty(t, h.server.Topics.Retained.GetAll())
	})
	t.Run("a clean end", func(t *testing.T) {
		h := serve(t, nil)
		c := connected(t, h, "agent-a", will)
		c.Disconnect(100)
		h.stop()
		require.Empty(t, h.messages)
	})
	t.Run("the coordinator ends", func(t *testing.T) {
		h := serve(t, nil)
		lost := make(chan struct{})
		connected(t, h, "agent-a", func(o *paho.ClientOptions) {
			will(o)
			o.SetConnectionLostHandler(func(paho.Client, error) { close(lost) })
		})
		h.stop()
		<-lost
		require.Empty(t, h.messages)
	})
	t.Run("the agent is there again", func(t *testing.T) {
		h := serve(t, nil)
		lost := make(chan struct{})
		connected(t, h, "agent-a", func(o *paho.ClientOptions) {
			will(o)
			o.SetConnectionLostHandler(func(paho.Client, error) { close(lost) })
		})
		again := connected(t, h, "agent-a", will)
		<-lost
		token := again.Publish(presence, 1, true, "here")
		require.True(t, token.WaitTimeout(10*time.Second))
		again.Disconnect(100)
		h.stop()
		require.Equal(t, "here", string((<-h.messages).Payload))
		require.Empty(t, h.messages)
	})
}
