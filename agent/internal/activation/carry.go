package activation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// errNoCarrier means that no carrier that the document allows is there.
var errNoCarrier = errors.New("there is no carrier that the desired document allows")

// send takes a message to the activation server by one of the allowed carriers, and says which it was. A message that a
// person carries is asked for first, and posted again only if the carrier knows nothing of it.
func (m *Machine) send(ctx context.Context, f *flight, message []byte) (answer []byte, by string, err error) {
	by, carrier := m.carrier(f)
	if carrier == nil {
		return nil, by, errNoCarrier
	}
	ctx, cancel := context.WithTimeout(ctx, m.o.CallTimeout)
	defer cancel()
	if f.Carried && by == f.Carrier {
		answer, err = carrier.Fetch(ctx, exchange.DigestOf(message))
		if refusal := (*exchange.Refusal)(nil); !errors.As(err, &refusal) || refusal.Status != http.StatusNotFound {
			return answer, by, sound(answer, err)
		}
	}
	answer, err = carrier.Post(ctx, message)
	return answer, by, sound(answer, err)
}

// sound is the error, or one if the answer cannot be any.
func sound(answer []byte, err error) error {
	if err == nil && (len(answer) == 0 || len(answer) > exchange.MaxMessage) {
		err = fmt.Errorf("the answer has %d bytes", len(answer))
	}
	return err
}

// carrier is the one for this attempt: that which a person carries by, else the allowed ones in turn, beginning with the
// first. What is allowed is what the accepted document says; if it says
// nothing, what was allowed when the exchange began.
func (m *Machine) carrier(f *flight) (string, Carrier) {
	m.mu.Lock()
	desired := m.state.desired
	m.mu.Unlock()
	allowed := f.Carriers
	if desired != nil && len(desired.Carriers) > 0 {
		allowed = desired.Carriers
	}
	var there map[string]Carrier
	if m.o.Carriers != nil {
		there = m.o.Carriers()
	}
	names := slices.DeleteFunc(slices.Clone(allowed), func(name string) bool { return there[name] == nil })
	if len(names) == 0 {
		return "", nil
	}
	name := names[f.Attempt%len(names)]
	if f.Carried && slices.Contains(names, f.Carrier) {
		name = f.Carrier
	}
	return name, there[name]
}

// codeOf is the code of an error that is no refusal: what a person looks up, or empty.
func codeOf(err error) exchange.Code {
	switch {
	case errors.Is(err, signed.ErrKey):
		return exchange.KeyUnknown
	case errors.Is(err, signed.ErrSignature):
		return exchange.SignatureInvalid
	case errors.Is(err, signed.ErrTooLarge):
		return exchange.TooLarge
	case errors.Is(err, signed.ErrMalformed), errors.Is(err, signed.ErrKind):
		return exchange.Malformed
	case errors.Is(err, signed.ErrAudience), errors.Is(err, errOtherReceipt):
		return exchange.ResponseForAnother
	}
	return ""
}
