package activation_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

// BenchmarkActivationLoopback is one whole exchange: a desired document comes, request, response, confirmation and receipt
// go over HTTP on loopback, the journal and the server's store are on the disk, the facts are read again.
func BenchmarkActivationLoopback(b *testing.B) {
	orders := exchangetest.Orders{Entitlements: []exchangetest.Entitlement{{
		ID: "TEST-ENT-1", Kind: "commercial", State: exchangetest.StateDeployed, Lines: []exchangetest.Line{
			{ActivationID: rightA, PartNumber: "SAMPLE-DEV-100", Count: seats, Start: time.Now().AddDate(0, -1, 0)},
		},
	}}}
	las := exchangetest.Start(b, exchangetest.Options{Orders: orders, Dir: b.TempDir()})
	system, err := bmstest.New(bmstest.Options{Dir: b.TempDir(), Servers: []bmstest.Server{{HostID: host}}, Keys: las.Keys()})
	require.NoError(b, err)
	machine, err := activation.Open(activation.Options{
		Dir: b.TempDir(), System: system, Host: host, Keys: las.Keys,
		Carriers: func() map[string]activation.Carrier {
			return map[string]activation.Carrier{protocol.CarrierDirect: las.Client}
		},
	})
	require.NoError(b, err)
	ctx := context.Background()
	facts, err := system.Servers(ctx)
	require.NoError(b, err)
	machine.FactsChanged(facts[0])
	exchanges := 0
	for b.Loop() {
		exchanges++
		payload, err := protocol.Encode(protocol.Desired{
			V: 1, Agent: "agent-1", Server: protocol.ServerName(host), Host: host,
			Order: exchange.Order{Epoch: 1, Generation: int64(exchanges)}, Generation: int64(exchanges),
			Rights:   []protocol.DesiredRight{{Ref: "ref-a", Count: exchanges % 2, ActivationID: rightA.Reveal()}},
			Carriers: []string{protocol.CarrierDirect},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := machine.Accept(payload); err != nil {
			b.Fatal(err)
		}
		for {
			outcome, err := machine.Step(ctx)
			if err != nil {
				b.Fatal(err)
			}
			if outcome.Idle {
				break
			}
		}
	}
	b.StopTimer()
	receipt, err := exchange.VerifyReceipt(las.Keys(), host, machine.Observed().Receipt)
	require.NoError(b, err)
	require.EqualValues(b, exchanges, receipt.Sequence, "each was one exchange")
}
