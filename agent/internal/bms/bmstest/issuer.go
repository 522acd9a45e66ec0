package bmstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// issuer answers requests as an activation server with endless stock would, as far as a BMS server can tell: it grants
// everything. It keeps no fence and no seats; exchangetest does.
type issuer struct {
	key    signed.Key
	now    func() time.Time
	rights map[string]map[string]int // by host and activation ID
	last   map[string]int64          // sequence, by host
}

func newIssuer(now func() time.Time) (*issuer, error) {
	key, err := signed.NewKey()
	if err != nil {
		return nil, err
	}
	return &issuer{key: key, now: now, rights: make(map[string]map[string]int), last: make(map[string]int64)}, nil
}

func (i *issuer) keys() signed.KeySet { return signed.NewKeySet(i.key.Public()) }

// answer is the signed response to a request or a report, as the edits leave it.
func (i *issuer) answer(document []byte, edits ...func(*exchange.Response)) ([]byte, error) {
	request, err := readRequest(document)
	if err != nil {
		return nil, err
	}
	host := request.Host.ID
	if i.rights[host] == nil {
		i.rights[host] = make(map[string]int)
	}
	for _, right := range request.Rights {
		i.rights[host][right.ActivationID] = right.Count
	}
	i.last[host]++
	response := exchange.Response{
		V: 1, Request: exchange.DigestOf(document), Host: host, Order: request.Order, Sequence: i.last[host],
		IssuedAt: i.now(), NotAfter: i.now().Add(time.Hour), Result: exchange.ResultSuccess, ConfirmationRequired: true,
	}
	for _, id := range slices.Sorted(maps.Keys(i.rights[host])) {
		if count := i.rights[host][id]; count > 0 {
			response.Rights = append(response.Rights, exchange.WireRight{ActivationID: id, Count: count})
			response.Licenses = append(response.Licenses, exchange.GrantedCount{
				ActivationID: id, Feature: "feature of " + id, Scope: "server", Version: "7.0", Count: count, Start: i.now(),
			})
		}
	}
	for _, edit := range edits {
		edit(&response)
	}
	return i.sign(response)
}

func (i *issuer) sign(response exchange.Response) ([]byte, error) {
	payload, err := json.Marshal(response)
	if err != nil {
		return nil, err
	}
	return i.key.Sign(signed.Purpose{Kind: exchange.ResponseKind, Audience: response.Host}, payload)
}

// readRequest reads what a server wrote, in the reference format.
func readRequest(document []byte) (exchange.Request, error) {
	var request exchange.Request
	purpose := signed.Purpose{Kind: exchange.RequestKind, Audience: exchange.RequestAudience}
	payload, _, err := signed.VerifySelf(document, purpose, exchange.MaxMessage)
	if err != nil {
		return request, err
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return request, fmt.Errorf("read a request: %w", err)
	}
	return request, nil
}
