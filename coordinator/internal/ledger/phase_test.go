package ledger

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// row is a row of the table in the design, as a predicate of its own words.
type row struct {
	phase Phase
	fits  func(s Situation) bool
}

// table is the design's, in its order; the last row is "otherwise".
var table = []row{
	{Freed, func(s Situation) bool { return s.Want == 0 && s.Ordered == 0 && s.Exposed == 0 }},
	{Failed, func(s Situation) bool { return s.Refused }},
	{Assigned, func(s Situation) bool { return s.Want > s.Ordered }},
	{Returning, func(s Situation) bool { return s.Ordered < s.Exposed && (s.Stage == Outside || s.Stage == Asked) }},
	{ReturnUnconfirmed, func(s Situation) bool { return s.Ordered < s.Exposed && s.Stage == Answered }},
	{Activated, func(s Situation) bool { return s.Ordered == s.Exposed && s.Exposed == s.Proved && s.Current }},
	{Issued, func(s Situation) bool { return s.Ordered == s.Exposed && s.Stage == Answered }},
	{Requested, func(s Situation) bool { return s.Ordered == s.Exposed && s.Stage == Asked }},
	{Ordered, func(Situation) bool { return true }},
}

func TestEverySituationHasThePhaseOfTheFirstRowThatFits(t *testing.T) {
	seen := map[Phase]int{}
	const most = 4
	for n := range most * most * most * most * 2 * 2 * 3 {
		take := func(base int) int { digit := n % base; n /= base; return digit }
		s := Situation{Counts: Counts{take(most), take(most), take(most), take(most)}}
		s.Current, s.Refused, s.Stage = take(2) == 1, take(2) == 1, Stage(take(3))
		if s.Proved > s.Exposed {
			continue // the database does not let it be
		}
		at := slices.IndexFunc(table, func(r row) bool { return r.fits(s) })
		require.Equal(t, table[at].phase, s.Phase(), "%+v", s)
		require.Equal(t, s.Held() == 0, s.Phase() == Freed, "every phase but freed holds seats: %+v", s)
		seen[s.Phase()]++
	}
	for _, phase := range Phases() {
		require.Positive(t, seen[phase], "no situation is %s", phase)
	}
}

// life is one assignment with what surrounds it, as small as the rules allow.
type life struct {
	counts                    Counts
	claimed                   int // count in the document last claimed
	order, claimedOrder       int8
	provedOrder, refusedOrder int8
	stage                     Stage
	stageOrder                int8
}

func (l life) situation() Situation {
	s := Situation{Counts: l.counts, Current: l.provedOrder == l.order, Refused: l.refusedOrder == l.order}
	if l.stageOrder == l.order {
		s.Stage = l.stage
	}
	return s
}

// event is something that happens to a life; it returns false where it cannot happen.
type event struct {
	name   string
	happen func(l life) (life, bool)
}

func events() []event {
	all := []event{
		{"activate", func(l life) (life, bool) {
			if l.counts.Want == l.counts.Ordered && l.refusedOrder != l.order {
				return l, false
			}
			l.counts.Ordered = l.counts.Want
			l.order++
			return l, true
		}},
		{"claim", func(l life) (life, bool) {
			if l.claimedOrder == l.order {
				return l, false
			}
			l.counts, l.claimed, l.claimedOrder = l.counts.claim(), l.counts.Ordered, l.order
			return l, true
		}},
		{"request", func(l life) (life, bool) {
			l.stage, l.stageOrder = Asked, l.claimedOrder
			return l, l.claimedOrder > 0 && l.claimedOrder == l.order
		}},
		{"response", func(l life) (life, bool) {
			ok := l.stage == Asked
			l.stage = Answered
			return l, ok
		}},
		{"refusal", func(l life) (life, bool) {
			ok := l.stage == Asked && l.counts.canFail()
			l.stage, l.refusedOrder = Answered, l.stageOrder
			return l, ok
		}},
		{"response refused", func(l life) (life, bool) {
			ok := l.stage == Answered
			l.stage = Outside
			return l, ok
		}},
	}
	for count := range 3 {
		all = append(all, event{"want", func(l life) (life, bool) {
			l.counts.Want = count
			return l, true
		}}, event{"unassign", func(l life) (life, bool) {
			if l.counts.Want <= count {
				return l, false
			}
			l.counts.Want = count
			if l.counts.Ordered > count {
				l.counts.Ordered = count
				l.order++
			}
			return l, true
		}}, event{"receipt", func(l life) (life, bool) {
			if l.claimedOrder == 0 || count > l.counts.Exposed || l.stage == Asked {
				return l, false
			}
			l.counts, l.provedOrder, l.stage = l.counts.settle(l.claimed, count, 0), l.claimedOrder, Outside
			if l.counts.Proved == l.claimed && l.refusedOrder == l.claimedOrder {
				l.refusedOrder = -1
			}
			return l, true
		}})
	}
	return all
}

func TestEveryExitOfTheTableIsTakenAndNoOtherFrees(t *testing.T) {
	start := life{provedOrder: -1, refusedOrder: -1}
	seen := map[life]bool{start: true}
	edges := map[[2]Phase]map[string]bool{}
	for queue := []life{start}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, e := range events() {
			to, ok := e.happen(from)
			if !ok || to.order > 4 {
				continue
			}
			edge := [2]Phase{from.situation().Phase(), to.situation().Phase()}
			if edges[edge] == nil {
				edges[edge] = map[string]bool{}
			}
			edges[edge][e.name] = true
			if edge[1] == Freed && edge[0] != Freed && e.name != "receipt" {
				require.Contains(t, []Phase{Assigned, Ordered}, edge[0], "%s frees %+v", e.name, from)
			}
			if e.name != "receipt" {
				require.GreaterOrEqual(t, to.counts.Held(), from.counts.Exposed, "%s frees what may be consumed: %+v", e.name, from)
			}
			if !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	for _, exit := range []struct {
		from, to Phase
		by       string
	}{
		{Freed, Assigned, "want"},
		{Failed, Ordered, "activate"},
		{Failed, Returning, "unassign"},
		{Assigned, Ordered, "activate"},
		{Assigned, Freed, "unassign"},
		{Assigned, Activated, "unassign"},
		{Returning, ReturnUnconfirmed, "response"},
		{Returning, Failed, "refusal"},
		{Returning, Assigned, "want"},
		{ReturnUnconfirmed, Freed, "receipt"},
		{ReturnUnconfirmed, Activated, "receipt"},
		{Activated, Returning, "unassign"},
		{Activated, Assigned, "want"},
		{Issued, Activated, "receipt"},
		{Issued, Ordered, "response refused"},
		{Requested, Issued, "response"},
		{Requested, Failed, "refusal"},
		{Ordered, Requested, "request"},
		{Ordered, Returning, "unassign"},
	} {
		require.True(t, edges[[2]Phase{exit.from, exit.to}][exit.by], "%s never leaves for %s by %q: %v", exit.from, exit.to, exit.by, edges[[2]Phase{exit.from, exit.to}])
	}
}
