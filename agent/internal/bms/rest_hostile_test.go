package bms_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

// hostile is a driver for a top server that answers as the handler says.
func hostile(t *testing.T, timeout time.Duration, handler http.HandlerFunc) *bms.REST {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	trust := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	driver, err := bms.NewREST(bms.Options{Address: server.URL, Trust: trust, Timeout: timeout})
	require.NoError(t, err)
	t.Cleanup(func() {
		driver.Close()
		server.Close()
	})
	return driver
}

func says(status int, mediaType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// endless answers with one JSON text that never ends.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, err := io.WriteString(w, `{"servers":[`)
	for chunk := []byte(strings.Repeat(`{"host_id":"H"},`, 4096)); err == nil; {
		_, err = w.Write(chunk)
	}
}

func requireNoRefusal(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	var refusal *exchange.Refusal
	require.NotErrorAs(t, err, &refusal)
}

func TestAnswersThatAreNoListOfServers(t *testing.T) {
	one := `{"host_id":"T","role":"top"}`
	many := strings.Repeat(`{"host_id":"H","parent":"T","role":"field"},`, 5001)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a login page":           {says(200, "text/html", "<html>Log on</html>"), "not the JSON it should be (a proxy in between?)"},
		"endless":                {endless, "more than 33554432 bytes"},
		"half":                   {says(200, "application/json", `{"servers":[`), "not the JSON it should be"},
		"two values":             {says(200, "application/json", `{"servers":[`+one+`]}{}`), "something follows"},
		"wrong types":            {says(200, "application/json", `{"servers":7}`), "not the JSON it should be"},
		"nothing":                {says(200, "application/json", `{}`), "0 servers: a system has 1 to 5000"},
		"too many":               {says(200, "application/json", `{"servers":[`+many+one+`]}`), "5002 servers"},
		"no host ID":             {says(200, "application/json", `{"servers":[{"role":"top"}]}`), "server 1: host_id is missing"},
		"a host ID twice":        {says(200, "application/json", `{"servers":[`+one+`,{"host_id":"T","parent":"T","role":"field"}]}`), "host ID T is there twice"},
		"two top servers":        {says(200, "application/json", `{"servers":[`+one+`,{"host_id":"U","role":"top"}]}`), "servers 1 and 2 both have no parent"},
		"no top server":          {says(200, "application/json", `{"servers":[{"host_id":"A","parent":"A","role":"field"}]}`), "none is the top server"},
		"a parent elsewhere":     {says(200, "application/json", `{"servers":[`+one+`,{"host_id":"A","parent":"X","role":"field"}]}`), "the parent of A is not in the system"},
		"an unknown role":        {says(200, "application/json", `{"servers":[{"host_id":"T","role":"boss"}]}`), "role is not top or field"},
		"a name of a megabyte":   {says(200, "application/json", `{"servers":[{"host_id":"T","role":"top","name":"`+strings.Repeat("x", 1<<20)+`"}]}`), "name is longer than 255 bytes"},
		"a negative count":       {says(200, "application/json", `{"servers":[{"host_id":"T","role":"top","licenses":[{"feature":"f","used":-1}]}]}`), "impossible count"},
		"a nameless license":     {says(200, "application/json", `{"servers":[{"host_id":"T","role":"top","licenses":[{}]}]}`), "a license without a feature"},
		"a right twice":          {says(200, "application/json", `{"servers":[{"host_id":"T","role":"top","rights":[{"activation_id":"SECRET"},{"activation_id":"SECRET"}]}]}`), "a right is named twice"},
		"a forbidden right":      {says(200, "application/json", `{"servers":[{"host_id":"T","role":"top","rights":[{"activation_id":"SECRET,1"}]}]}`), "right 1: character 7"},
		"an error page":          {says(502, "text/html", "<html>"), `status "502 Bad Gateway" to /api/v1/servers without a problem document`},
		"a redirect":             {http.RedirectHandler("https://192.0.2.1/", http.StatusFound).ServeHTTP, `status "302 Found"`},
		"a problem without code": {says(504, exchange.ProblemType, `{"detail":"no route\u0007 to host"}`), `"504 Gateway Timeout" to /api/v1/servers: no route to host`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hostile(t, 0, c.handler).Servers(t.Context())
			requireNoRefusal(t, err)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func TestTheTopServerIsPutFirst(t *testing.T) {
	driver := hostile(t, 0, says(200, "application/json", `{"servers":[
		{"host_id":"A","parent":"T","role":"field"}, {"host_id":"T","role":"top","certificate_sha256":"told"}, {"host_id":"B","parent":"T","unanswered":"off"}
	]}`))
	facts, err := driver.Servers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []bms.HostID{"T", "A", "B"}, []bms.HostID{facts[0].HostID, facts[1].HostID, facts[2].HostID})
	require.Len(t, facts[0].Certificate, 64, "the certificate that was seen, not the one that was told")
	require.Equal(t, bms.Facts{HostID: "B", Parent: "T", Unanswered: "off"}, facts[2])
}

func TestAnswersThatAreNoMessage(t *testing.T) {
	message := func(host, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(bms.RESTHostHeader, host)
			says(200, exchange.MediaType, body)(w, r)
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"a login page":           {says(200, "text/html", "<html>"), `it answered "text/html" instead of a message`},
		"of another host":        {message("H-2", "{}"), `it answered with a message of host "H-2" instead of H-1`},
		"of nobody":              {says(200, exchange.MediaType, "{}"), `it answered with a message of host "" instead of H-1`},
		"empty":                  {message("H-1", ""), "an empty message"},
		"huge":                   {message("H-1", strings.Repeat("x", exchange.MaxMessage+1)), "more than 262144 bytes"},
		"another path's not":     {says(404, "text/plain", "404 page not found"), "without a problem document"},
		"a problem that is none": {says(409, exchange.ProblemType, "busy"), "without a problem document"},
		"cut off":                {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "ask the BMS server"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hostile(t, 0, c.handler).CreateReport(t.Context(), "H-1", exchange.Order{Epoch: 1})
			requireNoRefusal(t, err)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestARefusalIsWhatTheProblemSays(t *testing.T) {
	problem := func(code exchange.Code, retry exchange.Retry) string {
		data, err := json.Marshal(exchange.Problem{Detail: "line\nnext \u202e" + strings.Repeat("x", 1000), Code: code, Retry: retry})
		require.NoError(t, err)
		return string(data)
	}
	for _, c := range []struct {
		code, want exchange.Code
		retry      exchange.Retry
		when       exchange.Retry
	}{
		{exchange.ClockSkewed, exchange.ClockSkewed, "", exchange.RetryAfterOperator},
		{exchange.ClockSkewed, exchange.ClockSkewed, exchange.RetryLater, exchange.RetryLater},
		{"made-up", exchange.Unknown, "sometimes", exchange.RetryAfterOperator},
	} {
		driver := hostile(t, 0, says(409, exchange.ProblemType+"; charset=utf-8", problem(c.code, c.retry)))
		_, err := driver.ApplyResponse(t.Context(), "H-1", []byte("x"))
		var refusal *exchange.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, c.want, refusal.Code)
		require.Equal(t, c.when, refusal.When())
		require.Equal(t, 409, refusal.Status)
		require.Len(t, refusal.Detail, 300)
		require.NotContains(t, refusal.Detail, "\n")
	}
}

func TestASilentServerEndsWithTheTimeout(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"before the answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"in the middle": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hostile(t, 50*time.Millisecond, handler).Servers(t.Context())
			requireNoRefusal(t, err)
			require.ErrorContains(t, err, "deadline exceeded")
		})
	}
}

