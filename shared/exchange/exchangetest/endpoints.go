package exchangetest

import (
	"net/http"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

func (s *Server) servePost(r *http.Request) (reply, error) {
	data, err := body(r, exchange.MediaType, exchange.MaxMessage)
	if err != nil {
		return reply{}, err
	}
	return s.message(s.post(r.Context(), data))
}

func (s *Server) serveFetch(r *http.Request) (reply, error) {
	digest, err := exchange.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return reply{}, refuse(exchange.Malformed, err.Error())
	}
	return s.message(s.fetch(digest))
}

// fetch is GET /v1/exchanges/{digest}: an answer that was given before, refusals among them.
func (s *Server) fetch(digest exchange.Digest) (answer, error) {
	return s.settled(func() (answer, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		a, known, err := s.store.answer(digest)
		if err == nil && !known {
			err = &exchange.Refusal{
				Code: exchange.Unknown, Retry: exchange.RetryLater, Status: http.StatusNotFound,
				Detail: "no message with this digest was answered here",
			}
		}
		return a, err
	}())
}

func (s *Server) serveHost(r *http.Request) (reply, error) {
	state, known := s.Host(r.PathValue("id"))
	if !known {
		return reply{}, refuse(exchange.HostUnknown, "")
	}
	if err := s.store.journal.sync(); err != nil {
		return reply{}, refuse(exchange.Unavailable, "")
	}
	return jsonReply(state)
}

func (s *Server) serveRelease(r *http.Request) (reply, error) {
	var release exchange.Release
	if err := jsonBody(r, &release); err != nil {
		return reply{}, err
	}
	return s.message(s.postRelease(r.Context(), r.PathValue("id"), release))
}

func (s *Server) serveKeys(*http.Request) (reply, error) { return jsonReply(s.Keys()) }

func (s *Server) serveFault(r *http.Request) (reply, error) {
	var f Fault
	if err := jsonBody(r, &f); err != nil {
		return reply{}, err
	}
	if err := s.Fault(f); err != nil {
		return reply{}, refuse(exchange.Malformed, err.Error())
	}
	return reply{status: http.StatusNoContent}, nil
}

// FaultList is the answer to GET /v1/faults.
type FaultList struct {
	Faults []FaultState `json:"faults"`
}

func (s *Server) serveFaults(*http.Request) (reply, error) {
	list := FaultList{Faults: s.Faults()}
	if list.Faults == nil {
		list.Faults = []FaultState{}
	}
	return jsonReply(list)
}

// serveHealth answers the caller's nonce with the signed time, so that an old answer cannot pass for a new one.
func (s *Server) serveHealth(r *http.Request) (reply, error) {
	nonce := r.URL.Query().Get("nonce")
	if len(nonce) > exchange.MaxNonce || !cleanText(nonce) {
		return reply{}, refuse(exchange.Malformed, "the nonce is too long or not printable")
	}
	if err := s.store.journal.sync(); err != nil {
		return reply{}, refuse(exchange.Unavailable, "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	document, err := s.sign(exchange.HealthKind, exchange.HealthAudience, exchange.Health{V: 1, Nonce: nonce, Time: s.now()})
	if err != nil {
		return reply{}, refuse(exchange.Unavailable, "")
	}
	return reply{http.StatusOK, exchange.SignedType, document}, nil
}

// OrderQuery is the body of POST /v1/orders.
type OrderQuery struct {
	EntitlementID string `json:"entitlement_id"`
}

// OrderInfo is the answer to POST /v1/orders.
type OrderInfo struct {
	EntitlementID string      `json:"entitlement_id"`
	Kind          string      `json:"kind"`
	State         string      `json:"state"`
	SoldTo        string      `json:"sold_to"`
	OrderNumber   string      `json:"order_number"`
	Lines         []OrderLine `json:"lines"`
}

// OrderLine is one line of an order. Remaining are the seats that no host has.
type OrderLine struct {
	ActivationID string         `json:"activation_id"`
	PartNumber   string         `json:"part_number"`
	Product      string         `json:"product"`
	Version      string         `json:"version,omitempty"`
	Count        int            `json:"count"`
	Remaining    int            `json:"remaining"`
	Start        time.Time      `json:"start"`
	Expires      *time.Time     `json:"expires,omitempty"` // nil is permanent
	Features     []OrderFeature `json:"features"`
}

// OrderFeature is what one seat unlocks.
type OrderFeature struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// serveOrders says what was sold. It is rate limited, since who guesses an ID gets its rights.
func (s *Server) serveOrders(r *http.Request) (reply, error) {
	var query OrderQuery
	if err := jsonBody(r, &query); err != nil {
		return reply{}, err
	}
	if !s.limiter.AllowN(s.options.Now(), 1) {
		refusal := refuse(exchange.RateLimited, "")
		refusal.RetryAfter = max(time.Second, time.Minute/time.Duration(s.options.OrdersPerMinute))
		return reply{}, refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.options.Orders.Entitlement(query.EntitlementID)
	if !known {
		return reply{}, &exchange.Refusal{
			Code: exchange.RightUnknown, Retry: exchange.RetryAfterOperator, Status: http.StatusNotFound,
			Detail: "the activation server does not know this entitlement ID",
		}
	}
	info := OrderInfo{EntitlementID: e.ID, Kind: e.Kind, State: e.State, SoldTo: e.SoldTo, OrderNumber: e.OrderNumber}
	for _, l := range e.Lines {
		product := s.lines[l.ActivationID].product
		line := OrderLine{
			ActivationID: l.ActivationID.Reveal(), PartNumber: l.PartNumber, Product: product.Name, Version: product.Version,
			Count: l.Count, Remaining: max(0, l.Count-s.store.used[l.ActivationID.Reveal()]), Start: l.Start, Expires: l.Expires,
			Features: []OrderFeature{},
		}
		for _, f := range product.Features {
			line.Features = append(line.Features, OrderFeature(f))
		}
		info.Lines = append(info.Lines, line)
	}
	return jsonReply(info)
}
