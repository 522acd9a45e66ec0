package activation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/crash"
	"github.com/licet-project/licet/shared/exchange"
)

// The steps of an exchange in flight. Each can be done again after a crash at any instant.

func (m *Machine) postRequest(ctx context.Context) (Outcome, error) {
	f := m.flight()
	answer, by, err := m.send(ctx, f, f.Request)
	if err != nil {
		return m.unanswered(ctx, f, by, fmt.Errorf("post a %s of %s: %w", f.Operation, m.o.Host, err))
	}
	// A crash here: the activation server has committed, nobody else knows. The same bytes get the same response again.
	crash.At("activation.response-received")
	m.point("activation.response-received")
	if err := m.advance(func(f *flight) { f.Response, f.Carrier = answer, by }); err != nil {
		return m.unrecorded(err)
	}
	// A crash here: the response is applied after the start.
	crash.At("activation.response-journalled")
	m.point("activation.response-journalled")
	return Outcome{Did: "received a response"}, nil
}

func (m *Machine) applyResponse(ctx context.Context) (Outcome, error) {
	f := m.flight()
	confirmation, err := m.apply(ctx, f)
	if err != nil {
		err = fmt.Errorf("have %s apply a response: %w", m.o.Host, err)
		if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) && !transient(refusal) {
			return m.refused(f, refusal.Code.Known(), true, err)
		}
		return m.unanswered(ctx, f, f.Carrier, err)
	}
	// A crash here: the server has changed, the journal does not know. Applying the same response again gives the same
	// confirmation.
	crash.At("activation.response-applied")
	m.point("activation.response-applied")
	codes := m.explain(ctx, f)
	if len(confirmation) == 0 {
		_, err := m.update(func(s *state) bool {
			unconfirmed := *s.Exchange
			unconfirmed.Codes = codes
			s.Exchange = &unconfirmed
			s.settle(nil)
			return true
		})
		return m.ended("applied a response, the driver confirms none", err)
	}
	if err := m.advance(func(f *flight) { f.Confirmation, f.Codes = confirmation, codes }); err != nil {
		return m.unrecorded(err)
	}
	// A crash here: the confirmation is posted after the start.
	crash.At("activation.confirmation-journalled")
	m.point("activation.confirmation-journalled")
	return Outcome{Did: "applied a response"}, nil
}

func (m *Machine) apply(ctx context.Context, f *flight) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, m.o.CallTimeout)
	defer cancel()
	confirmation, err := m.o.System.ApplyResponse(ctx, m.o.Host, f.Response)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	confirms := m.facts == nil || m.facts.confirms
	m.mu.Unlock()
	if confirms && len(confirmation) == 0 || len(confirmation) > exchange.MaxMessage {
		return nil, fmt.Errorf("its confirmation has %d bytes", len(confirmation))
	}
	return confirmation, nil
}

// explain asks which rights the response refuses, and why. A driver that cannot tell is no obstacle: the receipt shows which.
func (m *Machine) explain(ctx context.Context, f *flight) map[string]exchange.Code {
	explainer, able := m.o.System.(bms.Explainer)
	if !able || f.Operation != exchange.OperationRequest {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.o.CallTimeout)
	defer cancel()
	refusals, err := explainer.Refused(ctx, m.o.Host, f.Response)
	if err != nil {
		m.o.Logger.Warn().Str("host", string(m.o.Host)).Str("exchange", exchange.DigestOf(f.Request).Short()).
			AnErr("why", m.masked(err)).Msg("the driver does not tell which rights the response refuses")
		return nil
	}
	var codes map[string]exchange.Code
	for _, refusal := range refusals {
		id := exchange.ActivationID(refusal.ActivationID).RightID()
		if at := slices.IndexFunc(f.Asked, func(a asked) bool { return a.Right == id }); at >= 0 {
			if codes == nil {
				codes = make(map[string]exchange.Code)
			}
			codes[f.Asked[at].Ref] = refusal.Code.Known()
		}
	}
	return codes
}

func (m *Machine) postConfirmation(ctx context.Context) (Outcome, error) {
	f := m.flight()
	answer, by, err := m.send(ctx, f, f.Confirmation)
	if err != nil {
		return m.unanswered(ctx, f, by, fmt.Errorf("post a confirmation of %s: %w", m.o.Host, err))
	}
	receipt, err := m.verify(f, answer)
	if err != nil {
		return m.unanswered(ctx, f, by, err)
	}
	// A crash here: the removal is confirmed, nobody else knows. The same bytes get the same receipt again.
	crash.At("activation.confirmation-sent")
	m.point("activation.confirmation-sent")
	_, err = m.update(func(s *state) bool {
		last := *s.Exchange
		last.Carrier = by
		s.Exchange = &last
		s.settle(receipt)
		return true
	})
	if err != nil {
		return m.unrecorded(err)
	}
	// A crash here: the exchange is over, the next report carries the receipt.
	crash.At("activation.receipt-journalled")
	m.point("activation.receipt-journalled")
	return m.ended("settled with a receipt", nil)
}

