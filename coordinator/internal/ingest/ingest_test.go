package ingest

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Whatever a stranger sends: it is counted by its reason, said once, acknowledged so that it does not come again, and not
// one row of any table is different.
func TestBadInputChangesNothing(t *testing.T) {
	const presence, heartbeat, reported = "licet/v1/a/agent-a/presence", "licet/v1/a/agent-a/heartbeat", "licet/v1/a/agent-a/s/h-1/reported"
	session := func(boot string, connection, sequence int64) protocol.Session {
		return protocol.Session{Boot: boot, Connection: connection, Sequence: sequence}
	}
	say := func(t *testing.T, document any) []byte {
		payload, err := json.Marshal(document)
		require.NoError(t, err)
		return payload
	}
	beat := func(agent string, s protocol.Session) protocol.Heartbeat {
		return protocol.Heartbeat{V: 1, Agent: agent, Session: s, At: time.Now(), Servers: map[string]exchange.Digest{}}
	}
	newer := session("boot-1", 9, 1)
	for name, c := range map[string]struct {
		topic   string
		payload func(t *testing.T, k *kit) []byte
		want    Reason
	}{
		"too large": {reported, func(*testing.T, *kit) []byte { return make([]byte, protocol.MaxPayload+1) }, TooLarge},
		"empty":     {presence, func(*testing.T, *kit) []byte { return nil }, NotJSON},
		"not JSON":  {reported, func(*testing.T, *kit) []byte { return []byte("<html>") }, NotJSON},
		"more than one document": {heartbeat, func(t *testing.T, _ *kit) []byte {
			return append(say(t, beat("agent-a", newer)), "{}"...)
		}, NotJSON},
		"another version": {heartbeat, func(t *testing.T, _ *kit) []byte {
			return []byte(strings.Replace(string(say(t, beat("agent-a", newer))), `"v":1`, `"v":2`, 1))
		}, Version},
		"no version":   {heartbeat, func(*testing.T, *kit) []byte { return []byte(`{"agent":"agent-a"}`) }, Version},
		"a wrong type": {heartbeat, func(*testing.T, *kit) []byte { return []byte(`{"v":1,"agent":7}`) }, Invalid},
		"no session":   {presence, func(*testing.T, *kit) []byte { return []byte(`{"v":1,"agent":"agent-a","state":"online"}`) }, Invalid},
		"a bad report": {reported, func(t *testing.T, k *kit) []byte {
			e, _ := k.reported(protocol.Report{})
			e.Server = "h-1"
			return say(t, e)
		}, Invalid},
		"unknown topic":   {"licet/v1/a/agent-a/whatever", func(*testing.T, *kit) []byte { return []byte(`{}`) }, UnknownTopic},
		"a topic of ours": {"licet/v1/a/agent-a/settings", func(*testing.T, *kit) []byte { return []byte(`{}`) }, UnknownTopic},
		"another agent's topic": {"licet/v1/a/agent-b/heartbeat", func(t *testing.T, _ *kit) []byte {
			return say(t, beat("agent-b", newer))
		}, AgentMismatch},
		"payload names another agent": {heartbeat, func(t *testing.T, _ *kit) []byte { return say(t, beat("agent-b", newer)) }, AgentMismatch},
		"payload names another server": {reported, func(t *testing.T, k *kit) []byte {
			e, _ := k.reported(k.report(2))
			return say(t, e)
		}, ServerMismatch},
		"host ID of another server": {reported, func(t *testing.T, k *kit) []byte {
			e, _ := k.reported(k.report(2))
			e.Server = "h-1"
			return say(t, e)
		}, ServerMismatch},
		"an older sequence":   {heartbeat, func(t *testing.T, _ *kit) []byte { return say(t, beat("agent-a", session("boot-1", 1, 1))) }, Stale},
		"an older connection": {heartbeat, func(t *testing.T, _ *kit) []byte { return say(t, beat("agent-a", session("boot-1", 0, 99))) }, Stale},
		"an older report": {reported, func(t *testing.T, k *kit) []byte {
			report := k.report(1)
			report.Facts.Version = "7.9.9"
			e, _ := k.reported(report)
			e.Session = session("boot-1", 1, 1)
			return say(t, e)
		}, Stale},
		"a retired process": {heartbeat, func(t *testing.T, _ *kit) []byte { return say(t, beat("agent-a", session("boot-0", 1, 99))) }, RetiredBoot},
		"a process that never came online": {heartbeat, func(t *testing.T, _ *kit) []byte {
			return say(t, beat("agent-a", session("boot-7", 1, 1)))
		}, UnknownBoot},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				k := newKit(t, d)
				k.say(protocol.Presence{V: 1, Agent: "agent-a", Session: session("boot-0", 1, 1), State: protocol.Online}, protocol.Topic{Agent: "agent-a", Kind: protocol.KindPresence})
				k.online()
				envelope, topic := k.reported(k.report(1))
				k.say(envelope, topic)
				before, logged := dbtest.Dump(t, d), k.log.n

				payload := c.payload(t, k)
				for range 3 {
					require.NoError(t, k.hand("agent-a", c.topic, payload), "it must not come again")
				}
				require.Equal(t, before, dbtest.Dump(t, d))
				require.InDelta(t, 3, k.refused(c.want), 0)
				require.Equal(t, logged+1, k.log.n, "logged once")
			})
		})
	}
}

