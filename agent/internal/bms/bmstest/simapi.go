package bmstest

import (
	"errors"
	"net/http"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

// Types of the simulator's own API under /sim/v1: what no real server offers.

// SimStores answers GET /sim/v1/servers: the trusted stores as they are on disk.
type SimStores struct {
	Servers []SimStore `json:"servers"`
}

// SimStore is one trusted store.
type SimStore struct {
	HostID   string                  `json:"host_id"`
	Rights   []exchange.WireRight    `json:"rights"`
	Licenses []exchange.GrantedCount `json:"licenses"`
	Sequence int64                   `json:"sequence"`
	Request  exchange.Digest         `json:"request,omitempty"`
	Applied  exchange.Digest         `json:"applied,omitempty"`
	Clock    time.Time               `json:"clock"`
}

// SimTamper is the body of POST /sim/v1/servers/{host}/tamper: either the activation ID or any, and the new count.
type SimTamper struct {
	ActivationID string `json:"activation_id,omitempty"`
	Any          bool   `json:"any,omitempty"` // the first right that the server holds
	Count        *int   `json:"count"`
}

// SimRefuse is the body of POST /sim/v1/servers/{host}/refuse.
type SimRefuse struct {
	Code exchange.Code `json:"code"`
	Call Call          `json:"call,omitempty"` // empty means response
}

func (s *System) serveStores(w http.ResponseWriter, _ *http.Request) error {
	answer := SimStores{Servers: make([]SimStore, 0, len(s.servers))}
	for _, v := range s.servers {
		store, err := v.store()
		if err != nil {
			return err
		}
		answer.Servers = append(answer.Servers, store)
	}
	writeJSON(w, http.StatusOK, jsonType, answer)
	return nil
}

func (v *server) store() (SimStore, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	held, err := readState(v.folder, v.spec.HostID)
	if err != nil {
		return SimStore{}, err
	}
	return SimStore{
		HostID: held.Host, Rights: append([]exchange.WireRight{}, held.Rights...), Sequence: held.Sequence,
		Licenses: append([]exchange.GrantedCount{}, held.Licenses...), Request: held.Request, Applied: held.Applied, Clock: held.Clock,
	}, nil
}

func (s *System) serveTamper(w http.ResponseWriter, r *http.Request) error {
	var order SimTamper
	if err := readJSON(w, r, &order); err != nil {
		return err
	}
	switch id := exchange.ActivationID(order.ActivationID); {
	case order.Count == nil || *order.Count < 0 || *order.Count > exchange.MaxCount:
		return refuse(exchange.Malformed, "count is missing or impossible")
	case order.Any == (order.ActivationID != ""):
		return refuse(exchange.Malformed, "name an activation_id, or say any")
	case !order.Any && exchange.CheckActivationID(id) != nil:
		return refuse(exchange.Malformed, "activation_id is not one")
	default:
		err := s.Tamper(hostOf(r), id, *order.Count)
		if errors.Is(err, ErrNothingHeld) {
			return refuse(exchange.RightUnknown, "the server holds no right")
		}
		return noContent(w, err)
	}
}

func (s *System) serveRefuse(w http.ResponseWriter, r *http.Request) error {
	order := SimRefuse{Call: CallResponse}
	if err := readJSON(w, r, &order); err != nil {
		return err
	}
	err := s.RefuseNextCall(hostOf(r), order.Call, order.Code)
	if err != nil && !errors.Is(err, bms.ErrNoSuchServer) {
		return refuse(exchange.Malformed, "no such call or code")
	}
	return noContent(w, err)
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
