package activation

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

var (
	order    = exchange.Order{Epoch: 7, Generation: 3}
	oldOrder = exchange.Order{Epoch: 7, Generation: 2}
	ids      = []exchange.ActivationID{"A-1", "A-2"}
	refs     = []string{"ref-1", "ref-2"}
)

func desiredOf(hold bool, counts ...int) *protocol.Desired {
	d := &protocol.Desired{Order: order, Generation: 3, Hold: hold}
	for i, count := range counts {
		d.Rights = append(d.Rights, protocol.DesiredRight{Ref: refs[i], Count: count, ActivationID: ids[i].Reveal()})
	}
	return d
}

func heldOf(partial bool, counts ...int) *held {
	h := &held{counts: map[exchange.ActivationID]int{"NOT-LICETS": 4}, partialReturn: partial, confirms: true}
	for i, count := range counts {
		h.counts[ids[i]] = count
	}
	return h
}

func receiptOf(o exchange.Order, counts ...int) *exchange.Receipt {
	r := &exchange.Receipt{V: 1, Order: o, Sequence: 9}
	for i, count := range counts {
		r.Rights = append(r.Rights, exchange.ReceiptRight{Right: ids[i].RightID(), Count: count})
	}
	return r
}

// TestDecideTable names what each row of the rules leads to.
func TestDecideTable(t *testing.T) {
	pending := receiptOf(order, 1, 0)
	pending.Rights[1].Pending = 1
	for name, row := range map[string]struct {
		s      situation
		move   move
		counts []int // of the request
	}{
		"in flight, though a newer document and a report are due": {
			s:    situation{step: protocol.StepMade, desired: desiredOf(true, 0, 0), needReport: true, factsDue: true, stopped: exchange.HostUnknown},
			move: postRequest,
		},
		"answered":                   {s: situation{step: protocol.StepAnswered}, move: applyResponse},
		"applied":                    {s: situation{step: protocol.StepApplied}, move: postConfirmation},
		"no document":                {s: situation{needReport: true, fresh: true, facts: heldOf(true, 1, 1)}},
		"an exchange has just ended": {s: situation{factsDue: true, facts: heldOf(true, 1, 1)}, move: readFacts},
		"hold without proof":         {s: situation{desired: desiredOf(true, 1, 1), receipt: receiptOf(oldOrder, 1, 1)}, move: beginReport},
		"hold with proof":            {s: situation{desired: desiredOf(true, 1, 1), fresh: true, receipt: receiptOf(order, 0, 0), facts: heldOf(true, 0, 0)}},
		"out of step":                {s: situation{desired: desiredOf(false, 1, 1), needReport: true}, move: beginReport},
		"out of step and fenced":     {s: situation{desired: desiredOf(false, 1, 1), needReport: true, fenced: true}, move: beginReport},
		"fenced":                     {s: situation{desired: desiredOf(false, 1, 1), fenced: true, fresh: true, facts: heldOf(true, 0, 0)}},
		"stopped":                    {s: situation{desired: desiredOf(false, 1, 1), stopped: exchange.HostUnknown, needReport: true, fresh: true, facts: heldOf(true, 0, 0)}},
		"facts not known":            {s: situation{desired: desiredOf(false, 1, 1), fresh: true}},
		"raise":                      {s: situation{desired: desiredOf(false, 1, 1), fresh: true, facts: heldOf(true, 0, 1)}, move: beginRequest, counts: []int{1, 1}},
		"raise, not fresh":           {s: situation{desired: desiredOf(false, 1, 1), facts: heldOf(true, 0, 1)}},
		"raise, though a receipt says that it is there": {
			s:    situation{desired: desiredOf(false, 1, 1), fresh: true, facts: heldOf(true, 0, 1), receipt: receiptOf(order, 1, 1)},
			move: beginRequest, counts: []int{1, 1},
		},
		"lower":            {s: situation{desired: desiredOf(false, 1, 0), fresh: true, facts: heldOf(true, 1, 1)}, move: beginRequest, counts: []int{1, 0}},
		"lower, not fresh": {s: situation{desired: desiredOf(false, 1, 0), facts: heldOf(true, 1, 1)}},
		"lower where everything goes back": {
			s:    situation{desired: desiredOf(false, 2, 0), fresh: true, facts: heldOf(false, 1, 1)},
			move: beginRequest, counts: []int{0, 0},
		},
		"the rest after everything went back": {
			s:    situation{desired: desiredOf(false, 2, 0), fresh: true, facts: heldOf(false, 0, 0), receipt: receiptOf(order, 0, 0)},
			move: beginRequest, counts: []int{2, 0},
		},
		"raise where everything goes back": {
			s:    situation{desired: desiredOf(false, 2, 1), fresh: true, facts: heldOf(false, 1, 1)},
			move: beginRequest, counts: []int{2, 1},
		},
		"equal without a receipt":            {s: situation{desired: desiredOf(false, 1, 0), facts: heldOf(true, 1, 0)}, move: beginReport},
		"equal with an old receipt":          {s: situation{desired: desiredOf(false, 1, 0), facts: heldOf(true, 1, 0), receipt: receiptOf(oldOrder, 1, 0)}, move: beginReport},
		"equal, the receipt says other":      {s: situation{desired: desiredOf(false, 1, 0), facts: heldOf(true, 1, 0), receipt: receiptOf(order, 0, 0)}, move: beginReport},
		"equal, something is pending":        {s: situation{desired: desiredOf(false, 1, 0), facts: heldOf(true, 1, 0), receipt: pending}, move: beginReport},
		"equal with a receipt":               {s: situation{desired: desiredOf(false, 1, 0), facts: heldOf(true, 1, 0), receipt: receiptOf(order, 1, 0)}},
		"equal, the driver confirms nothing": {s: situation{desired: desiredOf(false, 1), facts: &held{counts: map[exchange.ActivationID]int{"A-1": 1}}}},
		"a refused raise is not asked for again, the other right is": {
			s: situation{
				desired: desiredOf(false, 2, 1), fresh: true, facts: heldOf(true, 0, 0),
				refused: map[string]refused{"ref-1": {Code: exchange.RightExhausted}},
			},
			move: beginRequest, counts: []int{-1, 1},
		},
		"a refused raise alone": {s: situation{
			desired: desiredOf(false, 2, 1), fresh: true, facts: heldOf(true, 0, 1), receipt: receiptOf(order, 0, 1),
			refused: map[string]refused{"ref-1": {Code: exchange.RightExhausted}},
		}},
		"a refused return does not keep from a raise": {
			s: situation{
				desired: desiredOf(false, 2, 1), fresh: true, facts: heldOf(true, 1, 1),
				refused: map[string]refused{"ref-1": {Code: exchange.ReturnLimitReached, Lowering: true}},
			},
			move: beginRequest, counts: []int{2, 1},
		},
		"a right that is not named is not Licet's": {s: situation{
			desired: desiredOf(false, 1), fresh: true, facts: heldOf(true, 1, 2), receipt: receiptOf(order, 1, 2),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(row.s)
			require.Equal(t, row.move, d.move, d.why)
			require.NotEmpty(t, d.why)
			var want []protocol.DesiredRight
			for i, count := range row.counts {
				if count >= 0 {
					want = append(want, protocol.DesiredRight{Ref: refs[i], Count: count, ActivationID: ids[i].Reveal()})
				}
			}
			require.Equal(t, want, d.rights)
		})
	}
}

