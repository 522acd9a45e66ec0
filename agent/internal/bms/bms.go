// Package bms is the seam to a system of BMS servers: what a driver can do, and what it tells.
//
// A system is what one driver reaches through one entry, usually a top server: that server and every server below it.
// Drivers are one file each; bmstest has the simulated system that the rest driver is tested against.
package bms

import (
	"context"
	"errors"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// HostID is a server's own name for its hardware, opaque to Licet.
type HostID string

// System reaches the servers of one system. Every call is bounded by its context, and may be made again: a driver keeps
// nothing that a caller has to undo. Calls for one host are never made at the same time; calls for different hosts may be.
//
// A refusal by the server is an *exchange.Refusal. Any other error means that nobody knows what the server did.
type System interface {
	// Servers returns the facts of every server, the entry first. A server that did not answer is in the list with
	// Unanswered set; an error means that not even the entry answered.
	Servers(ctx context.Context) ([]Facts, error)

	// CreateRequest makes the server write a request for the absolute counts; 0 returns. A later request or report of the
	// same host makes the response to an earlier one worthless.
	CreateRequest(ctx context.Context, host HostID, order exchange.Order, want []exchange.Right) ([]byte, error)

	// CreateReport makes the server write a report: it changes no right and gets back into step.
	CreateReport(ctx context.Context, host HostID, order exchange.Order) ([]byte, error)

	// ApplyResponse makes the server apply the response to its newest request, and returns its confirmation. Applying the
	// response that was applied last returns the same confirmation again.
	ApplyResponse(ctx context.Context, host HostID, response []byte) (confirmation []byte, err error)
}

// Explainer is a System whose driver can read which rights a response refuses, and why: Licet itself never looks inside a
// response. It is asked after the response was applied, and may be asked again after a crash. Without it a right that the
// receipt shows unchanged counts as refused with exchange.Unknown.
type Explainer interface {
	Refused(ctx context.Context, host HostID, response []byte) ([]exchange.RefusedRight, error)
}

// ErrNoSuchServer means that the system has no server with this host ID.
var ErrNoSuchServer = errors.New("the system has no server with this host ID")

// Facts are what a server says of itself, and what the driver can do with it.
type Facts struct {
	HostID        HostID
	HostIDType    string
	Name          string
	Type          string // EC, ES, AS-P, ...
	Version       string
	Role          string // protocol.RoleTop or protocol.RoleField
	Parent        HostID // empty for the entry
	PartialReturn bool   // one right can be lowered and the others stay
	Confirms      bool   // responses are confirmed
	Certificate   string // SHA-256 of the served certificate, hexadecimal; empty if not known
	Clock         time.Time
	Licenses      []License
	Rights        []HeldRight
	Violations    []string // features that the server itself says are short
	Unanswered    string   // why the server did not answer; then only HostID is certain
}

// License is one feature as the server's License Information shows it.
type License struct {
	Feature   string
	Version   string
	Required  int
	Used      int
	Available int
	Activated int
	Expires   *time.Time // the earliest; nil is permanent
	Source    HostID     // the server whose license this is: itself, or the top server that covers it
}

// HeldRight is a right in the server's store.
type HeldRight struct {
	ActivationID exchange.ActivationID
	Count        int
}
