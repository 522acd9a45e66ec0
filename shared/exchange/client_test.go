package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

// reply is what somebody under the base URL answers.
type reply struct {
	status int
	header map[string]string
	body   string
}

func clientOf(t testing.TB, answer func(*http.Request) reply) *exchange.Client {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := answer(r)
		for key, value := range got.header {
			w.Header().Set(key, value)
		}
		w.WriteHeader(got.status)
		_, _ = io.WriteString(w, got.body)
	}))
	t.Cleanup(server.Close)
	return &exchange.Client{Base: server.URL + "/relay/", HTTP: server.Client()}
}

func as(mediaType string, more ...string) map[string]string {
	header := map[string]string{"Content-Type": mediaType}
	for i := 0; i+1 < len(more); i += 2 {
		header[more[i]] = more[i+1]
	}
	return header
}

func TestClientCarriesTheBytesAsTheyAre(t *testing.T) {
	message := []byte("\x00opaque\xff")
	var got []string
	c := clientOf(t, func(r *http.Request) reply {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Content-Type"), string(body))
		return reply{200, as(exchange.MediaType), "answer\x00"}
	})
	answer, err := c.Post(t.Context(), message)
	require.NoError(t, err)
	require.Equal(t, "answer\x00", string(answer))
	digest := exchange.DigestOf(message)
	_, err = c.Fetch(t.Context(), digest)
	require.NoError(t, err)
	_, err = c.Release(t.Context(), "host/../1", exchange.Release{Key: "k", Order: exchange.Order{Epoch: 1, Generation: 2}, Take: true})
	require.NoError(t, err)
	require.Equal(t, []string{
		"POST /relay/v1/exchanges " + exchange.MediaType, string(message),
		"GET /relay/v1/exchanges/" + string(digest) + " ", "",
		"POST /relay/v1/hosts/host%2F..%2F1/release application/json", `{"key":"k","order":{"epoch":1,"generation":2},"take":true}`,
	}, got)
}

// What a proxy, a portal or a wrong address answers is neither an answer nor a refusal.
func TestClientTakesNobodyElsesWord(t *testing.T) {
	problem := `{"code":"superseded"}`
	var asked int
	for name, answer := range map[string]reply{
		"a portal's page":        {200, as("text/html; charset=utf-8"), "<html>log on</html>"},
		"a page without type":    {200, as(""), "x"},
		"JSON where none is due": {200, as("application/json"), "{}"},
		"a proxy's error":        {502, as("text/html"), "bad gateway"},
		"a problem by name only": {409, as("application/json"), problem},
		"half a problem":         {409, as(exchange.ProblemType), problem[:9]},
		"a redirect":             {307, as(exchange.ProblemType+"x", "Location", "/elsewhere"), ""},
		"more than anybody says": {200, as(exchange.MediaType), strings.Repeat("x", 4<<20+1)},
	} {
		t.Run(name, func(t *testing.T) {
			asked = 0
			c := clientOf(t, func(*http.Request) reply { asked++; return answer })
			got, err := c.Post(t.Context(), []byte("message"))
			require.Error(t, err)
			require.Nil(t, got)
			require.False(t, errors.As(err, new(*exchange.Refusal)), "%v", err)
			require.Equal(t, 1, asked, "a message goes to nobody else")
		})
	}
}

func TestClientReadsRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		answer reply
		want   exchange.Refusal
		when   exchange.Retry
	}{
		"plain": {
			reply{409, as(exchange.ProblemType), `{"code":"superseded","retry":"never","detail":"old"}`},
			exchange.Refusal{Code: exchange.Superseded, Retry: exchange.RetryNever, Detail: "old", Status: 409},
			exchange.RetryNever,
		},
		"later": {
			reply{503, as(exchange.ProblemType+"; charset=utf-8", "Retry-After", "7"), `{"code":"busy"}`},
			exchange.Refusal{Code: exchange.Busy, RetryAfter: 7 * time.Second, Status: 503},
			exchange.RetryLater,
		},
		"a code from the future": {
			reply{418, as(exchange.ProblemType), `{"code":"teapot","later":{"x":1}}`},
			exchange.Refusal{Code: exchange.Unknown, Status: 418},
			exchange.RetryAfterOperator,
		},
		"a hostile detail": {
			reply{400, as(exchange.ProblemType), `{"code":"malformed","detail":"a\u001b[2J\u202eb\n` + strings.Repeat("x", 400) + `"}`},
			exchange.Refusal{Code: exchange.Malformed, Detail: "a[2Jb" + strings.Repeat("x", 295), Status: 400},
			exchange.RetryNever,
		},
		"a date to come back": {
			reply{503, as(exchange.ProblemType, "Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT"), `{"code":"busy"}`},
			exchange.Refusal{Code: exchange.Busy, Status: 503},
			exchange.RetryLater,
		},
		"a year to wait": {
			reply{503, as(exchange.ProblemType, "Retry-After", "31536000"), `{"code":"busy"}`},
			exchange.Refusal{Code: exchange.Busy, Status: 503},
			exchange.RetryLater,
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientOf(t, func(*http.Request) reply { return c.answer })
			_, err := client.Post(t.Context(), nil)
			var refusal *exchange.Refusal
			require.True(t, errors.As(err, &refusal), "%v", err)
			require.Equal(t, c.want, *refusal)
			require.Equal(t, c.when, refusal.When())
		})
	}
}

func TestClientWaitsForAPerson(t *testing.T) {
	c := clientOf(t, func(*http.Request) reply { return reply{202, map[string]string{"Retry-After": "60"}, ""} })
	_, err := c.Post(t.Context(), nil)
	var carried *exchange.ErrCarried
	require.True(t, errors.As(err, &carried))
	require.Equal(t, time.Minute, carried.RetryAfter)
	require.ErrorContains(t, err, "ask again in 1m0s")
}

func TestHostStateOfAStrangerOnlyFromAnActivationServer(t *testing.T) {
	answer := reply{404, as(exchange.ProblemType), `{"code":"host-unknown"}`}
	c := clientOf(t, func(*http.Request) reply { return answer })
	state, err := c.HostState(t.Context(), "host-1")
	require.NoError(t, err)
	require.Equal(t, exchange.HostState{Host: "host-1"}, state)

	answer = reply{404, as(exchange.ProblemType), `{"code":"unknown","detail":"there is no such path here"}`}
	_, err = c.HostState(t.Context(), "host-1")
	require.Error(t, err, "a carrier that keeps no hosts does not say that this one holds nothing")
	answer = reply{200, as("application/json"), `{"host":`}
	_, err = c.HostState(t.Context(), "host-1")
	require.ErrorContains(t, err, "read the answer to GET /v1/hosts/host-1")
}

func TestClientEndsWithItsContext(t *testing.T) {
	block := make(chan struct{})
	c := clientOf(t, func(r *http.Request) reply {
		select {
		case <-block:
		case <-r.Context().Done():
		}
		return reply{200, as(exchange.MediaType), ""}
	})
	defer close(block)
	ctx, cancel := context.WithCancel(t.Context())
	c.HTTP.Transport = waiting{c.HTTP.Transport, cancel}
	_, err := c.Post(ctx, bytes.Repeat([]byte("x"), 10))
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, errors.As(err, new(*exchange.Refusal)))
}

// waiting cancels once the request is on its way.
type waiting struct {
	http.RoundTripper
	cancel func()
}

func (w waiting) RoundTrip(r *http.Request) (*http.Response, error) {
	go w.cancel()
	return w.RoundTripper.RoundTrip(r)
}