// givingUp answers the beginning of a message and ends it, well-formed, when the caller gives up: as a server does that
// notices.
type givingUp struct{}

func (givingUp) RoundTrip(r *http.Request) (*http.Response, error) {
	body, end := io.Pipe()
	go func() {
		_, _ = io.WriteString(end, "half")
		<-r.Context().Done()
		_ = end.Close()
	}()
	header := http.Header{"Content-Type": {exchange.MediaType}, bms.RESTHostHeader: {"T"}}
	return &http.Response{StatusCode: 200, Header: header, Body: body}, nil
}

func TestHalfAMessageIsNotTakenForWhole(t *testing.T) {
	driver, err := bms.NewREST(bms.Options{Address: "https://10.20.0.10", Timeout: time.Millisecond, HTTP: &http.Client{Transport: givingUp{}}})
	require.NoError(t, err)
	_, err = driver.CreateReport(t.Context(), "T", exchange.Order{Epoch: 1})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestWhatIsSentIsBoundedToo(t *testing.T) {
	var asked atomic.Int32
	driver := hostile(t, 0, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		says(404, exchange.ProblemType, `{"code":"host-unknown"}`)(w, r)
	})
	_, err := driver.ApplyResponse(t.Context(), "H-1", make([]byte, exchange.MaxMessage+1))
	var refusal *exchange.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, exchange.TooLarge, refusal.Code)
	require.Zero(t, asked.Load())
	_, err = driver.ApplyResponse(t.Context(), "H-1", []byte("x"))
	require.ErrorIs(t, err, bms.ErrNoSuchServer)
	require.EqualValues(t, 1, asked.Load())
}

func TestActivationIDsAppearInNoErrorOfTheDriver(t *testing.T) {
	driver := hostile(t, 0, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte("SECRET-1")) {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		says(500, "text/html", "<html>")(w, r)
	})
	_, err := driver.CreateRequest(t.Context(), "H-1", exchange.Order{Epoch: 1}, []exchange.Right{{ActivationID: "SECRET-1", Count: 1}})
	require.ErrorContains(t, err, "500 Internal Server Error")
	require.NotContains(t, fmt.Sprintf("%+v", err), "SECRET")
}
