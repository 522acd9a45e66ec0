package activation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

const (
	journalName    = "journal.json"
	damagedName    = "journal.damaged.json" // kept for a person to look at; the next one replaces it
	journalVersion = 1
	maxJournal     = 4 << 20 // five messages of at most exchange.MaxMessage, in base64
)

// journal is all that must survive a crash. It is one file, written whole, so its parts are always of one instant. It holds
// activation IDs: the file is for the agent's user alone.
type journal struct {
	V        int        `json:"v"`
	Host     bms.HostID `json:"host"`
	Desired  []byte     `json:"desired,omitempty"`  // accepted, exactly as it came
	Exchange *flight    `json:"exchange,omitempty"` // in flight
	Last     *ended     `json:"last,omitempty"`     // the exchange that ended last
	Receipt  *proof     `json:"receipt,omitempty"`  // the newest

	NeedReport bool               `json:"need_report,omitempty"` // before anything else is begun
	Fenced     bool               `json:"fenced,omitempty"`      // the accepted order was refused as superseded
	Stopped    exchange.Code      `json:"stopped,omitempty"`     // why nothing more is asked under the accepted order
	Refused    map[string]refused `json:"refused,omitempty"`     // under the accepted order, by reference
}

// flight is the exchange in flight. What it has says how far it is: a request, a response too, a confirmation too.
type flight struct {
	Operation    string         `json:"operation"`
	Order        exchange.Order `json:"order"`
	Asked        []asked        `json:"asked,omitempty"`
	Request      []byte         `json:"request"`
	Response     []byte         `json:"response,omitempty"`
	Confirmation []byte         `json:"confirmation,omitempty"`

	Codes    map[string]exchange.Code `json:"codes,omitempty"`    // what the response refuses, by reference
	Carriers []string                 `json:"carriers,omitempty"` // that were allowed when it was begun
	Carrier  string                   `json:"carrier,omitempty"`  // of the last attempt
	Carried  bool                     `json:"carried,omitempty"`  // a person carries the message of this step
	Attempt  int                      `json:"attempt,omitempty"`  // of this step, that failed
	Met      exchange.Code            `json:"met,omitempty"`      // what the last attempt met
}

func (f *flight) step() protocol.Step {
	switch {
	case f.Confirmation != nil:
		return protocol.StepApplied
	case f.Response != nil:
		return protocol.StepAnswered
	}
	return protocol.StepMade
}

// asked is a right that a request names. The activation ID itself is in the request and in the desired document.
type asked struct {
	Ref   string           `json:"ref"`
	Right exchange.RightID `json:"right"`
	Count int              `json:"count"`
}

// ended is what is told of an exchange that is over.
type ended struct {
	Operation string          `json:"operation"`
	Order     exchange.Order  `json:"order"`
	Digest    exchange.Digest `json:"digest"`
	Step      protocol.Step   `json:"step"` // confirmed or refused
	Asked     []asked         `json:"asked,omitempty"`
	Code      exchange.Code   `json:"code,omitempty"`
	Carrier   string          `json:"carrier,omitempty"`
}

// proof is a receipt as it was signed, and what it says; it was verified before it was written down.
type proof struct {
	Document []byte           `json:"document"`
	Says     exchange.Receipt `json:"says"`
}

// state is a journal and what was read out of it.
type state struct {
	journal
	desired *protocol.Desired // nil: none is accepted
	digest  exchange.Digest   // of journal.Desired
}

// ordered reports whether the order is that of the accepted document.
func (s *state) ordered(o exchange.Order) bool { return s.desired != nil && s.desired.Order == o }

// envelope is the file: the digest tells damage from what another version wrote.
type envelope struct {
	SHA256  exchange.Digest `json:"sha256"`
	Journal json.RawMessage `json:"journal"`
}

func encodeJournal(j journal) ([]byte, error) {
	body, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("encode the activation journal: %w", err)
	}
	data, err := json.Marshal(envelope{exchange.DigestOf(body), body})
	if err != nil {
		return nil, fmt.Errorf("encode the activation journal: %w", err)
	}
	return data, nil
}

// errDamaged means that the bytes in the journal's file are not those that an agent wrote.
var errDamaged = errors.New("the journal is damaged")

func decodeJournal(data []byte, host bms.HostID) (state, error) {
	var file envelope
	if err := json.Unmarshal(data, &file); err != nil || exchange.DigestOf(file.Journal) != file.SHA256 {
		return state{}, errDamaged
	}
	var s state
	decoder := json.NewDecoder(bytes.NewReader(file.Journal))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s.journal); err != nil {
		return state{}, fmt.Errorf("another version of the agent wrote it (%w): run that version, or remove the file to forget", err)
	}
	switch {
	case s.V != journalVersion:
		return state{}, fmt.Errorf("it has version %d, this agent speaks %d: run the version that wrote it, or remove the file to forget",
			s.V, journalVersion)
	case s.Host != host:
		return state{}, fmt.Errorf("it is of host %q: give each server a folder of its own", s.Host)
	}
	if s.Desired != nil {
		desired, err := protocol.Decode[protocol.Desired](s.Desired)
		if err != nil {
			return state{}, fmt.Errorf("the accepted document in it: %w", err)
		}
		s.desired, s.digest = &desired, exchange.DigestOf(s.Desired)
	}
	return s, nil
}
