package activation

import (
	"maps"
	"slices"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// How an exchange ends, as changes of the state alone.

// end moves the exchange from in flight to last.
func (s *state) end(step protocol.Step, code exchange.Code) {
	f := s.Exchange
	s.Exchange = nil
	s.Last = &ended{
		Operation: f.Operation, Order: f.Order, Digest: exchange.DigestOf(f.Request), Step: step,
		Asked: f.Asked, Code: code, Carrier: f.Carrier,
	}
}

// passing reports whether the agent gets over the refusal by itself: it reports, compares and asks again, or waits for the
// newer order that must exist. Every other code stands until a person has acted and the order has changed.
func passing(code exchange.Code) bool {
	switch code {
	case exchange.Superseded, exchange.OutOfStep, exchange.ConfirmationPending, exchange.SignatureInvalid,
		exchange.ResponseStale, exchange.ResponseExpired, exchange.ResponseForAnother:
		return true
	}
	return code.Transient()
}

// refuse ends the exchange because the activation server, or the server (byServer), said no. What the activation server
// has done with the request before is not known, so a report comes first.
func (s *state) refuse(code exchange.Code, byServer bool) {
	f := s.Exchange
	current := s.ordered(f.Order)
	s.end(protocol.StepRefused, code)
	s.NeedReport = true
	switch {
	case byServer || !current:
	case code == exchange.Superseded && f.Operation == exchange.OperationRequest:
		s.Fenced = true
	case code == exchange.Superseded || !passing(code):
		s.Stopped = code
	}
}

// settle ends the exchange with a receipt, nil if the driver's servers give none.
func (s *state) settle(receipt *proof) {
	f := s.Exchange
	s.end(protocol.StepConfirmed, "")
	s.NeedReport = false
	if receipt == nil {
		s.learn(f, nil)
		return
	}
	// The sequence of a host never goes back, unless the activation server was restored. Then a receipt says less than the one
	// before, until a report has told the new truth.
	if before := s.Receipt; before != nil && receipt.Says.Sequence < before.Says.Sequence && f.Operation == exchange.OperationRequest {
		s.NeedReport = true
		return
	}
	s.Receipt = receipt
	s.learn(f, &receipt.Says)
}

// learn notes which rights were refused. The receipt is the proof: a right that it shows as asked was not refused, whatever
// the response said, and one that it shows otherwise was, even if nobody said why. Without the latter the same request would
// be made for ever.
func (s *state) learn(f *flight, receipt *exchange.Receipt) {
	if !s.ordered(f.Order) {
		return // another order: a new chance
	}
	refusals := maps.Clone(s.Refused)
	if refusals == nil {
		refusals = make(map[string]refused)
	}
	for _, right := range f.Asked {
		code := f.Codes[right.Ref]
		lowering := right.Count == 0
		if receipt != nil {
			count, _ := receipt.Count(right.Right)
			if lowering = count > right.Count; count == right.Count {
				code = ""
			} else if code == "" {
				code = exchange.Unknown
			}
		}
		if code == "" {
			delete(refusals, right.Ref)
			continue
		}
		refusals[right.Ref] = refused{Code: code.Known(), Lowering: lowering}
	}
	if receipt != nil {
		s.forgive(refusals, *receipt)
	}
	s.Refused = refusals
}

// forgive drops the refusals that the receipt shows to be over.
func (s *state) forgive(refusals map[string]refused, receipt exchange.Receipt) {
	for ref := range refusals {
		at := slices.IndexFunc(s.desired.Rights, func(r protocol.DesiredRight) bool { return r.Ref == ref })
		if at < 0 {
			delete(refusals, ref)
			continue
		}
		right := s.desired.Rights[at]
		if count, _ := receipt.Count(exchange.ActivationID(right.ActivationID).RightID()); count == right.Count {
			delete(refusals, ref)
		}
	}
}
