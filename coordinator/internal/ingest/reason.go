package ingest

import (
	"errors"

	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/shared/protocol"
)

// Reason is why a message was refused: the value of the label of licet_ingest_refused_total.
type Reason string

// Every reason there is. A refused message changed nothing, and is acknowledged: it would be refused again.
const (
	TooLarge       Reason = "too_large"
	NotJSON        Reason = "not_json"
	Version        Reason = "version"
	Invalid        Reason = "invalid"
	UnknownTopic   Reason = "unknown_topic"
	AgentMismatch  Reason = "agent_mismatch"  // topic, client and payload do not name the same agent
	ServerMismatch Reason = "server_mismatch" // topic, payload and host ID do not name the same server
	Stale          Reason = "stale"           // an older connection or sequence
	RetiredBoot    Reason = "retired_boot"    // a process that another one took over from
	UnknownBoot    Reason = "unknown_boot"    // a process that has not said that it is online
	OtherAgent     Reason = "other_agent"     // another agent looks after this host
	Forbidden      Reason = "forbidden"       // the broker does not let this client speak on this topic
	BadReceipt     Reason = "bad_receipt"     // counted beside: the rest of the report was taken
)

// Reasons are all of them.
var Reasons = []Reason{
	TooLarge, NotJSON, Version, Invalid, UnknownTopic, AgentMismatch, ServerMismatch,
	Stale, RetiredBoot, UnknownBoot, OtherAgent, Forbidden, BadReceipt,
}

// refused is a message that is not taken.
type refused struct {
	reason Reason
	err    error
}

func (r *refused) Error() string { return string(r.reason) + ": " + r.err.Error() }
func (r *refused) Unwrap() error { return r.err }

// refusalOf maps what the rooms below say; nil means that it is no refusal: something of ours failed.
func refusalOf(err error) *refused {
	if known := (*refused)(nil); errors.As(err, &known) {
		return known
	}
	for _, row := range []struct {
		err    error
		reason Reason
	}{
		{protocol.ErrTooLarge, TooLarge},
		{protocol.ErrNotJSON, NotJSON},
		{protocol.ErrVersion, Version},
		{protocol.ErrInvalid, Invalid},
		{fleet.ErrStale, Stale},
		{fleet.ErrRetiredBoot, RetiredBoot},
		{fleet.ErrUnknownBoot, UnknownBoot},
		{fleet.ErrOtherAgent, OtherAgent},
	} {
		if errors.Is(err, row.err) {
			return &refused{row.reason, err}
		}
	}
	return nil
}
