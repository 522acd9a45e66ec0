package bmstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

// route is one operation of the API; openapi.yaml states them, a test compares.
type route struct {
	method, path string
	serve        func(http.ResponseWriter, *http.Request) error
}

func (s *System) routes() []route {
	return []route{
		{http.MethodGet, "/api/v1/health", s.serveHealth},
		{http.MethodGet, "/api/v1/servers", s.serveServers},
		{http.MethodPost, "/api/v1/servers/{host}/requests", s.serveRequests},
		{http.MethodPost, "/api/v1/servers/{host}/reports", s.serveReports},
		{http.MethodPost, "/api/v1/servers/{host}/responses", s.serveResponses},
		{http.MethodPost, "/api/v1/servers/{host}/refused", s.serveRefused},
		{http.MethodGet, "/sim/v1/servers", s.serveStores},
		{http.MethodPost, "/sim/v1/servers/{host}/tamper", s.serveTamper},
		{http.MethodPost, "/sim/v1/servers/{host}/refuse", s.serveRefuse},
	}
}

// Handler is the API of the top server, and the simulator's own under /sim.
func (s *System) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, request *http.Request) {
			if err := r.serve(w, request); err != nil {
				s.writeProblem(w, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, exchange.ProblemType, exchange.Problem{
			Type: "about:blank", Title: http.StatusText(http.StatusNotFound), Status: http.StatusNotFound, Detail: "no such path",
		})
	})
	return mux
}

func (s *System) serveHealth(w http.ResponseWriter, _ *http.Request) error {
	if why := s.top().silence(); why != "" {
		return &noAnswer{host: s.Top(), why: why}
	}
	now, _ := s.top().snapshot(s.options.Now())
	writeJSON(w, http.StatusOK, jsonType, bms.RESTHealth{Status: "ok", Host: string(s.Top()), Clock: now.UTC()})
	return nil
}

func (s *System) serveServers(w http.ResponseWriter, r *http.Request) error {
	facts, err := s.Servers(r.Context())
	if err != nil {
		return err
	}
	answer := bms.RESTServers{Servers: make([]bms.RESTServer, len(facts))}
	for i, f := range facts {
		answer.Servers[i] = bms.NewRESTServer(f)
	}
	writeJSON(w, http.StatusOK, jsonType, answer)
	return nil
}

func (s *System) serveRequests(w http.ResponseWriter, r *http.Request) error {
	var order bms.RESTRequest
	if err := readJSON(w, r, &order); err != nil {
		return err
	}
	want := make([]exchange.Right, len(order.Rights))
	for i, right := range order.Rights {
		want[i] = exchange.Right{ActivationID: exchange.ActivationID(right.ActivationID), Count: right.Count}
	}
	message, err := s.CreateRequest(r.Context(), hostOf(r), order.Order, want)
	return writeMessage(w, r, message, err)
}

func (s *System) serveReports(w http.ResponseWriter, r *http.Request) error {
	var order bms.RESTReport
	if err := readJSON(w, r, &order); err != nil {
		return err
	}
	message, err := s.CreateReport(r.Context(), hostOf(r), order.Order)
	return writeMessage(w, r, message, err)
}

func (s *System) serveResponses(w http.ResponseWriter, r *http.Request) error {
	response, err := readBody(w, r, exchange.MediaType, exchange.MaxMessage)
	if err != nil {
		return err
	}
	confirmation, err := s.ApplyResponse(r.Context(), hostOf(r), response)
	return writeMessage(w, r, confirmation, err)
}

func (s *System) serveRefused(w http.ResponseWriter, r *http.Request) error {
	response, err := readBody(w, r, exchange.MediaType, exchange.MaxMessage)
	if err != nil {
		return err
	}
	refused, err := s.Refused(r.Context(), hostOf(r), response)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, jsonType, bms.RESTRefused{Refused: append([]exchange.RefusedRight{}, refused...)})
	return nil
}

func hostOf(r *http.Request) bms.HostID { return bms.HostID(r.PathValue("host")) }

const (
	jsonType = "application/json"
	maxJSON  = 2 << 20 // 1,000 rights with the longest activation IDs
)

// readBody reads a body of the type and of at most limit bytes: size first, then type, and no look inside.
func readBody(w http.ResponseWriter, r *http.Request, contentType string, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, refuse(exchange.TooLarge, fmt.Sprintf("at most %d bytes are read", limit))
	}
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != contentType {
		return nil, refuse(exchange.Malformed, "the content type should be "+contentType)
	}
	return body, nil
}

func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := readBody(w, r, jsonType, maxJSON)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(into); err != nil {
		return refuse(exchange.Malformed, "the body is not the JSON it should be")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return refuse(exchange.Malformed, "something follows the body's JSON value")
	}
	return nil
}

func writeMessage(w http.ResponseWriter, r *http.Request, message []byte, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", exchange.MediaType)
	w.Header().Set(bms.RESTHostHeader, r.PathValue("host"))
	_, _ = w.Write(message) // the caller has gone; it asks again
	return nil
}

func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the caller has gone; it asks again
}

// writeProblem is the one place where an error becomes an answer. A silent top server cuts the connection.
func (s *System) writeProblem(w http.ResponseWriter, err error) {
	problem := exchange.Problem{Type: "about:blank", Detail: err.Error()}
	var refusal *exchange.Refusal
	var silent *noAnswer
	switch {
	case errors.As(err, &refusal):
		refusal.Status = statusOf(refusal.Code)
		problem = refusal.Problem()
	case errors.Is(err, bms.ErrNoSuchServer):
		problem.Status, problem.Code = http.StatusNotFound, exchange.HostUnknown
	case errors.As(err, &silent) && silent.host == s.Top():
		panic(http.ErrAbortHandler)
	case errors.As(err, &silent):
		problem.Status = http.StatusGatewayTimeout
	default:
		problem.Status = http.StatusInternalServerError
		s.options.Logger.Error().Err(err).Msg("a call failed")
	}
	if problem.Title == "" {
		problem.Title = http.StatusText(problem.Status)
	}
	writeJSON(w, problem.Status, exchange.ProblemType, problem)
}

func statusOf(code exchange.Code) int {
	switch code {
	case exchange.Malformed:
		return http.StatusBadRequest
	case exchange.TooLarge:
		return http.StatusRequestEntityTooLarge
	case exchange.RateLimited:
		return http.StatusTooManyRequests
	case exchange.Busy, exchange.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}
