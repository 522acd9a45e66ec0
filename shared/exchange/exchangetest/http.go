package exchangetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// maxBody bounds every body but a message's, in bytes.
const maxBody = 64 << 10

// handler answers one method of one path.
type handler func(s *Server, r *http.Request) (reply, error)

// reply is what goes out; the zero media type goes with no body.
type reply struct {
	status    int
	mediaType string
	body      []byte
}

// paths are all paths with their methods: the same as in openapi.yaml.
var paths = map[string]map[string]handler{
	"/v1/exchanges":          {http.MethodPost: (*Server).servePost},
	"/v1/exchanges/{digest}": {http.MethodGet: (*Server).serveFetch},
	"/v1/orders":             {http.MethodPost: (*Server).serveOrders},
	"/v1/hosts/{id}":         {http.MethodGet: (*Server).serveHost},
	"/v1/hosts/{id}/release": {http.MethodPost: (*Server).serveRelease},
	"/v1/health":             {http.MethodGet: (*Server).serveHealth},
	"/v1/keys":               {http.MethodGet: (*Server).serveKeys},
	"/v1/faults":             {http.MethodPost: (*Server).serveFault, http.MethodGet: (*Server).serveFaults},
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeRefusal(w, &exchange.Refusal{Code: exchange.Unknown, Retry: exchange.RetryNever, Status: 404, Detail: "there is no such path here"})
	})
	for path, methods := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, methods) })
	}
	return mux
}

// ServeHTTP answers as protocol.md, section 3, says.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request, methods map[string]handler) {
	handle, ok := methods[r.Method]
	if !ok {
		allowed := make([]string, 0, len(methods))
		for method := range methods {
			allowed = append(allowed, method)
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeRefusal(w, &exchange.Refusal{
			Code: exchange.Malformed, Retry: exchange.RetryNever, Status: http.StatusMethodNotAllowed,
			Detail: "only " + strings.Join(allowed, " and ") + " here",
		})
		return
	}
	out, err := handle(s, r)
	refusal := (*exchange.Refusal)(nil)
	switch {
	case errors.As(err, &refusal):
		writeRefusal(w, refusal)
	case err != nil:
		// Dropped, or the client has gone: the connection is closed without an answer.
		panic(http.ErrAbortHandler)
	default:
		write(w, out)
	}
}

func write(w http.ResponseWriter, out reply) {
	w.Header().Set("Cache-Control", "no-store")
	if out.mediaType != "" {
		w.Header().Set("Content-Type", out.mediaType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body) // whoever has gone comes back for the same bytes
}

// retrySeconds is what Retry-After says with a transient refusal.
const retrySeconds = 1

func writeRefusal(w http.ResponseWriter, r *exchange.Refusal) {
	if after := int(r.RetryAfter / time.Second); after > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(after))
	} else if r.Code.Transient() {
		w.Header().Set("Retry-After", fmt.Sprint(retrySeconds))
	}
	a := answerOf(r)
	write(w, reply{a.Status, exchange.ProblemType, a.Body})
}

// message turns a kept answer into a reply.
func (s *Server) message(a answer, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	if refusal := refusalOf(a); refusal != nil {
		return reply{}, refusal
	}
	return reply{a.Status, exchange.MediaType, a.Body}, nil
}

// body reads a body of the media type, with its size checked before anything is parsed.
func body(r *http.Request, mediaType string, limit int64) ([]byte, error) {
	got, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if got != mediaType {
		return nil, &exchange.Refusal{
			Code: exchange.Malformed, Retry: exchange.RetryNever, Status: http.StatusUnsupportedMediaType, Detail: "the body must be " + mediaType,
		}
	}
	if r.ContentLength > limit {
		return nil, refuse(exchange.TooLarge, fmt.Sprintf("at most %d bytes", limit))
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read a request: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, refuse(exchange.TooLarge, fmt.Sprintf("at most %d bytes", limit))
	}
	return data, nil
}

// jsonBody reads exactly one JSON document without unknown fields. The decoder's errors can quote the text, so they are not
// passed on.
func jsonBody(r *http.Request, into any) error {
	data, err := body(r, "application/json", maxBody)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		wrong := (*json.UnmarshalTypeError)(nil)
		switch {
		case errors.As(err, &wrong):
			return refuse(exchange.Malformed, "the value of "+wrong.Field+" is of the wrong kind")
		case strings.HasPrefix(err.Error(), "json: unknown field"):
			return refuse(exchange.Malformed, "a field is not known here")
		}
		return refuse(exchange.Malformed, "the body is not JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return refuse(exchange.Malformed, "something follows the document")
	}
	return nil
}

func jsonReply(value any) (reply, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return reply{}, refuse(exchange.Unavailable, "")
	}
	return reply{http.StatusOK, "application/json", append(data, '\n')}, nil
}
