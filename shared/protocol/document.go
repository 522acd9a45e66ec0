// Package protocol is what travels over MQTT between an agent and the coordinator: topics, documents, limits and their
// codec. Documents are JSON with "v" first and times in RFC 3339, UTC; unknown fields at every level are ignored, so that
// an agent in the field stays readable.
package protocol

import (
	"encoding/json"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Version is the only version of the documents there is.
const Version = 1

// Session orders what one agent says. Boot is random, made at process start, and is never ordered; Connection counts
// connections and Sequence documents within a boot.
type Session struct {
	Boot       string `json:"boot"`
	Connection int64  `json:"connection"`
	Sequence   int64  `json:"sequence"`
}

// LastSequence is the sequence of a will. The will is written before anything else of its connection and said after all
// of it, so with this it comes after its own connection's documents and before every one of the next. JSON readers that
// know only floating point still read it exactly.
const LastSequence = 1<<53 - 1

// After reports whether s was said after other, by the same process.
func (s Session) After(other Session) bool {
	return s.Boot == other.Boot && (s.Connection > other.Connection ||
		s.Connection == other.Connection && s.Sequence > other.Sequence)
}

// State is what an agent says of itself.
type State string

// States of an agent.
const (
	Online   State = "online"
	Stopping State = "stopping" // a clean end
	Offline  State = "offline"  // said by the broker: the agent's will
)

// Presence is an agent's own state, and its will.
type Presence struct {
	V       int       `json:"v"`
	Agent   string    `json:"agent"`
	Session Session   `json:"session"`
	State   State     `json:"state"`
	At      time.Time `json:"at"`
	Version string    `json:"version,omitempty"` // of the agent
}

// Heartbeat says that the agent lives and which reports it has sent, so that the coordinator can ask for what it missed.
type Heartbeat struct {
	V       int                        `json:"v"`
	Agent   string                     `json:"agent"`
	Session Session                    `json:"session"`
	At      time.Time                  `json:"at"`
	Servers map[string]exchange.Digest `json:"servers"` // digest of the last Report of each server, by server name
	Queue   int                        `json:"queue"`   // documents waiting to be published
}

// Reported carries one server's Report. The report is a part of its own, kept as exact bytes, so that an unchanged one
// is recognized by its digest without being read.
type Reported struct {
	V       int             `json:"v"`
	Agent   string          `json:"agent"`
	Server  string          `json:"server"`
	Session Session         `json:"session"`
	At      time.Time       `json:"at"`
	Asked   string          `json:"asked,omitempty"` // nonce of the Ask that this answers
	Report  json.RawMessage `json:"report"`          // a Report
}

// Digest is the digest of the report's exact bytes.
func (r Reported) Digest() exchange.Digest { return exchange.DigestOf(r.Report) }

// Report is everything an agent knows of one server.
type Report struct {
	Observed     Observed     `json:"observed"`
	Facts        Facts        `json:"facts"`
	Connectivity []Check      `json:"connectivity,omitempty"`
	Licenses     []License    `json:"licenses"`
	Rights       []HeldRight  `json:"rights"`             // what the server's store holds, Licet's or not
	Exchange     *Exchange    `json:"exchange,omitempty"` // in flight, or the last one under the accepted order
	Clock        *ClockOffset `json:"clock,omitempty"`
}

// Observed is how far the agent has come with the desired document. Epoch, generation and digest are of the document that
// it accepted last; the zero value means that it never accepted one.
type Observed struct {
	Order      exchange.Order  `json:"order"`
	Generation int64           `json:"generation"`
	Digest     exchange.Digest `json:"digest,omitempty"`
	InFlight   bool            `json:"in_flight"`         // an exchange is begun and neither confirmed nor refused
	Receipt    []byte          `json:"receipt,omitempty"` // newest receipt, as it was signed
}

// Facts are what a server says of itself.
type Facts struct {
	HostID        string   `json:"host_id"`
	HostIDType    string   `json:"host_id_type"`
	Name          string   `json:"name,omitempty"`
	Type          string   `json:"type"`    // EC, ES, AS-P, ...
	Version       string   `json:"version"` // Major.Minor.Maintenance[.Build]
	Role          string   `json:"role"`    // top or field
	Parent        string   `json:"parent,omitempty"`
	System        string   `json:"system"` // name of the system in the agent's own file
	Abilities     []string `json:"abilities,omitempty"`
	AgentVersion  string   `json:"agent_version,omitempty"`
	Violations    []string `json:"violations,omitempty"` // features that the server itself says are short
	Unanswered    string   `json:"unanswered,omitempty"` // why the server did not answer; then the rest is as last seen
	CertificateID string   `json:"certificate_sha256,omitempty"`
}

// Roles of a server.
const (
	RoleTop   = "top"
	RoleField = "field"
)

// Abilities of a driver.
const (
	AbilityPartialReturn = "partial-return" // one right can be lowered and the others stay
	AbilityConfirmation  = "confirmation"   // responses are confirmed
)

// License is one feature as License Information shows it.
type License struct {
	Feature   string     `json:"feature"`
	Version   string     `json:"version,omitempty"`
	Required  int        `json:"required"`
	Used      int        `json:"used"`
	Available int        `json:"available"`
	Activated int        `json:"activated"`
	Expires   *time.Time `json:"expires,omitempty"` // the earliest; nil is permanent
	Source    string     `json:"source"`            // own, or the host ID of the server that covers it
}

// HeldRight is a right that a server's store holds, named by digest.
type HeldRight struct {
	Right exchange.RightID `json:"right"`
	Count int              `json:"count"`
}

// Step is how far an exchange has come.
type Step string

// Steps of an exchange, in order; refused can follow each but confirmed.
const (
	StepMade      Step = "made"
	StepAnswered  Step = "answered"
	StepApplied   Step = "applied"
	StepConfirmed Step = "confirmed"
	StepRefused   Step = "refused"
)

// Exchange is the one exchange of a server.
type Exchange struct {
	Digest    exchange.Digest `json:"digest"` // of the request
	Operation string          `json:"operation"`
	Order     exchange.Order  `json:"order"`
	Step      Step            `json:"step"`
	Rights    []ExchangeRight `json:"rights,omitempty"`
	Code      exchange.Code   `json:"code,omitempty"` // why the whole exchange was refused, or what its last attempt met
	Attempt   int             `json:"attempt"`
	NextTry   *time.Time      `json:"next_try,omitempty"`
	Carrier   string          `json:"carrier,omitempty"`
}

// ExchangeRight is a right that the exchange asks for; Ref is the desired document's reference.
type ExchangeRight struct {
	Ref   string        `json:"ref"`
	Count int           `json:"count"`
	Code  exchange.Code `json:"code,omitempty"` // why it was refused
}

// Check is what a probe found; the probes come with a later version.
type Check struct {
	Target string    `json:"target"`
	Phase  string    `json:"phase"`
	Code   string    `json:"code"`
	Millis int64     `json:"ms"`
	When   time.Time `json:"when"`
}

// ClockOffset is how far a clock is from the activation server's, in milliseconds; positive is ahead.
type ClockOffset struct {
	ServerMillis      int64 `json:"server_ms"`
	HostMillis        int64 `json:"host_ms"`
	UncertaintyMillis int64 `json:"uncertainty_ms"`
}

// Settings are what the coordinator tells an agent about its work.
type Settings struct {
	V                int               `json:"v"`
	Agent            string            `json:"agent"`
	Generation       int64             `json:"generation"`
	HeartbeatSeconds int               `json:"heartbeat_seconds"`
	ActivationServer *ActivationServer `json:"activation_server,omitempty"`
}

// ActivationServer is where the direct carrier leads.
type ActivationServer struct {
	URL  string          `json:"url"`
	Keys json.RawMessage `json:"keys"` // a JWK set
}

// Desired is what one server should hold: whole, never a patch. Only a document with a greater (order's epoch, generation)
// is taken.
type Desired struct {
	V          int            `json:"v"`
	Agent      string         `json:"agent"`
	Server     string         `json:"server"`
	Host       string         `json:"host"` // host ID, so that a mix-up of names changes nothing
	Order      exchange.Order `json:"order"`
	Generation int64          `json:"generation"` // of the document; at least the order's
	Hold       bool           `json:"hold"`       // change nothing, finish, report
	Rights     []DesiredRight `json:"rights"`     // every right ever assigned here, 0 included; others are not Licet's
	Carriers   []string       `json:"carriers"`   // allowed, in order
}

// DesiredRight is a right that a server should hold.
type DesiredRight struct {
	Ref          string `json:"ref"` // names the line of an entitlement without disclosing it
	PartNumber   string `json:"part_number"`
	Count        int    `json:"count"` // absolute; 0: must not hold
	ActivationID string `json:"activation_id"`
}

// Carriers of an exchange.
const (
	CarrierDirect = "direct"
	CarrierRelay  = "relay"
	CarrierFile   = "file"
)

// Ask wants to be told now. It may only read, and is worth nothing after Expires.
type Ask struct {
	V       int       `json:"v"`
	Agent   string    `json:"agent"`
	Nonce   string    `json:"nonce"`
	Expires time.Time `json:"expires"`
}
