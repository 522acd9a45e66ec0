package ledger

import (
	"slices"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// stageOf is how far the exchange, as last reported, has come with the right under the order. An exchange whose receipt has
// settled is over, and one that was refused asks for nothing any more.
func stageOf(e *protocol.Exchange, settled bool, order exchange.Order, ref string) Stage {
	if e == nil || settled || e.Order != order || !names(e, ref) {
		return Outside
	}
	switch e.Step {
	case protocol.StepMade:
		return Asked
	case protocol.StepAnswered, protocol.StepApplied, protocol.StepConfirmed:
		return Answered
	}
	return Outside
}

// codeOf is what the exchange says of a refusal of the right: known is false if it says nothing, a known empty code means
// that the right was granted.
func codeOf(e *protocol.Exchange, ref string) (code exchange.Code, known bool) {
	if e == nil {
		return "", false
	}
	at := slices.IndexFunc(e.Rights, func(r protocol.ExchangeRight) bool { return r.Ref == ref })
	switch {
	case at < 0:
		return "", false
	case e.Rights[at].Code != "":
		return e.Rights[at].Code.Known(), true
	case e.Step == protocol.StepRefused && e.Code != "" && !passing(e.Code):
		return e.Code.Known(), true
	case e.Step == protocol.StepAnswered || e.Step == protocol.StepApplied || e.Step == protocol.StepConfirmed:
		return "", true
	}
	return "", false
}

func names(e *protocol.Exchange, ref string) bool {
	return slices.ContainsFunc(e.Rights, func(r protocol.ExchangeRight) bool { return r.Ref == ref })
}

// passing reports whether a refusal of a whole exchange is something that the agent gets over by itself, so that no right
// has failed: it reports, compares and asks again, or waits for the newer order that must exist.
func passing(code exchange.Code) bool {
	switch code {
	case exchange.Superseded, exchange.OutOfStep, exchange.ConfirmationPending, exchange.SignatureInvalid,
		exchange.ResponseStale, exchange.ResponseExpired, exchange.ResponseForAnother:
		return true
	}
	return code.Transient()
}
