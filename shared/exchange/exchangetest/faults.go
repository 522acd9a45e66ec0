package exchangetest

import (
	"slices"
	"sync"

	"github.com/licet-project/licet/shared/exchange"
)

// Kinds of faults: see the package's documentation.
const (
	FaultDelay            = "delay"
	FaultRefuse           = "refuse"
	FaultDropReply        = "drop-reply"
	FaultDuplicate        = "duplicate"
	FaultCorruptSignature = "corrupt-signature"
	FaultShiftClock       = "shift-clock"
	FaultRotateKeys       = "rotate-keys"
	FaultForgetRight      = "forget-right"
)

// Moments at which a fault can strike.
const (
	AfterReceive = "receive" // the message is here, nothing is changed
	AfterCommit  = "commit"  // everything is durable, the answer is ready
)

// operationRelease is how faults name a release or a fence.
const operationRelease = "release"

// Fault is an order for a fault.
type Fault struct {
	Fault        string        `json:"fault"`
	After        string        `json:"after,omitempty"`     // receive or commit; empty: receive for delay, commit for drop-reply
	Count        int           `json:"count,omitempty"`     // how often it strikes; 0: once
	Host         string        `json:"host,omitempty"`      // empty: any
	Operation    string        `json:"operation,omitempty"` // request, report, confirm or release; empty: any
	Millis       int           `json:"ms,omitempty"`        // delay
	Seconds      int64         `json:"seconds,omitempty"`   // shift-clock: how far the clock is off from now on
	Code         exchange.Code `json:"code,omitempty"`      // refuse
	ActivationID string        `json:"activation_id,omitempty"`
}

// FaultState is a fault that was ordered, and how often it struck. Its activation ID is masked.
type FaultState struct {
	Fault
	Struck int `json:"struck"`
}

// caller is what faults are matched against.
type caller struct{ operation, host string }

func (f Fault) matches(c caller) bool {
	return (f.Host == "" || f.Host == c.host) && (f.Operation == "" || f.Operation == c.operation)
}

// faults are the faults that were ordered, oldest first.
type faults struct {
	mu      sync.Mutex
	ordered []FaultState
}

func (f *faults) add(fault Fault, struck int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ordered = append(f.ordered, FaultState{fault, struck})
}

// strike uses up one of the oldest fault that fits.
func (f *faults) strike(fits func(Fault) bool) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.ordered {
		if state := &f.ordered[i]; state.Struck < state.Count && fits(state.Fault) {
			state.Struck++
			return state.Fault, true
		}
	}
	return Fault{}, false
}

func (f *faults) kind(kind, after string, c caller) (Fault, bool) {
	return f.strike(func(fault Fault) bool {
		return fault.Fault == kind && fault.After == after && fault.matches(c)
	})
}

// refuse is the code that a fault refuses the whole message with.
func (f *faults) refuse(c caller, transient bool) (exchange.Code, bool) {
	fault, ok := f.strike(func(fault Fault) bool {
		return fault.Fault == FaultRefuse && !perRight(fault.Code) && fault.Code.Transient() == transient && fault.matches(c)
	})
	return fault.Code, ok
}

// refuseRight is the code that a fault refuses the change of one right with: a code about returns strikes what is lowered,
// another one whatever changes.
func (f *faults) refuseRight(host, activationID string, from, to int) (exchange.Code, bool) {
	if from == to {
		return "", false
	}
	fault, ok := f.strike(func(fault Fault) bool {
		return fault.Fault == FaultRefuse && perRight(fault.Code) && fault.matches(caller{exchange.OperationRequest, host}) &&
			(fault.ActivationID == "" || fault.ActivationID == activationID) && (to < from || !slices.Contains(returnCodes, fault.Code))
	})
	return fault.Code, ok
}

var (
	returnCodes = []exchange.Code{exchange.WholeServerReturnOnly, exchange.ReturnLimitReached}
	rightCodes  = []exchange.Code{
		exchange.RightUnknown, exchange.RightDenied, exchange.RightExpired,
		exchange.RightNotStarted, exchange.RightExhausted, exchange.RightSuspended,
	}
)

// perRight is true for codes that stand in a response next to one right.
func perRight(code exchange.Code) bool {
	return slices.Contains(rightCodes, code) || slices.Contains(returnCodes, code)
}
