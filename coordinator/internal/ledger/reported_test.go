package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

func TestARightFollowsOnlyTheExchangeThatItIsIn(t *testing.T) {
	current := order(10, 3)
	in := func(step protocol.Step, o exchange.Order) *protocol.Exchange {
		return &protocol.Exchange{Order: o, Step: step, Rights: []protocol.ExchangeRight{{Ref: "line-a", Count: 1}}}
	}
	for step, want := range map[protocol.Step]Stage{
		protocol.StepMade: Asked, protocol.StepAnswered: Answered, protocol.StepApplied: Answered,
		protocol.StepConfirmed: Answered, protocol.StepRefused: Outside,
	} {
		require.Equal(t, want, stageOf(in(step, current), false, current, "line-a"), step)
		require.Equal(t, Outside, stageOf(in(step, current), true, current, "line-a"), "%s, settled", step)
		require.Equal(t, Outside, stageOf(in(step, current), false, current, "line-b"), "%s, another right", step)
		require.Equal(t, Outside, stageOf(in(step, order(10, 2)), false, current, "line-a"), "%s, an older order", step)
	}
	require.Equal(t, Outside, stageOf(nil, false, current, "line-a"))
}

func TestCodeOf(t *testing.T) {
	for name, c := range map[string]struct {
		step       protocol.Step
		whole, own exchange.Code
		want       exchange.Code
		known      bool
	}{
		"made":                               {protocol.StepMade, "", "", "", false},
		"made, the last attempt met":         {protocol.StepMade, exchange.Busy, "", "", false},
		"granted":                            {protocol.StepAnswered, "", "", "", true},
		"confirmed":                          {protocol.StepConfirmed, "", "", "", true},
		"this right refused":                 {protocol.StepAnswered, "", exchange.RightExhausted, exchange.RightExhausted, true},
		"this right refused, confirmed":      {protocol.StepConfirmed, "", exchange.RightExpired, exchange.RightExpired, true},
		"a code of a later version":          {protocol.StepAnswered, "", "right-eaten", exchange.Unknown, true},
		"the host refused":                   {protocol.StepRefused, exchange.HostReturned, "", exchange.HostReturned, true},
		"the server refused, key unknown":    {protocol.StepRefused, exchange.KeyUnknown, "", exchange.KeyUnknown, true},
		"superseded":                         {protocol.StepRefused, exchange.Superseded, "", "", false},
		"out of step":                        {protocol.StepRefused, exchange.OutOfStep, "", "", false},
		"the server refused, a stale answer": {protocol.StepRefused, exchange.ResponseStale, "", "", false},
		"busy for too long":                  {protocol.StepRefused, exchange.Busy, "", "", false},
		"refused without a code":             {protocol.StepRefused, "", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &protocol.Exchange{Step: c.step, Code: c.whole, Rights: []protocol.ExchangeRight{{Ref: "line-a", Code: c.own}}}
			code, known := codeOf(e, "line-a")
			require.Equal(t, c.want, code)
			require.Equal(t, c.known, known)
			code, known = codeOf(e, "line-b")
			require.Empty(t, code)
			require.False(t, known, "a right that is not in the exchange")
		})
	}
	code, known := codeOf(nil, "line-a")
	require.Empty(t, code)
	require.False(t, known)
}

func TestEveryCodeIsPassingOrNot(t *testing.T) {
	for code, meaning := range exchange.Meanings {
		if meaning.Retry == exchange.RetryAfterOperator {
			require.False(t, passing(code), "%s waits for a person: its rights have failed", code)
		}
		if code.Transient() {
			require.True(t, passing(code), "%s passes", code)
		}
	}
}
