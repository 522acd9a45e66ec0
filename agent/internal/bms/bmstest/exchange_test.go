package bmstest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
)

// pair is a simulated system and the reference activation server, with a test in the place of agent and carrier.
type pair struct {
	*testing.T
	sim *bmstest.System
	las *exchangetest.Server
}

func newPair(t *testing.T) pair {
	t.Helper()
	las, err := exchangetest.New(exchangetest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, las.Close()) })
	data, err := os.ReadFile("testdata/servers-demo.csv")
	require.NoError(t, err)
	inventory, err := bmstest.ParseInventory(data)
	require.NoError(t, err)
	sim, err := bmstest.New(bmstest.Options{Dir: t.TempDir(), Servers: inventory.Systems("hq")[0].Servers, Keys: las.Keys()})
	require.NoError(t, err)
	return pair{t, sim, las}
}

func (p pair) request(host bms.HostID, generation int64, want ...exchange.Right) []byte {
	p.Helper()
	request, err := p.sim.CreateRequest(p.Context(), host, exchange.Order{Epoch: 1, Generation: generation}, want)
	require.NoError(p, err)
	return request
}

func (p pair) post(message []byte) []byte {
	p.Helper()
	answer, err := p.las.Direct().Post(p.Context(), message)
	require.NoError(p, err)
	return answer
}

// finish applies the answer to the message, confirms it and returns what the activation server then says of the host.
func (p pair) finish(host bms.HostID, message []byte) exchange.Receipt {
	p.Helper()
	confirmation, err := p.sim.ApplyResponse(p.Context(), host, p.post(message))
	require.NoError(p, err)
	receipt, err := exchange.VerifyReceipt(p.las.Keys(), string(host), p.post(confirmation))
	require.NoError(p, err)
	return receipt
}

func (p pair) facts() []bms.Facts {
	p.Helper()
	facts, err := p.sim.Servers(p.Context())
	require.NoError(p, err)
	return facts
}

func (p pair) code(code exchange.Code, err error) {
	p.Helper()
	var refusal *exchange.Refusal
	require.ErrorAs(p, err, &refusal)
	require.Equal(p, code, refusal.Code)
}

func wants(id exchange.ActivationID, count int) exchange.Right {
	return exchange.Right{ActivationID: id, Count: count}
}

const (
	tier    = exchange.ActivationID("DEMO-ACT-7f3a-0001")
	devices = exchange.ActivationID("DEMO-ACT-7f3a-0003")
	snmp    = exchange.ActivationID("DEMO-ACT-7f3a-0004")
)

func TestASystemIsLicensedAndReturned(t *testing.T) {
	p := newPair(t)
	hosts := p.sim.Hosts()
	for _, f := range p.facts() {
		require.NotEmpty(t, f.Violations)
	}
	receipt := p.finish(hosts[0], p.request(hosts[0], 1, wants(tier, 1), wants(devices, 2)))
	held, pending := receipt.Count(devices.RightID())
	require.Equal(t, []int{2, 0}, []int{held, pending})
	for i, host := range hosts[1:] {
		p.finish(host, p.request(host, 1, wants(snmp, 1)))
		taken, _ := p.las.Consumed(snmp)
		require.Equal(t, i+1, taken)
	}
	facts := p.facts()
	for _, f := range facts {
		require.Empty(t, f.Violations, f.Name)
		require.NotEmpty(t, f.Rights)
	}
	require.Equal(t, bms.License{Feature: "connected.devices", Version: facts[0].Licenses[0].Version, Required: 180, Used: 180, Available: 20, Activated: 200, Source: hosts[0]},
		facts[0].Licenses[0])

	receipt = p.finish(hosts[1], p.request(hosts[1], 2, wants(snmp, 0)))
	require.Empty(t, receipt.Rights)
	require.Empty(t, p.facts()[1].Rights)
	taken, _ := p.las.Consumed(snmp)
	require.Equal(t, len(hosts)-2, taken)
}

func TestARestoredServerGetsBackIntoStepByAReport(t *testing.T) {
	p := newPair(t)
	host := p.sim.Top()
	p.finish(host, p.request(host, 1, wants(devices, 1)))
	image, err := p.sim.Image(host)
	require.NoError(t, err)
	p.finish(host, p.request(host, 2, wants(devices, 3)))
	require.NoError(t, p.sim.Restore(image))
	require.Equal(t, 1, p.facts()[0].Rights[0].Count)

	_, err = p.las.Direct().Post(t.Context(), p.request(host, 2, wants(devices, 3)))
	p.code(exchange.OutOfStep, err)
	report, err := p.sim.CreateReport(t.Context(), host, exchange.Order{Epoch: 1, Generation: 2})
	require.NoError(t, err)
	p.finish(host, report)
	require.Equal(t, 3, p.facts()[0].Rights[0].Count)
}

func TestACloneIsSuspectedByItsSequence(t *testing.T) {
	p := newPair(t)
	host := p.sim.Top()
	p.finish(host, p.request(host, 1, wants(devices, 1)))
	clone, err := p.sim.Clone(t.TempDir())
	require.NoError(t, err)
	p.finish(host, p.request(host, 2, wants(devices, 2)))
	request, err := clone.CreateRequest(t.Context(), host, exchange.Order{Epoch: 1, Generation: 2}, []exchange.Right{wants(devices, 9)})
	require.NoError(t, err)
	_, err = p.las.Direct().Post(t.Context(), request)
	p.code(exchange.OutOfStep, err)
}

func TestNewKeysOfTheActivationServerMustBeGivenToTheServers(t *testing.T) {
	p := newPair(t)
	host := p.sim.Top()
	require.NoError(t, p.las.Fault(exchangetest.Fault{Fault: "rotate-keys"}))
	response := p.post(p.request(host, 1, wants(devices, 1)))
	_, err := p.sim.ApplyResponse(t.Context(), host, response)
	p.code(exchange.KeyUnknown, err)
	p.sim.SetKeys(p.las.Keys())
	_, err = p.sim.ApplyResponse(t.Context(), host, response)
	require.NoError(t, err)
}

func TestRefusedRightsStayAndAreNamed(t *testing.T) {
	p := newPair(t)
	host := p.sim.Top()
	response := p.post(p.request(host, 1, wants(devices, 26), wants(tier, 1)))
	_, err := p.sim.ApplyResponse(t.Context(), host, response)
	require.NoError(t, err)
	refused, err := p.sim.Refused(t.Context(), host, response)
	require.NoError(t, err)
	require.Equal(t, []exchange.RefusedRight{{ActivationID: devices.Reveal(), Code: exchange.RightExhausted}}, refused)
	require.Equal(t, []bms.HeldRight{{ActivationID: tier, Count: 1}}, p.facts()[0].Rights)
}
