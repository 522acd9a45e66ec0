package bms

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Options say how NewREST reaches a system.
type Options struct {
	Address string        // https://host[:port] of the top server
	Trust   []byte        // PEM: the top server's own certificate, or that of the authority that issued it
	Timeout time.Duration // of one call; 0 means 30 s
	HTTP    *http.Client  // nil means one that knows the server by Trust; another one judges the server itself
}

// REST is the driver for a top server's HTTPS API, as openapi.yaml states it. It keeps connections and nothing else.
type REST struct {
	base    string
	http    *http.Client
	timeout time.Duration
}

var (
	_ System    = (*REST)(nil)
	_ Explainer = (*REST)(nil)
)

// NewREST checks the options; nothing is sent yet.
func NewREST(o Options) (*REST, error) {
	address, err := url.Parse(o.Address)
	if err != nil {
		return nil, errors.New("open the rest driver: the address is not a URL and should look like https://10.20.0.10")
	}
	if address.Scheme != "https" || address.Hostname() == "" || address.User != nil ||
		strings.Trim(address.Path, "/") != "" || address.RawQuery != "" || address.Fragment != "" {
		return nil, fmt.Errorf("open the rest driver: the address is %.100q and should look like https://10.20.0.10", address.Redacted())
	}
	d := &REST{base: "https://" + address.Host, http: o.HTTP, timeout: cmp.Or(o.Timeout, 30*time.Second)}
	if d.http != nil {
		return d, nil
	}
	config, err := trusting(address.Hostname(), o.Trust)
	if err != nil {
		return nil, fmt.Errorf("open the rest driver for %s: %w", d.base, err)
	}
	d.http = &http.Client{
		Transport: &http.Transport{ // no proxy: a BMS server is a neighbor
			TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 16,
			IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d, nil
}

// Close drops the connections that are kept.
func (d *REST) Close() { d.http.CloseIdleConnections() }

// Servers implements System.
func (d *REST) Servers(ctx context.Context) ([]Facts, error) {
	var list RESTServers
	served, err := d.json(ctx, call{method: http.MethodGet, path: "/api/v1/servers"}, &list)
	if err != nil {
		return nil, err
	}
	facts, err := systemOf(list)
	if err != nil {
		return nil, fmt.Errorf("read the servers that %s lists: %w", d.base, err)
	}
	if served != "" && facts[0].Unanswered == "" {
		facts[0].Certificate = served // seen, not told
	}
	return facts, nil
}

// CreateRequest implements System.
func (d *REST) CreateRequest(ctx context.Context, host HostID, order exchange.Order, want []exchange.Right) ([]byte, error) {
	body := RESTRequest{Order: order, Rights: make([]exchange.WireRight, len(want))}
	for i, right := range want {
		body.Rights[i] = exchange.WireRight{ActivationID: right.ActivationID.Reveal(), Count: right.Count}
	}
	return d.order(ctx, host, "/requests", body)
}

// CreateReport implements System.
func (d *REST) CreateReport(ctx context.Context, host HostID, order exchange.Order) ([]byte, error) {
	return d.order(ctx, host, "/reports", RESTReport{Order: order})
}

// ApplyResponse implements System.
func (d *REST) ApplyResponse(ctx context.Context, host HostID, response []byte) ([]byte, error) {
	if len(response) > exchange.MaxMessage {
		return nil, &exchange.Refusal{Code: exchange.TooLarge, Detail: fmt.Sprintf("the response has %d bytes", len(response))}
	}
	return d.message(ctx, call{method: http.MethodPost, path: of(host, "/responses"), contentType: exchange.MediaType, body: response}, host)
}

// Refused implements Explainer.
func (d *REST) Refused(ctx context.Context, host HostID, response []byte) ([]exchange.RefusedRight, error) {
	var list RESTRefused
	_, err := d.json(ctx, call{method: http.MethodPost, path: of(host, "/refused"), contentType: exchange.MediaType, body: response}, &list)
	if err != nil {
		return nil, err
	}
	if len(list.Refused) > maxList {
		return nil, fmt.Errorf("read what %s refuses: more than %d rights", host, maxList)
	}
	for i := range list.Refused {
		list.Refused[i].Code = list.Refused[i].Code.Known()
	}
	return list.Refused, nil
}

func of(host HostID, what string) string {
	return "/api/v1/servers/" + url.PathEscape(string(host)) + what
}

// order posts a JSON body and returns the message that the server wrote.
func (d *REST) order(ctx context.Context, host HostID, what string, body any) ([]byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", host, err)
	}
	return d.message(ctx, call{method: http.MethodPost, path: of(host, what), contentType: "application/json", body: data}, host)
}

// message returns an opaque message of the host: the right kind, from the right host, not empty.
func (d *REST) message(ctx context.Context, c call, host HostID) ([]byte, error) {
	got, err := d.do(ctx, c, exchange.MaxMessage)
	if err != nil {
		return nil, err
	}
	if got.mediaType() != exchange.MediaType {
		return nil, fmt.Errorf("ask %s: it answered %.60q instead of a message (a proxy in between?)", d.base, got.mediaType())
	}
	if from := got.header.Get(RESTHostHeader); from != string(host) {
		return nil, fmt.Errorf("ask %s: it answered with a message of host %.60q instead of %s", d.base, from, host)
	}
	if len(got.body) == 0 {
		return nil, fmt.Errorf("ask %s: it answered with an empty message", d.base)
	}
	return got.body, nil
}

// maxAnswer holds the facts of the largest known system, 2,511 servers, several times over.
const maxAnswer = 32 << 20

// json reads an answer into the value and returns the fingerprint of the certificate that was served.
func (d *REST) json(ctx context.Context, c call, into any) (string, error) {
	got, err := d.do(ctx, c, maxAnswer)
	if err != nil {
		return "", err
	}
	decoder := json.NewDecoder(bytes.NewReader(got.body))
	if err := decoder.Decode(into); err != nil {
		return "", fmt.Errorf("ask %s: its answer to %s is not the JSON it should be (a proxy in between?): %w", d.base, c.path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("ask %s: something follows its answer to %s", d.base, c.path)
	}
	return got.served, nil
}

// call is one HTTP request.
type call struct {
	method, path, contentType string
	body                      []byte
}

// answer is what came back, read whole.
type answer struct {
	status string
	code   int
	header http.Header
	body   []byte
	served string // SHA-256 of the certificate that the server showed
}

func (a answer) mediaType() string {
	kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return kind
}

// do asks and reads an answer of at most limit bytes; one that says no is an error.
func (d *REST) do(ctx context.Context, c call, limit int64) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, c.method, d.base+c.path, bytes.NewReader(c.body))
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", d.base, err)
	}
	if c.contentType != "" {
		request.Header.Set("Content-Type", c.contentType)
	}
	request.Header["Idempotency-Key"] = nil // every call may be made again: over a new connection when a kept one is dead
	response, err := d.http.Do(request)
	if ended := ctx.Err(); err != nil && ended != nil && !errors.Is(err, ended) { // net/http tells the cause alone
		err = fmt.Errorf("%w: %w", err, ended)
	}
	if err != nil {
		return answer{}, fmt.Errorf("ask the BMS server: %w", err) // net/http names method and address
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil {
		err = ctx.Err() // a server that notices that we gave up ends its answer early, and well-formed
	}
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: read its answer to %s: %w", d.base, c.path, err)
	}
	if int64(len(body)) > limit {
		return answer{}, fmt.Errorf("ask %s: its answer to %s has more than %d bytes", d.base, c.path, limit)
	}
	got := answer{status: response.Status, code: response.StatusCode, header: response.Header, body: body}
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		served := sha256.Sum256(response.TLS.PeerCertificates[0].Raw)
		got.served = hex.EncodeToString(served[:])
	}
	if got.code != http.StatusOK {
		return answer{}, d.refusal(c, got)
	}
	return got, nil
}

// refusal is what the server said no with. An answer without a known form is nobody's word: not a refusal.
func (d *REST) refusal(c call, got answer) error {
	var problem exchange.Problem
	if got.mediaType() != exchange.ProblemType || json.Unmarshal(got.body, &problem) != nil {
		return fmt.Errorf("ask %s: status %.60q to %s without a problem document (a proxy in between?)", d.base, got.status, c.path)
	}
	refusal := problem.Refusal(got.code, 0)
	switch {
	case problem.Code == "":
		return fmt.Errorf("ask %s: %.60q to %s: %s", d.base, got.status, c.path, refusal.Detail)
	case got.code == http.StatusNotFound && refusal.Code == exchange.HostUnknown:
		return fmt.Errorf("ask %s: %w", d.base, ErrNoSuchServer)
	}
	return refusal
}
