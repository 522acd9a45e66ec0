package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/mqttconn/mqtttest"
	"github.com/licet-project/licet/shared/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name     = "agent-1"
	right    = exchange.ActivationID("DEMO-ACT-7f3a-0004")
	rightRef = "line-4"
)

// site is everything around an agent: a broker, an activation server, a system. All of it lives in the test's bubble.
type site struct {
	t       *testing.T
	broker  *mqtttest.Broker
	las     *exchangetest.Server
	system  *bmstest.System
	data    string
	read    int // messages that the test has looked at
	options func(*Options)

	mu  sync.Mutex
	log bytes.Buffer
}

func newSite(t *testing.T, servers ...bmstest.Server) *site {
	if len(servers) == 0 {
		servers = []bmstest.Server{{HostID: "HOST-1"}}
	}
	las, err := exchangetest.New(exchangetest.Options{Orders: exchangetest.SampleOrders(time.Now())})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, las.Close()) })
	system, err := bmstest.New(bmstest.Options{Dir: t.TempDir(), Servers: servers, Keys: las.Keys()})
	require.NoError(t, err)
	s := &site{t: t, broker: mqtttest.New(), las: las, system: system, data: t.TempDir()}
	t.Cleanup(s.broker.Close)
	return s
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// RoundTrip is the network to the activation server.
func (s *site) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer func() {
		if recover() != nil {
			response, err = nil, errors.New("connection reset")
		}
	}()
	recorder := httptest.NewRecorder()
	s.las.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// run starts an agent; the function that it returns stops it.
func (s *site) run() (stop func()) {
	o := Options{
		Name: name, Data: s.data, Version: "0.1.0", Open: s.broker.Open, Logger: zerolog.New(s),
		Systems: []System{{Name: "local", Driver: s.system}}, HTTP: &http.Client{Transport: s},
	}
	if s.options != nil {
		s.options(&o)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(s.t, <-done)
			synctest.Wait()
		})
	}
	s.t.Cleanup(stop)
	synctest.Wait()
	return stop
}

func (s *site) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func encode[T protocol.Document](t *testing.T, document T) []byte {
	payload, err := protocol.Encode(document)
	require.NoError(t, err)
	return payload
}

func (s *site) topic(kind protocol.Kind, server string) string {
	return protocol.Topic{Agent: name, Server: server, Kind: kind}.String()
}

func (s *site) settings() protocol.Settings {
	keys, err := json.Marshal(s.las.Keys())
	require.NoError(s.t, err)
	return protocol.Settings{
		V: 1, Agent: name, Generation: 1, HeartbeatSeconds: 3_600,
		ActivationServer: &protocol.ActivationServer{URL: "http://las.example", Keys: keys},
	}
}

func (s *site) sendSettings() {
	s.broker.Send(s.topic(protocol.KindSettings, ""), encode(s.t, s.settings()), true)
}

// wish publishes a desired document for one seat count of the right, retained.
func (s *site) wish(host bms.HostID, generation int64, count int) protocol.Desired {
	d := protocol.Desired{
		V: 1, Agent: name, Server: protocol.ServerName(string(host)), Host: string(host),
		Order: exchange.Order{Epoch: 1, Generation: generation}, Generation: generation,
		Rights:   []protocol.DesiredRight{{Ref: rightRef, PartNumber: "SAMPLE-SNMP", Count: count, ActivationID: right.Reveal()}},
		Carriers: []string{protocol.CarrierDirect},
	}
	s.broker.Send(s.topic(protocol.KindDesired, d.Server), encode(s.t, d), true)
	return d
}

func (s *site) ask(nonce string, expires time.Duration) {
	s.broker.Send(s.topic(protocol.KindAsk, ""), encode(s.t, protocol.Ask{V: 1, Agent: name, Nonce: nonce, Expires: time.Now().Add(expires)}), false)
}

// said is a document that the broker got.
type said struct {
	topic   protocol.Topic
	payload []byte
	will    bool
}

func (d said) reported(t *testing.T) (protocol.Reported, protocol.Report) {
	document, err := protocol.Decode[protocol.Reported](d.payload)
	require.NoError(t, err)
	report, err := protocol.DecodeReport(document.Report)
	require.NoError(t, err)
	return document, report
}

func (d said) state(t *testing.T) protocol.State {
	presence, err := protocol.Decode[protocol.Presence](d.payload)
	require.NoError(t, err)
	return presence.State
}

// take returns what the agent said since the last call.
func (s *site) take() []said {
	synctest.Wait()
	all := s.broker.Published()
	var out []said
	for _, m := range all[s.read:] {
		require.NotContains(s.t, string(m.Payload), right.Reveal(), "an activation ID never leaves")
		topic, err := protocol.ParseTopic(m.Topic)
		require.NoError(s.t, err)
		require.True(s.t, protocol.MayPublish(name, m.Topic))
		out = append(out, said{topic, m.Payload, m.Will})
	}
	s.read = len(all)
	return out
}

// kinds are the topics of what was said, shortened.
func kinds(all []said) []string {
	out := []string{}
	for _, d := range all {
		out = append(out, fmt.Sprintf("%s%s", d.topic.Kind, map[bool]string{true: " " + d.topic.Server}[d.topic.Server != ""]))
	}
	return out
}

// newest is the last report of each server in what was said.
func newest(t *testing.T, all []said) map[string]protocol.Report {
	out := make(map[string]protocol.Report)
	for _, d := range all {
		if d.topic.Kind == protocol.KindReported {
			_, out[d.topic.Server] = d.reported(t)
		}
	}
	return out
}

// requireActivated checks that a report says what an activated server's must.
func (s *site) requireActivated(r protocol.Report, d protocol.Desired) {
	s.t.Helper()
	require.Equal(s.t, d.Order, r.Observed.Order)
	require.False(s.t, r.Observed.InFlight)
	require.NotNil(s.t, r.Exchange)
	require.Equal(s.t, protocol.StepConfirmed, r.Exchange.Step)
	receipt, err := exchange.VerifyReceipt(s.las.Keys(), d.Host, r.Observed.Receipt)
	require.NoError(s.t, err)
	require.Equal(s.t, d.Order, receipt.Order)
	held, _ := receipt.Count(right.RightID())
	require.Equal(s.t, d.Rights[0].Count, held)
	if held > 0 {
		require.Equal(s.t, []protocol.HeldRight{{Right: right.RightID(), Count: held}}, r.Rights, "the facts after the exchange")
	}
}
