package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/broker"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// kit is an Ingest on a real database, with what it said.
type kit struct {
	testing.TB
	d       *db.DB
	in      *Ingest
	key     signed.Key
	metrics *prometheus.Registry
	log     *lines
	asked   []string
	session protocol.Session
}

// lines counts what was logged.
type lines struct{ n int }

func (l *lines) Write(p []byte) (int, error) {
	l.n++
	return len(p), nil
}

func newKit(t testing.TB, d *db.DB) *kit {
	key, err := signed.NewKey()
	require.NoError(t, err)
	k := &kit{TB: t, d: d, key: key, metrics: prometheus.NewRegistry(), log: &lines{}}
	k.in, err = New(Options{
		DB: d, Keys: signed.NewKeySet(key.Public()), Metrics: k.metrics, Logger: zerolog.New(k.log),
		Ask: func(agent string) { k.asked = append(k.asked, agent) },
	})
	require.NoError(t, err)
	k.session = protocol.Session{Boot: "boot-1", Connection: 1}
	return k
}

// next is the session of the next document.
func (k *kit) next() protocol.Session {
	k.session.Sequence++
	return k.session
}

// hand gives a message to ingest as the broker does, and returns what the broker is told.
func (k *kit) hand(agent, topic string, payload []byte) (err error) {
	k.Helper()
	called := 0
	k.in.Handle(context.Background(), broker.Message{Agent: agent, Topic: topic, Payload: payload}, func(e error) { called, err = called+1, e })
	require.Equal(k, 1, called, "done is called once")
	return err
}

func (k *kit) say(document any, topic protocol.Topic) {
	k.Helper()
	payload, err := json.Marshal(document)
	require.NoError(k, err)
	require.NoError(k, k.hand(topic.Agent, topic.String(), payload))
}

func (k *kit) online() {
	k.Helper()
	k.say(protocol.Presence{V: 1, Agent: "agent-a", Session: k.next(), State: protocol.Online, At: time.Now()},
		protocol.Topic{Agent: "agent-a", Kind: protocol.KindPresence})
}

func (k *kit) refused(reason Reason) float64 {
	k.Helper()
	return testutil.ToFloat64(k.in.refused.WithLabelValues(string(reason)))
}

func (k *kit) report(n int) protocol.Report {
	host := fmt.Sprintf("H-%d", n)
	return protocol.Report{
		Facts:    protocol.Facts{HostID: host, HostIDType: "ETHERNET", Name: "Server " + host, Type: "AS-P", Version: "7.0.2", Role: protocol.RoleTop, System: "local"},
		Licenses: []protocol.License{{Feature: "snmp", Activated: 1, Source: host}},
		Rights:   []protocol.HeldRight{{Right: exchange.ActivationID("A").RightID(), Count: 1}},
	}
}

// reported is the envelope of a report, and its topic.
func (k *kit) reported(report protocol.Report) (protocol.Reported, protocol.Topic) {
	k.Helper()
	raw, err := json.Marshal(report)
	require.NoError(k, err)
	server := protocol.ServerName(report.Facts.HostID)
	return protocol.Reported{V: 1, Agent: "agent-a", Server: server, Session: k.next(), At: time.Now().UTC(), Report: raw},
		protocol.Topic{Agent: "agent-a", Server: server, Kind: protocol.KindReported}
}
