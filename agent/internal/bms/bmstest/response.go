package bmstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// clockTolerance is how far a clock may go back before the store stops believing it.
const clockTolerance = 5 * time.Minute

// applyResponse checks the response, then changes the whole store in one write, its confirmation included: a crash leaves
// either the old store, and the response can be applied, or the new one, and applying it again gives the confirmation.
func (v *server) applyResponse(now time.Time, keys signed.KeySet, document []byte) ([]byte, error) {
	digest := exchange.DigestOf(document)
	if v.state.Applied == digest {
		return bytes.Clone(v.state.Confirmation), nil
	}
	response, err := v.checkResponse(now, keys, document)
	if err != nil {
		return nil, err
	}
	next := v.state
	next.Rights, next.Licenses = response.Rights, response.Licenses
	next.Sequence, next.Applied = response.Sequence, digest
	confirm := v.message(now, exchange.OperationConfirm, response.Order)
	confirm.LastSequence, confirm.Confirms, confirm.Confirmed = response.Sequence, digest, response.Sequence
	if next.Confirmation, err = v.sign(confirm); err != nil {
		return nil, err
	}
	if err := v.save(now, next); err != nil {
		return nil, err
	}
	return bytes.Clone(next.Confirmation), nil
}

// checkResponse returns the response if this server may apply it now: first who signed it, then whom it is for, then
// whether it is still of use. Nothing is parsed that is not signed.
func (v *server) checkResponse(now time.Time, keys signed.KeySet, document []byte) (exchange.Response, error) {
	response, err := v.readResponse(keys, document)
	switch {
	case err != nil:
		return exchange.Response{}, err
	case response.Host != string(v.spec.HostID):
		return exchange.Response{}, refuse(exchange.ResponseForAnother, "it names another host")
	case now.Before(v.state.Clock.Add(-clockTolerance)):
		return exchange.Response{}, refuse(exchange.ClockWoundBack, fmt.Sprintf("it was %s before and is %s now",
			v.state.Clock.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	case response.Sequence <= v.state.Sequence:
		return exchange.Response{}, refuse(exchange.ResponseStale,
			fmt.Sprintf("its sequence is %d, the server has applied %d", response.Sequence, v.state.Sequence))
	case response.Request != v.state.Request:
		return exchange.Response{}, refuse(exchange.ResponseForAnother, "it does not answer the newest request of this server")
	case now.After(response.NotAfter):
		return exchange.Response{}, refuse(exchange.ResponseExpired,
			"it was good until "+response.NotAfter.UTC().Format(time.RFC3339))
	}
	return response, nil
}

// readResponse returns what the activation server signed for this host, whether it is of use or not.
func (v *server) readResponse(keys signed.KeySet, document []byte) (exchange.Response, error) {
	purpose := signed.Purpose{Kind: exchange.ResponseKind, Audience: string(v.spec.HostID)}
	payload, err := keys.Verify(document, purpose, exchange.MaxMessage)
	if err != nil {
		return exchange.Response{}, refuse(codeOf(err), err.Error())
	}
	response, err := decodeResponse(payload)
	if err != nil {
		return exchange.Response{}, refuse(exchange.Malformed, err.Error())
	}
	return response, nil
}

func codeOf(err error) exchange.Code {
	switch {
	case errors.Is(err, signed.ErrTooLarge):
		return exchange.TooLarge
	case errors.Is(err, signed.ErrKey):
		return exchange.KeyUnknown
	case errors.Is(err, signed.ErrSignature):
		return exchange.SignatureInvalid
	case errors.Is(err, signed.ErrAudience):
		return exchange.ResponseForAnother
	}
	return exchange.Malformed
}

// decodeResponse reads a response whose signature fits. An activation server can still be wrong: what makes no sense is
// refused whole.
func decodeResponse(payload []byte) (exchange.Response, error) {
	var response exchange.Response
	decoder := json.NewDecoder(bytes.NewReader(payload))
	if err := decoder.Decode(&response); err != nil {
		return response, fmt.Errorf("not a response: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return response, errors.New("something follows the response")
	}
	if response.V != 1 || response.Sequence < 1 || response.NotAfter.IsZero() {
		return response, errors.New("version, sequence or time is missing or impossible")
	}
	if len(response.Rights) > maxRights || len(response.Refused) > maxRights || len(response.Licenses) > maxRights*10 {
		return response, errors.New("too many rights or licenses")
	}
	for i, right := range response.Rights {
		if err := exchange.CheckActivationID(exchange.ActivationID(right.ActivationID)); err != nil {
			return response, fmt.Errorf("right %d: %w", i+1, err)
		}
		if right.Count < 0 || right.Count > exchange.MaxCount {
			return response, fmt.Errorf("right %d has the count %d", i+1, right.Count)
		}
	}
	for i, license := range response.Licenses {
		if license.Feature == "" || len(license.Feature) > 255 || license.Count < 0 || license.Count > exchange.MaxCount {
			return response, fmt.Errorf("license %d has no feature or an impossible count", i+1)
		}
	}
	rights := slices.DeleteFunc(response.Rights, func(r exchange.WireRight) bool { return r.Count == 0 })
	sorted, err := sortRights(rights)
	if err != nil {
		return response, errors.New("a right is named twice")
	}
	response.Rights = sorted
	return response, nil
}

// refused are the rights that the response says no to; only one that is signed for this server is read.
func (v *server) refused(keys signed.KeySet, document []byte) ([]exchange.RefusedRight, error) {
	response, err := v.readResponse(keys, document)
	return response.Refused, err
}
