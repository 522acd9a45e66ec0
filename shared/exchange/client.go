package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/licet-project/licet/shared/signed"
)

// Client talks to a License Activation Server, or to any carrier: whoever answers the same endpoints under a base URL. It
// follows no redirect: a message is not for whoever a proxy names.
// A refusal is a *Refusal; every other error means that nobody knows whether the message arrived, so the same bytes may
// go again.
type Client struct {
	Base string       // for example https://activation.example.com
	HTTP *http.Client // nil means a client with a time-out of 30 s
}

var defaultHTTP = &http.Client{Timeout: 30 * time.Second}

// ErrCarried means that a person carries the message: ask again with Fetch, not before the time given.
type ErrCarried struct{ RetryAfter time.Duration }

func (e *ErrCarried) Error() string {
	return fmt.Sprintf("a person carries the message; ask again in %s", e.RetryAfter)
}

// Post sends a request or a confirmation and returns the response or the receipt.
func (c *Client) Post(ctx context.Context, message []byte) ([]byte, error) {
	return c.bytes(ctx, call{http.MethodPost, "/v1/exchanges", MediaType, MediaType}, message)
}

// Fetch returns the very bytes that answered the message with this digest.
func (c *Client) Fetch(ctx context.Context, message Digest) ([]byte, error) {
	return c.bytes(ctx, call{http.MethodGet, "/v1/exchanges/" + string(message), "", MediaType}, nil)
}

// Release orders what happens to a host that cannot speak for itself.
type Release struct {
	Key   string `json:"key"` // chosen by the caller; the same key gets the same receipt
	Order Order  `json:"order"`
	Take  bool   `json:"take"` // true frees the host's seats, false only fences
}

// Release raises the host's fence and sequence, frees its seats if r.Take, and returns a signed receipt.
func (c *Client) Release(ctx context.Context, host string, r Release) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("release of %s: %w", host, err)
	}
	return c.bytes(ctx, call{http.MethodPost, "/v1/hosts/" + url.PathEscape(host) + "/release", jsonType, MediaType}, body)
}

// HostState is what the activation server thinks a host holds.
type HostState struct {
	Host     string      `json:"host"`
	Sequence int64       `json:"sequence"`
	Fence    Order       `json:"fence"`
	Rights   []HostRight `json:"rights"`
}

// HostRight is a right of a host; Pending seats wait for a confirmation of their removal.
type HostRight struct {
	ActivationID string `json:"activation_id"`
	Count        int    `json:"count"`
	Pending      int    `json:"pending"`
}

// HostState returns what the activation server thinks the host holds; a host that it never saw holds nothing. Only an
// activation server that says so counts: another 404, as from a carrier that keeps no hosts, is an error.
func (c *Client) HostState(ctx context.Context, host string) (HostState, error) {
	var state HostState
	err := c.json(ctx, "/v1/hosts/"+url.PathEscape(host), &state)
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) && refusal.Code == HostUnknown {
		return HostState{Host: host}, nil
	}
	return state, err
}

// Keys returns the activation server's public keys. Whoever asks over the network trusts the network: pin what comes back.
func (c *Client) Keys(ctx context.Context) (signed.KeySet, error) {
	var keys signed.KeySet
	err := c.json(ctx, "/v1/keys", &keys)
	return keys, err
}

func (c *Client) json(ctx context.Context, path string, into any) error {
	body, err := c.bytes(ctx, call{http.MethodGet, path, "", jsonType}, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the answer to GET %s: %w", path, err)
	}
	return nil
}

// maxAnswer bounds every answer: a set of keys or a host with very many rights fits.
const maxAnswer = 4 << 20

const jsonType = "application/json"

// call is one endpoint with the media types of what is sent and of what must come back.
type call struct{ method, path, sends, wants string }

func (c *Client) bytes(ctx context.Context, to call, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, to.method, strings.TrimRight(c.Base, "/")+to.path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the activation server: %w", err)
	}
	if to.sends != "" {
		request.Header.Set("Content-Type", to.sends)
	}
	response, err := c.client().Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the activation server: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the activation server's answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("read the activation server's answer: more than %d bytes", maxAnswer)
	}
	switch {
	case response.StatusCode == http.StatusAccepted:
		return nil, &ErrCarried{RetryAfter: retryAfter(response)}
	case response.StatusCode/100 == 2:
		if got := mediaType(response); got != to.wants {
			return nil, fmt.Errorf("ask the activation server: status %s with %.64q instead of %s (a proxy in between?)", response.Status, got, to.wants)
		}
		return answer, nil
	}
	return nil, refusalOf(response, answer)
}

// client is a copy, so that the caller's own goes on following redirects.
func (c *Client) client() *http.Client {
	client := *defaultHTTP
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

func mediaType(response *http.Response) string {
	got, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return got
}

// refusalOf reads a problem document. An answer without one is somebody else's (a proxy, a portal): not a refusal.
func refusalOf(response *http.Response, body []byte) error {
	var problem Problem
	if mediaType(response) != ProblemType || json.Unmarshal(body, &problem) != nil {
		return fmt.Errorf("ask the activation server: status %s without a problem document (a proxy in between?)", response.Status)
	}
	return problem.Refusal(response.StatusCode, retryAfter(response))
}

// retryAfter reads the seconds form alone; a date, nonsense or more than a day counts as nothing said.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 86_400 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
