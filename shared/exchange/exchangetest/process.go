package exchangetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// ErrDropped means that a fault took the reply away: the caller learns nothing, as if the connection had broken.
var ErrDropped = errors.New("the reply was dropped")

// Process answers one request, report or confirmation with the bytes of the response or the receipt. A refusal is an
// *exchange.Refusal.
func (s *Server) Process(message []byte) ([]byte, error) {
	return result(s.post(context.Background(), message))
}

// post is POST /v1/exchanges.
func (s *Server) post(ctx context.Context, data []byte) (answer, error) {
	m, refusal := readMessage(data)
	if refusal != nil {
		s.options.Logger.Info().Str("code", string(refusal.Code)).Int("bytes", len(data)).Msg("message refused unread")
		return answerOf(refusal), nil
	}
	return s.underFaults(ctx, caller{m.Operation, m.Host.ID}, func() (answer, error) {
		a, err := s.exchange(m)
		return s.settled(a, err)
	})
}

// settled lets an answer out only when everything that it could have seen is durable.
func (s *Server) settled(a answer, err error) (answer, error) {
	if a, err = asAnswer(a, err); err == nil {
		err = s.store.journal.sync()
	}
	if err != nil {
		s.options.Logger.Error().Err(err).Msg("cannot keep or read what was done")
		return answerOf(refuse(exchange.Unavailable, "")), nil
	}
	return a, nil
}

func (s *Server) exchange(m message) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, ok := s.faults.refuse(caller{m.Operation, m.Host.ID}, true); ok {
		return answer{}, refuse(code, "")
	}
	if known, ok, err := s.store.answer(m.digest); ok || err != nil {
		return known, err
	}
	r, err := s.decide(m)
	refusal := (*exchange.Refusal)(nil)
	if errors.As(err, &refusal) {
		r, err = record{Answer: new(answerOf(refusal))}, nil
	}
	if err != nil {
		return answer{}, err
	}
	r.Message = m.digest
	if err := s.store.commit(r); err != nil {
		return answer{}, err
	}
	s.log(m, r, refusal)
	return *r.Answer, nil
}

func (s *Server) log(m message, r record, refusal *exchange.Refusal) {
	event := s.options.Logger.Info().Str("host", m.Host.ID).Str("operation", m.Operation).
		Str("message", m.digest.Short()).Stringer("order", m.Order)
	if refusal != nil {
		event.Str("code", string(refusal.Code)).Msg("refused")
		return
	}
	event.Int64("sequence", r.Account.Sequence).Msg("answered")
}

// decide is what a message that was never seen before changes, and its answer. Nothing is changed yet.
func (s *Server) decide(m message) (record, error) {
	if code, ok := s.faults.refuse(caller{m.Operation, m.Host.ID}, false); ok {
		return record{}, refuse(code, "")
	}
	a, known := s.store.account(m.Host.ID)
	if a.Key != nil && !bytes.Equal(a.Key, m.key) {
		return record{}, refuse(exchange.CloneSuspected, "another key spoke for this host before")
	}
	switch m.Operation {
	case exchange.OperationConfirm:
		return s.decideConfirm(m, a, known)
	case exchange.OperationReport:
		return s.respond(m, a.report(m.Order), nil)
	}
	next, refused, refusal := a.request(m.Request, s.verdict(m.Host.ID))
	if refusal != nil {
		return record{}, refusal
	}
	return s.respond(m, next, refused)
}

func (s *Server) decideConfirm(m message, a account, known bool) (record, error) {
	if !known {
		return record{}, refuse(exchange.HostUnknown, "")
	}
	response, ok := s.store.issued[issuedKey{m.Host.ID, m.Confirmed}]
	if !ok || response.Response != m.Confirms {
		return record{}, refuse(exchange.OutOfStep, "no such response was given to this host")
	}
	a = a.confirm(m.Confirmed)
	receipt, err := s.receipt(a, response.Order, m.digest)
	return record{Account: &a, Answer: &answer{Status: 200, Body: receipt}}, err
}

// verdict is the order book's word on a raise, after what faults say.
func (s *Server) verdict(host string) verdict {
	now := s.now()
	return func(id string, from, to, more int) exchange.Code {
		if code, ok := s.faults.refuseRight(host, id, from, to); ok {
			return code
		}
		if to <= from {
			return ""
		}
		line, sold := s.lines[exchange.ActivationID(id)]
		switch {
		case !sold:
			return exchange.RightUnknown
		case line.state == StateOnHold:
			return exchange.RightSuspended
		case line.state != StateDeployed || line.product.ManagedBy != "":
			return exchange.RightDenied
		case now.Before(line.Start):
			return exchange.RightNotStarted
		case line.Expires != nil && now.After(*line.Expires):
			return exchange.RightExpired
		case s.store.used[id]+more > line.Count:
			return exchange.RightExhausted
		}
		return ""
	}
}

// respond signs the response that tells the host what it now holds.
func (s *Server) respond(m message, a account, refused []exchange.RefusedRight) (record, error) {
	a.Key = m.key
	now := s.now()
	confirmBy := now.Add(s.options.ConfirmWithin)
	response := exchange.Response{
		V: 1, Request: m.digest, Host: a.Host, Order: m.Order, Sequence: a.Sequence,
		IssuedAt: now, NotAfter: now.Add(s.options.Lifetime), Result: resultOf(len(m.Rights), len(refused)),
		Rights: a.rights(), Licenses: s.licenses(a), Removed: a.removed(), Refused: refused,
		ConfirmationRequired: true, ConfirmBy: &confirmBy,
	}
	document, err := s.sign(exchange.ResponseKind, a.Host, response)
	if err != nil {
		return record{}, err
	}
	return record{
		Account: &a,
		Answer:  &answer{Status: 200, Body: document},
		Issued:  &issued{Host: a.Host, Sequence: a.Sequence, Response: exchange.DigestOf(document), Order: m.Order},
	}, nil
}

func resultOf(asked, refused int) exchange.Result {
	switch refused {
	case 0:
		return exchange.ResultSuccess
	case asked:
		return exchange.ResultFailure
	}
	return exchange.ResultPartial
}

// licenses are the features that the host's rights unlock. A right that is no longer in the order book unlocks nothing.
func (s *Server) licenses(a account) []exchange.GrantedCount {
	licenses := []exchange.GrantedCount{}
	for _, right := range a.rights() {
		line, sold := s.lines[exchange.ActivationID(right.ActivationID)]
		if !sold {
			continue
		}
		for _, f := range line.product.Features {
			licenses = append(licenses, exchange.GrantedCount{
				ActivationID: right.ActivationID, Feature: f.Name, Scope: line.product.Scope, Version: line.product.Version,
				Count: f.Count * right.Count, Start: line.Start, Expires: line.Expires,
			})
		}
	}
	return licenses
}

// receipt signs what the host holds now: the truth of this moment, however old the confirmation is.
func (s *Server) receipt(a account, order exchange.Order, about exchange.Digest) ([]byte, error) {
	return s.sign(exchange.ReceiptKind, a.Host, exchange.Receipt{
		V: 1, For: about, Host: a.Host, Order: order, Sequence: a.Sequence, Rights: a.receiptRights(), IssuedAt: s.now(),
	})
}

func (s *Server) sign(kind, audience string, document any) ([]byte, error) {
	payload, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	signature, err := s.keys.current.Sign(signed.Purpose{Kind: kind, Audience: audience}, payload)
	if err == nil && len(signature) > exchange.MaxMessage {
		return nil, refuse(exchange.TooLarge, "the answer would be larger than any host reads")
	}
	return signature, err
}
