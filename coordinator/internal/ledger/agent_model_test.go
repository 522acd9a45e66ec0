package ledger

import (
	"maps"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// agent is an agent with its server, as small as the rules of protocol.md allow.
type agent struct {
	server   string
	retained []accepted // every document that was ever at the broker; the last is the retained one
	accepted accepted
	fresh    bool // the retained document was seen since the last start
	fenced   bool // the activation server knows a newer document than the accepted one
	sync     bool // out of step: report first

	inFlight  *inFlight
	installed counts
	sequence  int64 // of the response applied last
	receipt   *exchange.Receipt
	refused   map[string]exchange.Code // under the accepted order
	last      *protocol.Exchange       // as it would be reported
}

type accepted struct {
	Document
	wants counts
}

type inFlight struct {
	order  exchange.Order
	want   counts // nil: a report
	last   int64  // the server's sequence when it was made
	step   protocol.Step
	answer answer
}

func newAgent(server string) *agent {
	return &agent{server: server, installed: counts{}, refused: map[string]exchange.Code{}, fresh: true}
}

func (a *agent) image() *agent {
	copied := *a
	copied.installed, copied.refused = maps.Clone(a.installed), maps.Clone(a.refused)
	if a.inFlight != nil {
		flight := *a.inFlight
		copied.inFlight = &flight
	}
	copied.fresh = false
	return &copied
}

// retain is what the broker does with a document.
func (a *agent) retain(d Document) error {
	desired, err := protocol.Decode[protocol.Desired](d.Payload)
	if err != nil {
		return err
	}
	wants := counts{}
	for _, right := range desired.Rights {
		wants[right.Ref] = right.Count
	}
	a.retained = append(a.retained, accepted{d, wants})
	return nil
}

// accept takes a document if it is newer.
func (a *agent) accept(d accepted) {
	mine := a.accepted
	if d.Order.Epoch < mine.Order.Epoch || d.Order.Epoch == mine.Order.Epoch && d.Generation <= mine.Generation && mine.Digest != "" {
		return
	}
	if d.Order != mine.Order {
		a.refused = map[string]exchange.Code{}
	}
	a.accepted, a.fenced = d, false
}

// next is what the agent would ask for: nothing (false), a report (nil) or a request.
func (a *agent) next() (counts, bool) {
	proved := a.receipt != nil && a.receipt.Order == a.accepted.Order
	switch {
	case a.accepted.Digest == "":
		return nil, false
	case a.sync, a.accepted.Hold && !proved:
		return nil, true
	case a.accepted.Hold, a.fenced:
		return nil, false
	}
	if !a.fresh {
		return nil, false
	}
	for line, want := range a.accepted.wants {
		if a.installed[line] != want && a.refused[line] == "" {
			return a.accepted.wants, true
		}
	}
	return nil, !proved
}

// step does one next thing, if there is one. refuse lets the server refuse the response.
func (a *agent) step(l *las, refuse bool) bool {
	if a.inFlight == nil {
		want, ok := a.next()
		if !ok {
			return false
		}
		a.inFlight = &inFlight{order: a.accepted.Order, want: want, last: a.sequence, step: protocol.StepMade}
		a.note("")
		return true
	}
	f := a.inFlight
	switch f.step {
	case protocol.StepMade:
		f.answer = l.request(a.server, f.order, f.last, f.want)
		switch f.answer.code {
		case "":
			f.step = protocol.StepAnswered
			if f.order == a.accepted.Order {
				maps.Copy(a.refused, f.answer.refused)
			}
			a.note("")
		case exchange.Superseded:
			a.end(f.answer.code)
			a.fenced = f.order == a.accepted.Order
		default:
			a.end(f.answer.code)
			a.fresh = false
		}
	case protocol.StepAnswered:
		if refuse || f.answer.sequence <= a.sequence {
			a.end(exchange.ResponseStale)
			return true
		}
		a.installed, a.sequence = maps.Clone(f.answer.set), f.answer.sequence
		f.step = protocol.StepApplied
		a.note("")
	case protocol.StepApplied:
		l.confirm(a.server, f.answer.sequence)
		receipt := l.receipt(a.server, f.order, f.answer.sequence, f.answer.set)
		a.receipt, a.sync = &receipt, false
		f.step = protocol.StepConfirmed
		a.note("")
		a.inFlight = nil
	}
	return true
}

// end ends the exchange as refused: get into step, then compare again.
func (a *agent) end(code exchange.Code) {
	a.inFlight.step = protocol.StepRefused
	a.note(code)
	a.inFlight, a.sync = nil, true
}

// note keeps what would be reported of the exchange.
func (a *agent) note(code exchange.Code) {
	f := a.inFlight
	a.last = &protocol.Exchange{Digest: ours, Operation: exchange.OperationReport, Order: f.order, Step: f.step, Code: code}
	if f.want == nil {
		return
	}
	a.last.Operation = exchange.OperationRequest
	for line, count := range f.want {
		a.last.Rights = append(a.last.Rights, protocol.ExchangeRight{Ref: line, Count: count, Code: f.answer.refused[line]})
	}
}

// report is what the agent would say now.
func (a *agent) report(rights map[string]exchange.RightID) (protocol.Report, *exchange.Receipt) {
	r := protocol.Report{
		Observed: protocol.Observed{
			Order: a.accepted.Order, Generation: a.accepted.Generation, Digest: a.accepted.Digest, InFlight: a.inFlight != nil,
		},
		Facts:    protocol.Facts{HostID: hostOf(a.server), Role: protocol.RoleTop},
		Exchange: a.last,
	}
	for line, count := range a.installed {
		if count > 0 {
			r.Rights = append(r.Rights, protocol.HeldRight{Right: rights[line], Count: count})
		}
	}
	if a.receipt != nil {
		r.Observed.Receipt = []byte("signed")
	}
	return r, a.receipt
}
