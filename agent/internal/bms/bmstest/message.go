package bmstest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// maxRights is the most rights that one request or response may name.
const maxRights = 1_000

// createRequest writes a request and records its digest; from then on only a response to it can be applied.
func (v *server) createRequest(now time.Time, order exchange.Order, want []exchange.Right, returnAll bool) ([]byte, error) {
	rights, err := wireRights(want)
	if err != nil {
		return nil, err
	}
	if returnAll && lowersInPart(v.state, rights) {
		return nil, refuse(exchange.WholeServerReturnOnly, "the request lowers some rights and leaves others")
	}
	message := v.message(now, exchange.OperationRequest, order)
	message.Rights = rights
	return v.record(now, message)
}

// createReport writes a report and records its digest, as createRequest does.
func (v *server) createReport(now time.Time, order exchange.Order) ([]byte, error) {
	return v.record(now, v.message(now, exchange.OperationReport, order))
}

func (v *server) message(now time.Time, operation string, order exchange.Order) exchange.Request {
	return exchange.Request{
		V: 1, ID: rand.Text(), Operation: operation, Order: order, LastSequence: v.state.Sequence, Clock: now.UTC(),
		Host: exchange.Host{ID: string(v.spec.HostID), Type: v.spec.HostIDType, Product: v.spec.Type, Version: v.spec.Version},
	}
}

// record signs the message and notes it as the newest one, on disk, before anybody sees it. After a crash in between the
// digest of bytes that nobody has is on disk: the caller asks again.
func (v *server) record(now time.Time, message exchange.Request) ([]byte, error) {
	if message.Order.Epoch < 0 || message.Order.Generation < 0 {
		return nil, refuse(exchange.Malformed, "the order is negative")
	}
	document, err := v.sign(message)
	if err != nil {
		return nil, err
	}
	next := v.state
	next.Request = exchange.DigestOf(document)
	if err := v.save(now, next); err != nil {
		return nil, err
	}
	return document, nil
}

func (v *server) sign(message exchange.Request) ([]byte, error) {
	payload, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("write a %s: %w", message.Operation, err)
	}
	purpose := signed.Purpose{Kind: exchange.RequestKind, Audience: exchange.RequestAudience}
	document, err := v.identity.key.SignSelf(purpose, payload)
	if err != nil {
		return nil, fmt.Errorf("write a %s: %w", message.Operation, err)
	}
	if len(document) > exchange.MaxMessage {
		return nil, refuse(exchange.TooLarge, fmt.Sprintf("the %s would have %d bytes", message.Operation, len(document)))
	}
	return document, nil
}

// wireRights checks what a caller wants; the order of the rights says nothing, so they are sorted.
func wireRights(want []exchange.Right) ([]exchange.WireRight, error) {
	if len(want) == 0 || len(want) > maxRights {
		return nil, refuse(exchange.Malformed, fmt.Sprintf("a request names 1 to %d rights, not %d", maxRights, len(want)))
	}
	rights := make([]exchange.WireRight, len(want))
	for i, right := range want {
		if err := exchange.CheckActivationID(right.ActivationID); err != nil {
			return nil, refuse(exchange.Malformed, fmt.Sprintf("right %d: %v", i+1, err))
		}
		if right.Count < 0 || right.Count > exchange.MaxCount {
			return nil, refuse(exchange.Malformed, fmt.Sprintf("right %d has the count %d", i+1, right.Count))
		}
		rights[i] = exchange.WireRight{ActivationID: right.ActivationID.Reveal(), Count: right.Count}
	}
	return sortRights(rights)
}

func sortRights(rights []exchange.WireRight) ([]exchange.WireRight, error) {
	slices.SortFunc(rights, func(a, b exchange.WireRight) int { return strings.Compare(a.ActivationID, b.ActivationID) })
	for i := 1; i < len(rights); i++ {
		if rights[i-1].ActivationID == rights[i].ActivationID {
			return nil, refuse(exchange.Malformed, "a right is named twice")
		}
	}
	return rights, nil
}

// lowersInPart reports whether the request lowers a right and yet leaves the server with any.
func lowersInPart(held state, want []exchange.WireRight) bool {
	lowers, left := false, 0
	after := make(map[string]int, len(held.Rights)+len(want))
	for _, right := range held.Rights {
		after[right.ActivationID] = right.Count
	}
	for _, right := range want {
		lowers = lowers || right.Count < after[right.ActivationID]
		after[right.ActivationID] = right.Count
	}
	for _, count := range after {
		left += count
	}
	return lowers && left > 0
}

func refuse(code exchange.Code, detail string) error {
	return &exchange.Refusal{Code: code, Retry: code.Meaning().Retry, Detail: detail}
}
