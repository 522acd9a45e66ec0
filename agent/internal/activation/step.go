package activation

import (
	"context"
	"errors"
	"fmt"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/crash"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Step does the one next thing, or nothing. It does not wait: Outcome.Wait says how long Run would. An error says what was
// tried in vain; it never means that the machine is broken, the next step goes on.
func (m *Machine) Step(ctx context.Context) (Outcome, error) { return m.step(ctx, false) }

// step is Step; a patient one does nothing while a pause lasts.
func (m *Machine) step(ctx context.Context, patient bool) (Outcome, error) {
	m.stepping.Lock()
	defer m.stepping.Unlock()
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	if payload := m.waiting(); payload != nil {
		if wait := m.paused(pauseBegin); patient && wait > 0 {
			return Outcome{Did: "waits for the disk", Wait: wait}, nil
		}
		return m.retake(payload)
	}
	s := m.situation()
	next := decide(s)
	if next.move == rest {
		m.rested(next)
		return Outcome{Did: next.why, Idle: true}, nil
	}
	if wait := m.paused(pauseOf(next.move)); patient && wait > 0 {
		return Outcome{Did: "waits: " + next.why, Wait: wait}, nil
	}
	outcome, err := m.do(ctx, next, s)
	if err != nil {
		err = m.masked(err)
	}
	return outcome, err
}

func (m *Machine) do(ctx context.Context, next decision, s situation) (Outcome, error) {
	switch next.move {
	case beginRequest, beginReport:
		return m.begin(ctx, next, s)
	case postRequest:
		return m.postRequest(ctx)
	case applyResponse:
		return m.applyResponse(ctx)
	case postConfirmation:
		return m.postConfirmation(ctx)
	default:
		return m.readFacts(ctx)
	}
}

// situation is that of this instant.
func (m *Machine) situation() situation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.situationOf(&m.state)
}

// situationOf is called with mu held.
func (m *Machine) situationOf(s *state) situation {
	now := situation{
		desired: s.desired, fresh: m.fresh, needReport: s.NeedReport, fenced: s.Fenced, stopped: s.Stopped,
		refused: s.Refused, facts: m.facts, factsDue: m.factsDue,
	}
	if s.Receipt != nil {
		now.receipt = &s.Receipt.Says
	}
	if s.Exchange != nil {
		now.step = s.Exchange.step()
	}
	return now
}

// rested forgets how long it took, once the order is done.
func (m *Machine) rested(d decision) {
	if !d.done {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rounds = 0
}

// flight is the exchange in flight.
func (m *Machine) flight() *flight {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Exchange
}

func (m *Machine) waiting() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.undone
}

// retake tries again to accept a document that the disk did not take.
func (m *Machine) retake(payload []byte) (Outcome, error) {
	desired, err := protocol.Decode[protocol.Desired](payload)
	if err == nil {
		err = m.take(&desired, payload)
	}
	if err == nil || errors.Is(err, ErrStale) {
		m.mu.Lock()
		m.undone = nil
		m.mu.Unlock()
		m.succeed(pauseBegin)
		return Outcome{Did: "accepted the desired document"}, nil
	}
	return Outcome{Did: "did not accept the desired document", Wait: m.fail(pauseBegin)}, err
}

