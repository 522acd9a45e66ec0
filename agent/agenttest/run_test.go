package agenttest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/agenttest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/mqttconn/mqtttest"
	"github.com/licet-project/licet/shared/protocol"
)

// inProcess is an HTTP client whose network is a function call.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

func states(t *testing.T, broker *mqtttest.Broker) []protocol.State {
	var out []protocol.State
	for _, m := range broker.Published() {
		if topic, err := protocol.ParseTopic(m.Topic); err == nil && topic.Kind == protocol.KindPresence {
			p, err := protocol.Decode[protocol.Presence](m.Payload)
			require.NoError(t, err)
			out = append(out, p.State)
		}
	}
	return out
}

func TestRunIsAWholeAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		las, err := exchangetest.New(exchangetest.Options{Orders: exchangetest.SampleOrders(time.Now())})
		require.NoError(t, err)
		defer func() { require.NoError(t, las.Close()) }()
		broker := mqtttest.New()
		t.Cleanup(broker.Close)
		system := agenttest.NewSystem(t, agenttest.SystemOptions{Keys: las.Keys()})
		o := agenttest.RunOptions{System: system, Open: broker.Open, Dir: t.TempDir(), HTTP: &http.Client{Transport: inProcess{las}}}
		agent := agenttest.Run(t, o)

		keys, err := json.Marshal(las.Keys())
		require.NoError(t, err)
		settings, err := protocol.Encode(protocol.Settings{
			V: 1, Agent: "agent-1", HeartbeatSeconds: 60, ActivationServer: &protocol.ActivationServer{URL: "http://las", Keys: keys},
		})
		require.NoError(t, err)
		broker.Send(protocol.Topic{Agent: "agent-1", Kind: protocol.KindSettings}.String(), settings, true)
		id := exchange.ActivationID("DEMO-ACT-7f3a-0004")
		desired, err := protocol.Encode(protocol.Desired{
			V: 1, Agent: "agent-1", Server: "host-1", Host: "HOST-1", Order: exchange.Order{Epoch: 1, Generation: 1}, Generation: 1,
			Rights:   []protocol.DesiredRight{{Ref: "r", Count: 3, ActivationID: id.Reveal()}},
			Carriers: []string{protocol.CarrierDirect},
		})
		require.NoError(t, err)
		broker.Send(protocol.Topic{Agent: "agent-1", Server: "host-1", Kind: protocol.KindDesired}.String(), desired, true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, map[exchange.ActivationID]int{id: 3}, system.Held("HOST-1"))
		require.Equal(t, []protocol.State{protocol.Online}, states(t, broker))

		agent.Kill()
		synctest.Wait()
		require.Equal(t, []protocol.State{protocol.Online, protocol.Offline}, states(t, broker))

		agent = agenttest.Run(t, o)
		synctest.Wait()
		agent.Stop()
		agent.Stop()
		synctest.Wait()
		require.Equal(t, []protocol.State{protocol.Online, protocol.Offline, protocol.Online, protocol.Stopping}, states(t, broker))
	})
}
