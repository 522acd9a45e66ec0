package exchange

import "time"

// The reference format: what the simulated BMS server and the simulated License Activation Server say to each other. Only
// those two read it. Every message is a signed.Document: requests are signed by the host's own key, carried in the header
// and pinned by the activation server at first contact; responses are signed by the activation server for the host.

// Media types and signed kinds of the reference format.
const (
	MediaType        = "application/vnd.licet.exchange+json"
	RequestKind      = "licet-request+jws"  // audience: RequestAudience
	ResponseKind     = "licet-response+jws" // audience: the host ID
	RequestAudience  = "license-activation-server"
	OperationRequest = "request" // absolute counts
	OperationConfirm = "confirm" // a response was applied
	OperationReport  = "report"  // changes no right
)

// Host is who asks.
type Host struct {
	ID      string   `json:"id"`
	Type    string   `json:"type"` // FlexNet Operations' deviceIdType, for example ETHERNET
	Aliases []string `json:"aliases,omitempty"`
	Product string   `json:"product"` // server type, for example AS-P
	Version string   `json:"version"`
}

// Request is a request, a report or a confirmation.
type Request struct {
	V            int         `json:"v"`
	ID           string      `json:"id"` // correlation ID, random
	Operation    string      `json:"operation"`
	Host         Host        `json:"host"`
	Rights       []WireRight `json:"rights,omitempty"` // request only; absolute, 0 returns
	Order        Order       `json:"order"`
	LastSequence int64       `json:"last_sequence"`       // the last that the server applied
	Confirms     Digest      `json:"confirms,omitempty"`  // confirm only: digest of the response
	Confirmed    int64       `json:"confirmed,omitempty"` // confirm only: its sequence; covers every removal up to it
	Clock        time.Time   `json:"clock"`
}

// WireRight is a right in the reference format.
type WireRight struct {
	ActivationID string `json:"activation_id"`
	Count        int    `json:"count"`
}

// Result sums up a response.
type Result string

// Results of a response.
const (
	ResultSuccess Result = "success"
	ResultPartial Result = "partial" // some rights were refused
	ResultFailure Result = "failure" // every right that was asked for was refused
)

// Response answers a request or a report. Rights and Licenses are the complete set that the host now holds.
type Response struct {
	V                    int            `json:"v"`
	Request              Digest         `json:"request"` // digest of the request's exact bytes
	Host                 string         `json:"host"`
	Order                Order          `json:"order"`
	Sequence             int64          `json:"sequence"`
	IssuedAt             time.Time      `json:"issued_at"`
	NotAfter             time.Time      `json:"not_after"`
	Result               Result         `json:"result"`
	Rights               []WireRight    `json:"rights"`
	Licenses             []GrantedCount `json:"licenses"`
	Removed              []WireRight    `json:"removed,omitempty"` // what this response takes away
	Refused              []RefusedRight `json:"refused,omitempty"`
	ConfirmationRequired bool           `json:"confirmation_required"`
	ConfirmBy            *time.Time     `json:"confirm_by,omitempty"`
}

// GrantedCount is one feature that a right unlocks.
type GrantedCount struct {
	ActivationID string     `json:"activation_id"`
	Feature      string     `json:"feature"`
	Scope        string     `json:"scope"` // server, or system: a top server's serves every server below it
	Version      string     `json:"version,omitempty"`
	Count        int        `json:"count"`
	Start        time.Time  `json:"start"`
	Expires      *time.Time `json:"expires,omitempty"` // nil is permanent
	GraceDays    int        `json:"grace_days,omitempty"`
}

// RefusedRight is a right that stayed as it was, and why.
type RefusedRight struct {
	ActivationID string `json:"activation_id"`
	Code         Code   `json:"code"`
}
