package exchangetest

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"unicode"
	"unicode/utf8"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Limits of one message, beyond exchange.MaxMessage.
const (
	maxRights = 1_000
	maxText   = 255 // bytes of a host ID, a type, a version
)

// message is a request, a report or a confirmation whose signature fits the key that it carries.
type message struct {
	exchange.Request
	digest exchange.Digest
	key    ed25519.PublicKey
}

// readMessage checks size, signature, syntax and fields, in this order.
func readMessage(data []byte) (message, *exchange.Refusal) {
	purpose := signed.Purpose{Kind: exchange.RequestKind, Audience: exchange.RequestAudience}
	payload, key, err := signed.VerifySelf(data, purpose, exchange.MaxMessage)
	switch {
	case errors.Is(err, signed.ErrTooLarge):
		return message{}, refuse(exchange.TooLarge, "")
	case errors.Is(err, signed.ErrSignature):
		return message{}, refuse(exchange.SignatureInvalid, "")
	case err != nil:
		return message{}, refuse(exchange.Malformed, "it is not a signed document for an activation server")
	}
	m := message{digest: exchange.DigestOf(data), key: key}
	// An error of the decoder may quote the text, and with it a secret: it is not passed on.
	if err := json.Unmarshal(payload, &m.Request); err != nil {
		return message{}, refuse(exchange.Malformed, "the payload is not a request")
	}
	if problem := m.problem(); problem != "" {
		return message{}, refuse(exchange.Malformed, problem)
	}
	return m, nil
}

func (m message) problem() string {
	switch {
	case m.V != 1:
		return "this side speaks version 1"
	case m.ID == "" || !cleanText(m.ID):
		return "the correlation ID is missing or impossible"
	case m.Host.ID == "" || !cleanText(m.Host.ID) || !cleanText(m.Host.Type) || !cleanText(m.Host.Product) || !cleanText(m.Host.Version):
		return "the host is missing or impossible"
	case m.Order.Epoch < 0 || m.Order.Generation < 0 || m.LastSequence < 0:
		return "the order or the last sequence is negative"
	}
	switch m.Operation {
	case exchange.OperationRequest:
		return rightsProblem(m.Rights)
	case exchange.OperationReport:
		if len(m.Rights) > 0 {
			return "a report names no rights"
		}
		return ""
	case exchange.OperationConfirm:
		if _, err := exchange.ParseDigest(string(m.Confirms)); err != nil || m.Confirmed < 1 {
			return "a confirmation names a response and its sequence"
		}
		return ""
	}
	return "the operation is not request, report or confirm"
}

func rightsProblem(rights []exchange.WireRight) string {
	if len(rights) > maxRights {
		return "it names too many rights"
	}
	seen := make(map[string]bool, len(rights))
	for _, r := range rights {
		switch {
		case exchange.CheckActivationID(exchange.ActivationID(r.ActivationID)) != nil:
			return "an activation ID is impossible"
		case seen[r.ActivationID]:
			return "it names a right twice"
		case r.Count < 0 || r.Count > exchange.MaxCount:
			return "a count is impossible"
		}
		seen[r.ActivationID] = true
	}
	return ""
}

// cleanText is true for what may stand in a log line as it is.
func cleanText(text string) bool {
	if len(text) > maxText || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