// begin has the server write a request or a report, and records it before it leaves.
func (m *Machine) begin(ctx context.Context, next decision, s situation) (Outcome, error) {
	m.setBegun(true)
	defer m.setBegun(false)
	f := &flight{Operation: exchange.OperationReport, Order: s.desired.Order, Carriers: s.desired.Carriers}
	var want []exchange.Right
	if next.move == beginRequest {
		f.Operation = exchange.OperationRequest
		for _, right := range next.rights {
			id := exchange.ActivationID(right.ActivationID)
			want = append(want, exchange.Right{ActivationID: id, Count: right.Count})
			f.Asked = append(f.Asked, asked{Ref: right.Ref, Right: id.RightID(), Count: right.Count})
		}
	}
	var err error
	if f.Request, err = m.create(ctx, f, want); err != nil {
		return m.notCreated(ctx, f, err)
	}
	// A crash here: the server knows of a request that is nowhere else. It never left, so the next one replaces it.
	crash.At("activation.request-created")
	m.point("activation.request-created")

	recorded, err := m.update(func(now *state) bool {
		m.mu.Lock()
		still := m.situationOf(now)
		m.mu.Unlock()
		if still.desired == nil || still.desired.Order != f.Order || !decide(still).same(next) {
			return false // something newer came while the server wrote; what it wrote never leaves
		}
		now.Exchange = f
		return true
	})
	if err != nil {
		return Outcome{Did: "did not record a " + f.Operation, Wait: m.fail(pauseBegin)}, err
	}
	m.succeed(pauseBegin)
	m.succeed(pauseFinish)
	if !recorded {
		return Outcome{Did: "dropped a " + f.Operation + ", something newer came"}, nil
	}
	// A crash here: the request is on its way as far as anybody can tell. After the start the same bytes are posted.
	crash.At("activation.request-journalled")
	m.point("activation.request-journalled")
	return Outcome{Did: "created a " + f.Operation + ": " + next.why}, nil
}

func (m *Machine) create(ctx context.Context, f *flight, want []exchange.Right) (message []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.o.CallTimeout)
	defer cancel()
	if f.Operation == exchange.OperationReport {
		message, err = m.o.System.CreateReport(ctx, m.o.Host, f.Order)
	} else {
		message, err = m.o.System.CreateRequest(ctx, m.o.Host, f.Order, want)
	}
	if err == nil && (len(message) == 0 || len(message) > exchange.MaxMessage) {
		err = fmt.Errorf("it has %d bytes", len(message))
	}
	return message, err
}

// notCreated is after a server did not write what it was asked for. If it refused for good, the order stops here: nothing
// left, so nothing is in flight.
func (m *Machine) notCreated(ctx context.Context, f *flight, err error) (Outcome, error) {
	if ctx.Err() != nil {
		return Outcome{}, ctx.Err()
	}
	err = fmt.Errorf("have %s write a %s: %w", m.o.Host, f.Operation, err)
	refusal := (*exchange.Refusal)(nil)
	if !errors.As(err, &refusal) || transient(refusal) || passing(refusal.Code) {
		return Outcome{Did: "the server wrote no " + f.Operation, Wait: m.fail(pauseBegin)}, err
	}
	_, errJournal := m.update(func(s *state) bool {
		if !s.ordered(f.Order) {
			return false
		}
		s.Stopped = refusal.Code.Known()
		return true
	})
	outcome := Outcome{Did: "the server refused to write a " + f.Operation + ": " + string(refusal.Code)}
	if errJournal != nil {
		outcome.Wait = m.fail(pauseBegin)
	}
	return outcome, errors.Join(err, errJournal)
}

func (m *Machine) setBegun(begun bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = begun
}

// readFacts is after an exchange: whether the order is done is judged by what the server says now.
func (m *Machine) readFacts(ctx context.Context) (Outcome, error) {
	f, err := m.refresh(ctx)
	if ctx.Err() != nil {
		return Outcome{}, ctx.Err()
	}
	if err == nil && f.Unanswered != "" {
		err = fmt.Errorf("it does not answer: %s", f.Unanswered)
	}
	if err != nil {
		return Outcome{Did: "did not read the facts", Wait: m.fail(pauseFacts)}, fmt.Errorf("read the facts of %s: %w", m.o.Host, err)
	}
	m.mu.Lock()
	m.facts, m.factsDue = heldBy(f), false
	m.mu.Unlock()
	m.succeed(pauseFacts)
	return Outcome{Did: "read the facts"}, nil
}

func (m *Machine) refresh(ctx context.Context) (bms.Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, m.o.CallTimeout)
	defer cancel()
	if m.o.Refresh != nil {
		return m.o.Refresh(ctx)
	}
	servers, err := m.o.System.Servers(ctx)
	if err != nil {
		return bms.Facts{}, err
	}
	for _, f := range servers {
		if f.HostID == m.o.Host {
			return f, nil
		}
	}
	return bms.Facts{}, bms.ErrNoSuchServer
}
