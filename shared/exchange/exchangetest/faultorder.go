package exchangetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/licet-project/licet/shared/exchange"
)

// Limits of a fault.
const (
	maxStrikes = 1_000_000
	maxMillis  = 10 * 60 * 1000
	maxSeconds = 10 * 366 * 24 * 60 * 60
)

// problem says what is wrong with the order, or nil. The message contains no activation ID.
func (f Fault) problem() error {
	uses, known := faultUses[f.Fault]
	if !known {
		return fmt.Errorf("fault %s is not one of delay, refuse, drop-reply, duplicate, corrupt-signature, shift-clock, rotate-keys, forget-right",
			quoted(f.Fault))
	}
	for field, set := range map[string]bool{
		"after": f.After != "", "count": f.Count != 1, "host": f.Host != "", "operation": f.Operation != "",
		"ms": f.Millis != 0, "seconds": f.Seconds != 0, "code": f.Code != "", "activation_id": f.ActivationID != "",
	} {
		if set && !slices.Contains(uses, field) {
			return fmt.Errorf("%s means nothing to %s", field, f.Fault)
		}
	}
	operations := []string{"", exchange.OperationRequest, exchange.OperationReport, exchange.OperationConfirm, operationRelease}
	switch {
	case f.Count < 1 || f.Count > maxStrikes:
		return fmt.Errorf("count is not between 1 and %d", maxStrikes)
	case !slices.Contains(operations, f.Operation):
		return errors.New("operation is not request, report, confirm or release")
	case f.After != "" && f.After != AfterReceive && f.After != AfterCommit:
		return errors.New("after is not receive or commit")
	case f.Fault == FaultDelay && (f.Millis < 1 || f.Millis > maxMillis):
		return fmt.Errorf("ms is not between 1 and %d", maxMillis)
	case f.Fault == FaultShiftClock && (f.Seconds < -maxSeconds || f.Seconds > maxSeconds):
		return fmt.Errorf("seconds is not between -%d and %d", maxSeconds, maxSeconds)
	case f.Fault == FaultForgetRight && (f.Host == "" || f.ActivationID == ""):
		return errors.New("forget-right names a host and an activation_id")
	}
	if f.Fault == FaultRefuse {
		return f.refuseProblem()
	}
	return nil
}

func (f Fault) refuseProblem() error {
	if _, known := exchange.Meanings[f.Code]; !known {
		return fmt.Errorf("code %s is not a code of the exchange", quoted(string(f.Code)))
	}
	switch {
	case perRight(f.Code) && f.Operation != "" && f.Operation != exchange.OperationRequest:
		return fmt.Errorf("code %s is about a right, and only a request names rights", f.Code)
	case !perRight(f.Code) && f.ActivationID != "":
		return fmt.Errorf("code %s is not about a right, so activation_id means nothing", f.Code)
	}
	return nil
}

// faultUses says which fields each kind reads.
var faultUses = map[string][]string{
	FaultDelay:            {"after", "count", "host", "operation", "ms"},
	FaultRefuse:           {"count", "host", "operation", "code", "activation_id"},
	FaultDropReply:        {"after", "count", "host", "operation"},
	FaultDuplicate:        {"count", "host", "operation"},
	FaultCorruptSignature: {"count", "host", "operation"},
	FaultShiftClock:       {"seconds"},
	FaultRotateKeys:       {},
	FaultForgetRight:      {"host", "activation_id"},
}