func TestReasonsCanBeWatchedBeforeTheyHappen(t *testing.T) {
	d := dbtest.Open(t, dbtest.DSN(t, dbtest.SQLite), db.Options{})
	k := newKit(t, d)
	n, err := testutil.GatherAndCount(k.metrics, "licet_ingest_refused_total")
	require.NoError(t, err)
	require.Equal(t, len(Reasons), n)
}

func TestARefusalIsSaidOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quiet
		said := 0
		for range 150 { // seconds
			if _, say := q.say("agent-a", Stale, time.Now()); say {
				said++
			}
			time.Sleep(time.Second)
		}
		require.Equal(t, 3, said)
		unsaid, say := q.say("agent-b", Stale, time.Now())
		require.True(t, say, "each agent for itself")
		require.Zero(t, unsaid)
	})
}

func TestAnUnchangedReportIsOneRow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		k := newKit(t, d)
		k.online()
		envelope, topic := k.reported(k.report(1))
		k.say(envelope, topic)
		before := dbtest.Dump(t, d, "agents", "servers")
		newest, err := d.Newest(t.Context())
		require.NoError(t, err)

		again, topic := k.reported(k.report(1))
		k.say(again, topic)
		require.Equal(t, before, dbtest.Dump(t, d, "agents", "servers"))
		now, err := d.Newest(t.Context())
		require.NoError(t, err)
		require.Equal(t, newest, now, "nothing is new")
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			server, found, err := fleet.ByTopic(tx, "agent-a", "h-1")
			require.True(t, found)
			require.WithinDuration(t, again.At, server.ReportAt, time.Millisecond)
			return err
		}))
	})
}

func TestHeartbeatAsksForWhatWasMissed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		k := newKit(t, d)
		k.online()
		envelope, topic := k.reported(k.report(1))
		k.say(envelope, topic)
		beat := func(digest exchange.Digest) {
			k.say(protocol.Heartbeat{V: 1, Agent: "agent-a", Session: k.next(), At: time.Now(), Servers: map[string]exchange.Digest{"h-1": digest}},
				protocol.Topic{Agent: "agent-a", Kind: protocol.KindHeartbeat})
		}
		beat(envelope.Digest())
		require.Empty(t, k.asked)
		beat(exchange.DigestOf([]byte("one that got lost")))
		require.Equal(t, []string{"agent-a"}, k.asked)
	})
}

func TestAReceiptThatDoesNotVerifyProvesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		k := newKit(t, d)
		k.online()
		report := k.report(1)
		report.Observed.Receipt = []byte("a receipt, honestly")
		envelope, topic := k.reported(report)
		k.say(envelope, topic)
		require.InDelta(t, 1, k.refused(BadReceipt), 0)
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			_, found, err := fleet.ByTopic(tx, "agent-a", "h-1")
			require.True(t, found, "the facts around it are taken")
			return err
		}))
	})
}

func TestTwoAgentsReportOneHost(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		k := newKit(t, d)
		k.online()
		envelope, topic := k.reported(k.report(1))
		k.say(envelope, topic)
		k.say(protocol.Presence{V: 1, Agent: "agent-b", Session: k.next(), State: protocol.Online}, protocol.Topic{Agent: "agent-b", Kind: protocol.KindPresence})
		envelope, topic = k.reported(k.report(1))
		envelope.Agent, topic.Agent = "agent-b", "agent-b"
		k.say(envelope, topic)
		require.InDelta(t, 1, k.refused(OtherAgent), 0)
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			server, _, err := fleet.ByTopic(tx, "agent-a", "h-1")
			require.True(t, server.CloneSuspected, "frozen for changes")
			return err
		}))
	})
}

func TestAFailureOfOursComesAgain(t *testing.T) {
	d := dbtest.Open(t, dbtest.DSN(t, dbtest.SQLite), db.Options{})
	k := newKit(t, d)
	k.online()
	require.NoError(t, d.Close())
	payload, err := json.Marshal(protocol.Heartbeat{V: 1, Agent: "agent-a", Session: k.next(), Servers: map[string]exchange.Digest{}})
	require.NoError(t, err)
	require.ErrorIs(t, k.hand("agent-a", "licet/v1/a/agent-a/heartbeat", payload), db.ErrClosed, "not acknowledged")
}

// BenchmarkIngestReported is one report from the broker's hand to its acknowledgement, one after the other.
func BenchmarkIngestReported(b *testing.B) {
	for _, changed := range []bool{true, false} {
		name := map[bool]string{true: "changed", false: "unchanged"}[changed]
		b.Run(name, func(b *testing.B) {
			dbtest.EachB(b, func(b *testing.B, d *db.DB) {
				k := newKit(b, d)
				k.online()
				report := k.report(1)
				n := 0
				b.ReportAllocs()
				for b.Loop() {
					if n++; changed {
						report.Licenses[0].Used = n
					}
					envelope, topic := k.reported(report)
					k.say(envelope, topic)
				}
			})
		})
	}
}