// verify reads a receipt. One that does not fit is a carrier's: what the activation server said is not known, and it says
// the same again.
func (m *Machine) verify(f *flight, document []byte) (*proof, error) {
	says, err := exchange.VerifyReceipt(m.o.Keys(), string(m.o.Host), document)
	if err != nil {
		return nil, err
	}
	if says.For != exchange.DigestOf(f.Confirmation) || says.Order != f.Order {
		return nil, fmt.Errorf("receipt of %s: %w", m.o.Host, errOtherReceipt)
	}
	return &proof{Document: document, Says: says}, nil
}

var errOtherReceipt = errors.New("it is for another confirmation")

// advance notes the next step of the exchange in flight.
func (m *Machine) advance(change func(f *flight)) error {
	_, err := m.update(func(s *state) bool {
		next := *s.Exchange
		next.Attempt, next.Met, next.Carried = 0, "", false
		change(&next)
		s.Exchange = &next
		return true
	})
	if err == nil {
		m.succeed(pauseFinish)
	}
	return err
}

// unrecorded is after the journal could not be written: the step is done again.
func (m *Machine) unrecorded(err error) (Outcome, error) {
	return Outcome{Did: "did not record what was done", Wait: m.fail(pauseFinish)}, err
}

// ended is after an exchange settled: the facts are read anew before anything is decided, and the next exchange waits if the
// ones before it did not do what they were begun for.
func (m *Machine) ended(did string, err error) (Outcome, error) {
	if err != nil {
		return m.unrecorded(err)
	}
	m.mu.Lock()
	m.facts, m.factsDue = nil, true
	m.mu.Unlock()
	m.succeed(pauseFinish)
	m.nextRound()
	return Outcome{Did: did}, nil
}

// refused ends the exchange in flight with a code.
func (m *Machine) refused(f *flight, code exchange.Code, byServer bool, cause error) (Outcome, error) {
	if code == exchange.OutOfStep && !byServer && m.o.Refetch != nil {
		m.mu.Lock()
		m.fresh = false // before the exchange ends, so that nothing begins in between
		m.mu.Unlock()
		defer m.o.Refetch()
	}
	var wait time.Duration
	if _, err := m.update(func(s *state) bool {
		s.refuse(code, byServer)
		wait = m.nextRound() // before anybody is told that something changed
		return true
	}); err != nil {
		outcome, err := m.unrecorded(err)
		return outcome, errors.Join(cause, err)
	}
	m.succeed(pauseFinish)
	return Outcome{Did: f.Operation + " refused: " + string(code), Wait: wait}, cause
}

// unanswered is after an attempt that ended nothing: the same bytes again, later. A refusal that does end the exchange goes
// to refused.
func (m *Machine) unanswered(ctx context.Context, f *flight, by string, err error) (Outcome, error) {
	if ctx.Err() != nil {
		return Outcome{}, ctx.Err()
	}
	if carried := (*exchange.ErrCarried)(nil); errors.As(err, &carried) {
		return m.carried(by, carried.RetryAfter)
	}
	met, wait := exchange.Unavailable, backoff(f.Attempt+1)
	if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) {
		if !transient(refusal) {
			return m.refused(f, refusal.Code.Known(), false, err)
		}
		met = refusal.Code.Known()
		if refusal.RetryAfter > 0 {
			wait = obey(refusal.RetryAfter)
		}
	} else if code := codeOf(err); code != "" {
		met = code
	}
	m.setPause(pauseFinish, wait)
	if _, errJournal := m.update(func(s *state) bool {
		again := *s.Exchange
		again.Attempt++
		again.Met, again.Carrier = met, by
		s.Exchange = &again
		return true
	}); errJournal != nil {
		err = errors.Join(err, errJournal)
	}
	return Outcome{Did: "no answer: " + string(met), Wait: wait}, err
}

// carried is after a carrier said that a person takes the message. That is no failure.
func (m *Machine) carried(by string, wait time.Duration) (Outcome, error) {
	wait = obey(max(wait, time.Minute))
	m.setPause(pauseFinish, wait)
	_, err := m.update(func(s *state) bool {
		if s.Exchange.Carried && s.Exchange.Carrier == by {
			return false
		}
		waiting := *s.Exchange
		waiting.Carried, waiting.Carrier, waiting.Met = true, by, ""
		s.Exchange = &waiting
		return true
	})
	return Outcome{Did: "a person carries the message", Wait: wait}, err
}

// transient reports whether a refusal says nothing about the message. A gateway in between may speak in problem documents
// too, but knows no code of ours.
func transient(r *exchange.Refusal) bool {
	busy := r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout
	return r.Code.Transient() || r.Code != exchange.ConfirmationPending && r.When() == exchange.RetryLater ||
		r.Code.Known() == exchange.Unknown && busy
}
