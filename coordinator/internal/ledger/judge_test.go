package ledger

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

const (
	ours  = exchange.Digest("1111111111111111111111111111111111111111111111111111111111111111")
	other = exchange.Digest("2222222222222222222222222222222222222222222222222222222222222222")
)

func order(epoch, generation int64) exchange.Order {
	return exchange.Order{Epoch: epoch, Generation: generation}
}

func TestJudge(t *testing.T) {
	settled := Standing{Epoch: 10, Claimed: Claimed{Order: order(10, 3), Generation: 4, Digest: ours}, Sequence: 7}
	adopting := Standing{Epoch: 10, Adopting: true, Claimed: Claimed{Order: order(10, 0), Digest: ours, Hold: true}, Sequence: 7}
	silent := Standing{Epoch: 10, Adopting: true, Sequence: 7}
	accepted := protocol.Observed{Order: order(10, 3), Generation: 4, Digest: ours}
	held := protocol.Observed{Order: order(10, 0), Digest: ours}
	receipt := func(epoch, generation, sequence int64) *exchange.Receipt {
		return &exchange.Receipt{Order: order(epoch, generation), Sequence: sequence}
	}
	observed := func(epoch, orderGeneration, generation int64, digest exchange.Digest) protocol.Observed {
		return protocol.Observed{Order: order(epoch, orderGeneration), Generation: generation, Digest: digest}
	}
	inFlight := accepted
	inFlight.InFlight = true
	heldInFlight := held
	heldInFlight.InFlight = true

	for name, c := range map[string]struct {
		standing Standing
		observed protocol.Observed
		receipt  *exchange.Receipt
		want     Verdict
	}{
		"proof under the order":                   {settled, accepted, receipt(10, 3, 7), Settles},
		"proof of a higher sequence":              {settled, accepted, receipt(10, 3, 9), Settles},
		"no proof":                                {settled, accepted, nil, Waits},
		"a lower sequence":                        {settled, accepted, receipt(10, 3, 6), Waits},
		"proof under an older order":              {settled, accepted, receipt(10, 2, 9), Waits},
		"proof of an older epoch":                 {settled, accepted, receipt(9, 9, 9), Waits},
		"an exchange in flight":                   {settled, inFlight, receipt(10, 3, 9), Waits},
		"an older document accepted":              {settled, observed(10, 2, 2, other), receipt(10, 3, 9), Waits},
		"nothing accepted":                        {settled, protocol.Observed{}, receipt(10, 3, 9), Waits},
		"nothing claimed, nothing accepted":       {silent, protocol.Observed{}, nil, Waits},
		"other bytes at our generation":           {settled, observed(10, 3, 4, other), nil, Ahead},
		"a generation that was never claimed":     {settled, observed(10, 3, 5, other), nil, Ahead},
		"an epoch that never was":                 {settled, observed(11, 1, 1, other), nil, Ahead},
		"an epoch that never was, while adopting": {silent, observed(11, 1, 1, other), nil, Ahead},
		"our epoch, but nothing was claimed":      {silent, observed(10, 1, 1, other), nil, Ahead},
		"an older epoch":                          {silent, observed(9, 99, 99, other), receipt(9, 99, 99), Waits},
		"a receipt under an order never given":    {settled, accepted, receipt(10, 4, 9), Ahead},
		"a receipt of an epoch never given":       {silent, observed(9, 1, 1, other), receipt(11, 0, 9), Ahead},
		"an epoch beyond any clock":               {settled, observed(maxEpoch+1, 1, 1, other), nil, Waits},
		"a receipt beyond any clock":              {settled, accepted, receipt(maxEpoch+1, 1, 9), Waits},
		"proof under hold":                        {adopting, held, receipt(10, 0, 8), Adopts},
		"proof under hold, sequence went back":    {adopting, held, receipt(10, 0, 1), Adopts},
		"hold, no proof yet":                      {adopting, held, nil, Waits},
		"hold, old proof":                         {adopting, held, receipt(9, 3, 9), Waits},
		"hold, exchange in flight":                {adopting, heldInFlight, receipt(10, 0, 9), Waits},
		"adopting without hold: proof of a fence": {silent, protocol.Observed{}, receipt(10, 0, 9), Waits},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, Judge(c.standing, c.observed, c.receipt))
		})
	}
}

// Every small standing and report: a verdict that changes counts needs all of its conditions, each of them alone.
func TestJudgeNeedsEveryCondition(t *testing.T) {
	settles, adopts := 0, 0
	for n := range 1 << 8 {
		bit := func(i int) bool { return n>>i&1 == 1 }
		s := Standing{Epoch: 10, Adopting: bit(0), Sequence: 5, Claimed: Claimed{Order: order(10, 2), Generation: 2, Digest: ours, Hold: bit(1)}}
		o := protocol.Observed{Order: order(10, 2), Generation: 2, Digest: ours, InFlight: bit(2)}
		receipt := &exchange.Receipt{Order: order(10, 2), Sequence: 5}
		if bit(3) {
			o.Order, o.Generation, o.Digest = order(10, 1), 1, other
		}
		if bit(4) {
			receipt.Order = order(10, 1)
		}
		if bit(5) {
			receipt.Sequence = 4
		}
		if bit(6) {
			receipt = nil
		}
		if bit(7) {
			s.Claimed = Claimed{}
			o = protocol.Observed{}
		}
		proof := !bit(2) && !bit(3) && !bit(4) && !bit(6) && !bit(7)
		want := Waits
		switch {
		case bit(7) && !bit(6):
			want = Ahead // the receipt names an order of this epoch, and none was given
		case proof && bit(0) && bit(1):
			want = Adopts
			adopts++
		case proof && !bit(0) && !bit(1) && !bit(5):
			want = Settles
			settles++
		}
		require.Equal(t, want, Judge(s, o, receipt), fmt.Sprintf("%08b", n))
	}
	require.Equal(t, [2]int{1, 2}, [2]int{settles, adopts})
}

func TestSettleCounts(t *testing.T) {
	for name, c := range map[string]struct {
		before                 Counts
		claimed, held, pending int
		want                   Counts
	}{
		"proved":                          {Counts{1, 1, 1, 0}, 1, 1, 0, Counts{1, 1, 1, 1}},
		"returned":                        {Counts{0, 0, 1, 1}, 0, 0, 0, Counts{0, 0, 0, 0}},
		"lowered":                         {Counts{1, 1, 2, 2}, 1, 1, 0, Counts{1, 1, 1, 1}},
		"returned along with another one": {Counts{1, 1, 1, 1}, 1, 0, 0, Counts{1, 1, 1, 0}},
		"a removal waits":                 {Counts{0, 0, 2, 2}, 0, 1, 1, Counts{0, 0, 2, 1}},
		"more than was ever asked":        {Counts{1, 1, 1, 1}, 1, 3, 0, Counts{1, 1, 3, 3}},
		"ordered since":                   {Counts{2, 2, 1, 1}, 1, 1, 0, Counts{2, 2, 1, 1}},
		"wanted since":                    {Counts{1, 0, 1, 1}, 0, 0, 0, Counts{1, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.before.settle(c.claimed, c.held, c.pending)
			require.Equal(t, c.want, got)
			require.LessOrEqual(t, got.Proved, got.Exposed)
		})
	}
}