// need is the model's function of that name (exchange-model, step.go) under the rules in force, in its own words: 0 nothing,
// 1 request, 2 report. A denial is 1 for a raise, 4 for a lowering, as there.
func need(s situation, denied [2]int) (int, []int) {
	w := []int{s.desired.Rights[0].Count, s.desired.Rights[1].Count}
	under := s.receipt != nil && s.receipt.Order == s.desired.Order
	if s.desired.Hold {
		if !under {
			return 2, nil
		}
		return 0, nil
	}
	if s.needReport {
		return 2, nil
	}
	if s.fenced {
		return 0, nil
	}
	raise, lower := false, false
	for k := range w {
		inst := s.facts.counts[ids[k]]
		raise = raise || inst < w[k] && denied[k] == 0
		lower = lower || inst > w[k] && denied[k] != 4
	}
	switch {
	case lower && s.fresh && !s.facts.partialReturn:
		return 1, []int{0, 0}
	case (lower || raise) && s.fresh:
		return 1, w
	case lower || raise:
		return 0, nil
	case !under:
		return 2, nil
	}
	for k := range w {
		if held, _ := s.receipt.Count(ids[k].RightID()); held != w[k] && denied[k] == 0 {
			return 2, nil
		}
	}
	return 0, nil
}

// TestDecideAgreesWithTheModel walks every situation of two rights with counts 0 to 2.
func TestDecideAgreesWithTheModel(t *testing.T) {
	const counts = 3
	seen := make(map[move]int)
	for bits := range 1 << 5 {
		flag := func(i int) bool { return bits&(1<<i) != 0 }
		for n := range counts * counts * counts * counts {
			want, have := []int{n % 3, n / 3 % 3}, []int{n / 9 % 3, n / 27 % 3}
			for r := range 2*counts*counts + 1 { // none, or (old order, this order) x counts
				var receipt *exchange.Receipt
				if r > 0 {
					receipt = receiptOf([]exchange.Order{oldOrder, order}[(r-1)%2], (r-1)/2%3, (r-1)/6)
				}
				for d := range 9 {
					denied := [2]int{[]int{0, 1, 4}[d%3], []int{0, 1, 4}[d/3]}
					s := situation{
						desired: desiredOf(flag(0), want...), fresh: flag(1), needReport: flag(2), fenced: flag(3),
						facts: heldOf(flag(4), have...), receipt: receipt, refused: make(map[string]refused),
					}
					odd := false // a refused return of a right that is short now: the model waits, we ask
					for k, code := range denied {
						if code != 0 {
							s.refused[refs[k]] = refused{Code: exchange.RightDenied, Lowering: code == 4}
						}
						odd = odd || code == 4 && have[k] < want[k]
					}
					if odd {
						continue
					}
					got := decide(s)
					seen[got.move]++
					kind, rights := need(s, denied)
					if (kind == 1) != (got.move == beginRequest) || (kind == 2) != (got.move == beginReport) {
						t.Fatalf("the model says %d, we do %d (%s): %+v, denied %v", kind, got.move, got.why, s, denied)
					}
					if got.move == beginRequest && len(got.rights) < 2 && denied == [2]int{} {
						t.Fatalf("a right is left out that nobody refused: %+v", s)
					}
					for _, right := range got.rights { // a right that is refused is left out, the others are as in the model
						k := int(right.Ref[4] - '1')
						if right.Count != rights[k] {
							t.Fatalf("the model asks for %v, we for %+v: %+v", rights, got.rights, s)
						}
					}
				}
			}
		}
	}
	require.Positive(t, seen[rest])
	require.Positive(t, seen[beginRequest])
	require.Positive(t, seen[beginReport])
}
