package activation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"
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

// tester is what a kit needs to fail: a *testing.T, a *testing.B or a *rapid.T.
type tester interface {
	require.TestingT
	Helper()
	Fatalf(format string, args ...any)
}

// kit is one server with a real agent's activation, and a real activation server.
type kit struct {
	t       tester
	las     *exchangetest.Server
	system  *agenttest.System
	stepper *agenttest.Stepper
	carrier *breaking
	order   exchange.Order // of the newest document
	newest  []byte
	said    map[exchange.Digest]protocol.Desired // every document
	log     bytes.Buffer
}

// scratch is a folder of the test, in memory where there is such a file system: these tests sync some hundred thousand times.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "licet-activation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
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
	k := &kit{
		t: t, las: las, order: exchange.Order{Epoch: 1}, carrier: &breaking{Carrier: las.Direct()},
		said: make(map[exchange.Digest]protocol.Desired),
	}
	t.Cleanup(func() { require.NotContains(t, k.log.String(), "secret", "the log names an activation ID") })
	k.system = agenttest.NewSystem(t, agenttest.SystemOptions{Dir: scratch(t), Keys: las.Keys(), ReturnAll: o.returnAll})
	k.stepper = agenttest.NewStepper(t, agenttest.Options{
		Dir: scratch(t), System: k.system, Carrier: k.carrier, Keys: las.Keys, Agent: "agent-1", Logger: zerolog.New(&k.log),
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
	k.said[exchange.DigestOf(payload)] = d
	return payload
}

// altered is the document with a change.
func (k *kit) altered(payload []byte, change func(*protocol.Desired)) []byte {
	k.t.Helper()
	var d protocol.Desired
	require.NoError(k.t, json.Unmarshal(payload, &d))
	change(&d)
	payload, err := json.Marshal(d)
	require.NoError(k.t, err)
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
	k.settle()
	k.agree(counts...)
}

// steps steps n times and returns what the last did.
func (k *kit) steps(n int) (did string) {
	k.t.Helper()
	for range n {
		did = k.stepper.Step()
		k.truthful()
	}
	return did
}

// settle steps until there is nothing to do and returns what was done.
func (k *kit) settle() (did []string) {
	k.t.Helper()
	for range 200 {
		did = append(did, k.steps(1))
		if k.stepper.Idle() {
			return did
		}
	}
	k.t.Fatalf("not idle after %d steps: %q, %v", len(did), did[len(did)-10:], k.stepper.Err())
	return nil
}

// truthful fails if a coordinator could settle on what the agent reports now and be wrong: whatever the activation server
// holds for the host, pending included, must then be in the document or in the receipt.
func (k *kit) truthful() {
	k.t.Helper()
	o := k.stepper.Report().Observed
	if o.InFlight || len(o.Receipt) == 0 {
		return
	}
	receipt, err := exchange.VerifyReceipt(k.las.Keys(), host, o.Receipt)
	require.NoError(k.t, err)
	if receipt.Order != o.Order || k.order != o.Order {
		return
	}
	state, _ := k.las.Host(host)
	for _, right := range k.said[o.Digest].Rights {
		held, pending := at(state, exchange.ActivationID(right.ActivationID))
		proved, _ := receipt.Count(exchange.ActivationID(right.ActivationID).RightID())
		require.LessOrEqual(k.t, held+pending, max(right.Count, proved), "%s: a seat would be freed that is taken", right.Ref)
	}
}

// requests are the messages that were posted, each once.
func (k *kit) requests() int {
	distinct := make(map[exchange.Digest]bool)
	for _, message := range k.carrier.posted {
		distinct[exchange.DigestOf(message)] = true
	}
	return len(distinct)
}

// breaking is a carrier that a test can look through and cut.
type breaking struct {
	agenttest.Carrier
	before func(message []byte) error // nil: nothing
	after  func(answer []byte) ([]byte, error)
	ended  func(message []byte, err error) // what the agent learned of it
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
	if b.ended != nil {
		b.ended(message, err)
	}
	if err == nil && b.after != nil {
		return b.after(answer)
	}
	return answer, err
}
