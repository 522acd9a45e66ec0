// Package client is the REST API of the coordinator as its callers see it: wire types, problem documents and a Go client.
// openapi.json beside it says the same to every other language; a test of the api package keeps it current.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Client talks to one coordinator. It is safe for use by several goroutines. A *Problem is the coordinator's own no; an
// *Unreachable means that nobody knows whether the request arrived.
type Client struct {
	base string
	http *http.Client
}

// maxAnswer bounds an answer in bytes; 10,000 servers fit.
const maxAnswer = 64 << 20

// New is a client of the coordinator at the base URL, for example http://127.0.0.1:8080. A nil transport is Go's default.
// Calls take as long as their context allows.
func New(base string, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("the coordinator's address is not a URL like http://127.0.0.1:8080")
	}
	return &Client{
		base: strings.TrimRight(u.String(), "/"),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Base is the coordinator's address.
func (c *Client) Base() string { return c.base }

// call is one request.
type call struct {
	method    string
	path      string // already escaped
	query     url.Values
	mediaType string
	body      []byte
	header    http.Header
}

func (c *Client) post(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	return c.do(ctx, call{method: http.MethodPost, path: path, mediaType: "application/json", body: body}, answer)
}

// do makes one call and reads its JSON answer.
func (c *Client) do(ctx context.Context, what call, answer any) error {
	response, err := c.send(ctx, what)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return &Unreachable{fmt.Errorf("read the coordinator's answer: %w", err)}
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("read the coordinator's answer: more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return &Unreachable{fmt.Errorf("%s does not answer like a coordinator: %w", c.base, err)}
	}
	return nil
}

// send makes one call. The answer's status is 2xx, and its body is the caller's to close.
func (c *Client) send(ctx context.Context, what call) (*http.Response, error) {
	address := c.base + what.path
	if len(what.query) > 0 {
		address += "?" + what.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, what.method, address, bytes.NewReader(what.body))
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	maps.Copy(request.Header, what.header)
	if what.mediaType != "" {
		request.Header.Set("Content-Type", what.mediaType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &Unreachable{plainly(err)}
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	return nil, problemOf(c.base, response)
}

// problemOf reads a problem document; an answer without one is somebody else's (a proxy, another program).
func problemOf(base string, response *http.Response) error {
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	var problem Problem
	if err != nil || mediaType != ProblemType || json.Unmarshal(body, &problem) != nil {
		return &Unreachable{fmt.Errorf("%s does not answer like a coordinator: status %s", base, response.Status)}
	}
	problem.Status = response.StatusCode
	return &problem
}

// plainly drops method and URL, which the caller has said already.
func plainly(err error) error {
	if inner := (*url.Error)(nil); errors.As(err, &inner) {
		return inner.Err
	}
	return err
}
