package activation_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/agenttest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

const (
	host   = "HOST-1"
	rightA = exchange.ActivationID("TEST-ACT-secret-A")
	rightB = exchange.ActivationID("TEST-ACT-secret-B")
	seats  = 5 // sold of each
)

var rights = []exchange.ActivationID{rightA, rightB}

// kit is one server with a real agent's activation, and a real activation server.
type kit struct {
	t       testing.TB
	las     *exchangetest.Server
	system  *agenttest.System
	stepper *agenttest.Stepper
	carrier *breaking
	order   exchange.Order // of the newest document
	newest  []byte
}

type kitOptions struct{ returnAll bool }

func newKit(t testing.TB, o kitOptions) *kit {
	t.Helper()
	las, err := exchangetest.New(exchangetest.Options{Orders: exchangetest.Orders{Entitlements: []exchangetest.Entitlement{{
		ID: "TEST-ENT-1", Kind: "commercial", State: exchangetest.StateDeployed,
		Lines: []exchangetest.Line{
			{ActivationID: rightA, PartNumber: "SAMPLE-DEV-100", Count: seats, Start: time.Now().AddDate(0, -1, 0)},
			{ActivationID: rightB, PartNumber: "SAMPLE-SNMP", Count: seats, Start: time.Now().AddDate(0, -1, 0)},
		},
	}}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, las.Close()) })
	k := &kit{t: t, las: las, order: exchange.Order{Epoch: 1}, carrier: &breaking{Carrier: las.Direct()}}
	k.system = agenttest.NewSystem(t, agenttest.SystemOptions{Keys: las.Keys(), ReturnAll: o.returnAll})
	k.stepper = agenttest.NewStepper(t, agenttest.Options{
		System: k.system, Carrier: k.carrier, Keys: las.Keys, Agent: "agent-1",
	})
	return k
}

// want is a new desired document; counts are of A and B, and a right that is not counted is not named.
func (k *kit) want(counts ...int) []byte {
	k.t.Helper()
	k.order.Generation++
	return k.document(protocol.Desired{}, counts...)
}

// document completes a desired document under the present order.
func (k *kit) document(d protocol.Desired, counts ...int) []byte {
	k.t.Helper()
	d.V, d.Agent, d.Server, d.Host, d.Order = 1, "agent-1", protocol.ServerName(host), host, k.order
	d.Generation = max(d.Generation, k.order.Generation)
	d.Carriers = []string{protocol.CarrierDirect}
	for i, count := range counts {
		d.Rights = append(d.Rights, protocol.DesiredRight{
			Ref: "ref-" + string(rune('a'+i)), PartNumber: "SAMPLE", Count: count, ActivationID: rights[i].Reveal(),
		})
	}
	payload, err := json.Marshal(d)
	require.NoError(k.t, err)
	k.newest = payload
	return payload
}

// agree fails unless server and activation server both hold the counts, nothing is pending, and the newest receipt proves it
// under the newest order.
func (k *kit) agree(counts ...int) {
	k.t.Helper()
	state, _ := k.las.Host(host)
	report := k.stepper.Report()
	receipt, err := exchange.VerifyReceipt(k.las.Keys(), host, report.Observed.Receipt)
	require.NoError(k.t, err)
	require.Equal(k.t, k.order, receipt.Order)
	require.False(k.t, report.Observed.InFlight)
	require.Equal(k.t, exchange.DigestOf(k.newest), report.Observed.Digest)
	for i, count := range counts {
		held, pending := at(state, rights[i])
		require.Equal(k.t, count, k.system.Held(host)[rights[i]], "held by the server, right %d", i)
		require.Equal(k.t, count, held, "at the activation server, right %d", i)
		require.Zero(k.t, pending, "pending, right %d", i)
		proved, _ := receipt.Count(rights[i].RightID())
		require.Equal(k.t, count, proved, "proved, right %d", i)
	}
}

func at(state exchange.HostState, id exchange.ActivationID) (held, pending int) {
	for _, right := range state.Rights {
		if right.ActivationID == id.Reveal() {
			return right.Count, right.Pending
		}
	}
	return 0, 0
}

func (k *kit) deliver(payload []byte) {
	k.t.Helper()
	require.NoError(k.t, k.stepper.Deliver(payload))
}

// activate brings the server to the counts.
func (k *kit) activate(counts ...int) {
	k.t.Helper()
	k.deliver(k.want(counts...))
	k.stepper.StepUntilIdle()
	k.agree(counts...)
}

// steps steps n times and returns what the last did.
func (k *kit) steps(n int) (did string) {
	k.t.Helper()
	for range n {
		did = k.stepper.Step()
	}
	return did
}

// breaking is a carrier that a test can look through and cut.
type breaking struct {
	agenttest.Carrier
	before func(message []byte) error // nil: nothing
	after  func(answer []byte) ([]byte, error)
	posted [][]byte
}

var errCut = errors.New("the line is cut")

func (b *breaking) Post(ctx context.Context, message []byte) ([]byte, error) {
	b.posted = append(b.posted, message)
	if b.before != nil {
		if err := b.before(message); err != nil {
			return nil, err
		}
	}
	answer, err := b.Carrier.Post(ctx, message)
	if err == nil && b.after != nil {
		return b.after(answer)
	}
	return answer, err
}
