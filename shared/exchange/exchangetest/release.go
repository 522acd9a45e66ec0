package exchangetest

import (
	"context"

	"github.com/licet-project/licet/shared/exchange"
)

// Release fences a host, and frees its seats if r.Take: see exchange.Client.Release. The same key gets the same receipt.
func (s *Server) Release(host string, r exchange.Release) ([]byte, error) {
	return result(s.postRelease(context.Background(), host, r))
}

// postRelease is POST /v1/hosts/{id}/release.
func (s *Server) postRelease(ctx context.Context, host string, r exchange.Release) (answer, error) {
	switch {
	case host == "" || !cleanText(host):
		return answerOf(refuse(exchange.Malformed, "the host ID is missing or impossible")), nil
	case r.Key == "" || !cleanText(r.Key):
		return answerOf(refuse(exchange.Malformed, "the key is missing or impossible")), nil
	case r.Order.Epoch < 0 || r.Order.Generation < 0:
		return answerOf(refuse(exchange.Malformed, "the order is negative")), nil
	}
	return s.underFaults(ctx, caller{operationRelease, host}, func() (answer, error) {
		a, err := s.releaseHost(host, r)
		return s.settled(a, err)
	})
}

func (s *Server) releaseHost(host string, r exchange.Release) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code, ok := s.faults.refuse(caller{operationRelease, host}, true); ok {
		return answer{}, refuse(code, "")
	}
	done := released{Host: host, Key: r.Key, Order: r.Order, Take: r.Take}
	if before, ok, err := s.store.release(host, r.Key); ok || err != nil {
		if err == nil && *before.Release != done {
			return answer{}, refuse(exchange.Malformed, "this key was used for another release")
		}
		if err != nil {
			return answer{}, err
		}
		return *before.Answer, nil
	}
	if code, ok := s.faults.refuse(caller{operationRelease, host}, false); ok {
		return answer{}, refuse(code, "")
	}
	a, _ := s.store.account(host)
	a, refusal := a.release(r.Order, r.Take)
	if refusal != nil {
		return answer{}, refusal
	}
	receipt, err := s.receipt(a, r.Order, exchange.DigestOf([]byte(r.Key)))
	if err != nil {
		return answer{}, err
	}
	reply := answer{Status: 200, Body: receipt}
	if err := s.store.commit(record{Account: &a, Answer: &reply, Release: &done}); err != nil {
		return answer{}, err
	}
	s.options.Logger.Info().Str("host", host).Bool("take", r.Take).Stringer("order", r.Order).Msg("released")
	return reply, nil
}
