package exchangetest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// call sends any request to the handler itself.
func call(s http.Handler, method, path, mediaType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func requireProblem(t testing.TB, w *httptest.ResponseRecorder, status int, code exchange.Code) exchange.Problem {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body.String())
	require.Equal(t, exchange.ProblemType, w.Header().Get("Content-Type"))
	var p exchange.Problem
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&p))
	require.Equal(t, code, p.Code)
	require.Equal(t, status, p.Status)
	require.NotEmpty(t, p.Title)
	require.Contains(t, []exchange.Retry{exchange.RetryNever, exchange.RetryLater, exchange.RetryAfterOperator}, p.Retry)
	return p
}

func TestRequestsThatNobodyAnswers(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	digest := string(exchange.DigestOf(nil))
	for name, c := range map[string]struct {
		method, path, mediaType, body string
		status                        int
		code                          exchange.Code
	}{
		"no such path":           {"GET", "/v2/keys", "", "", 404, exchange.Unknown},
		"bundles, not yet":       {"POST", "/v1/bundles", "", "", 404, exchange.Unknown},
		"another method":         {"GET", "/v1/exchanges", "", "", 405, exchange.Malformed},
		"another method still":   {"DELETE", "/v1/faults", "", "", 405, exchange.Malformed},
		"no media type":          {"POST", "/v1/exchanges", "", "{}", 415, exchange.Malformed},
		"another media type":     {"POST", "/v1/exchanges", "application/json", "{}", 415, exchange.Malformed},
		"no message":             {"POST", "/v1/exchanges", exchange.MediaType, "{}", 400, exchange.Malformed},
		"a large message":        {"POST", "/v1/exchanges", exchange.MediaType, strings.Repeat("x", exchange.MaxMessage+1), 413, exchange.TooLarge},
		"not a digest":           {"GET", "/v1/exchanges/ABC", "", "", 400, exchange.Malformed},
		"an unknown digest":      {"GET", "/v1/exchanges/" + digest, "", "", 404, exchange.Unknown},
		"an unknown host":        {"GET", "/v1/hosts/none", "", "", 404, exchange.HostUnknown},
		"a release of form":      {"POST", "/v1/hosts/h/release", "text/plain", "{}", 415, exchange.Malformed},
		"a release without key":  {"POST", "/v1/hosts/h/release", "application/json", "{}", 400, exchange.Malformed},
		"a release too large":    {"POST", "/v1/hosts/h/release", "application/json", `{"key":"` + strings.Repeat("k", maxBody) + `"}`, 413, exchange.TooLarge},
		"a negative order":       {"POST", "/v1/hosts/h/release", "application/json", `{"key":"k","order":{"epoch":-1}}`, 400, exchange.Malformed},
		"an invisible host":      {"POST", "/v1/hosts/%00/release", "application/json", `{"key":"k"}`, 400, exchange.Malformed},
		"an order of nothing":    {"POST", "/v1/orders", "application/json", `{}`, 404, exchange.RightUnknown},
		"an unknown entitlement": {"POST", "/v1/orders", "application/json", `{"entitlement_id":"none"}`, 404, exchange.RightUnknown},
		"a long nonce":           {"GET", "/v1/health?nonce=" + strings.Repeat("n", exchange.MaxNonce+1), "", "", 400, exchange.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			w := call(s, c.method, c.path, c.mediaType, c.body)
			requireProblem(t, w, c.status, c.code)
			require.Equal(t, c.status == 405, w.Header().Get("Allow") != "")
			require.NotContains(t, w.Body.String(), "entitlement_id")
		})
	}
}

// chunked is a body whose length nobody announced.
type chunked struct{ io.Reader }

func TestBodyIsBoundedWithoutItsLength(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	endless := &chunked{io.LimitReader(zeros{}, 1<<30)}
	r := httptest.NewRequest(http.MethodPost, "/v1/exchanges", endless)
	r.Header.Set("Content-Type", exchange.MediaType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	requireProblem(t, w, 413, exchange.TooLarge)
	left := endless.Reader.(*io.LimitedReader).N
	require.Greater(t, left, int64(1<<30-2*exchange.MaxMessage), "hardly more than the limit is read")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHealthIsTheSignedTime(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	las := Start(t, Options{Now: func() time.Time { return now }})
	response, err := las.Client.HTTP.Get(las.URL + "/v1/health?nonce=abc")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	document, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, exchange.SignedType, response.Header.Get("Content-Type"))
	health, err := exchange.VerifyHealth(las.Keys(), "abc", document)
	require.NoError(t, err)
	require.Equal(t, now, health.Time)
	_, err = exchange.VerifyHealth(las.Keys(), "xyz", document)
	require.Error(t, err, "an old answer is not a new one")
	_, err = exchange.VerifyHealth(signed.KeySet{}, "abc", document)
	require.ErrorIs(t, err, signed.ErrKey)
}

func TestOrdersAreToldAndRateLimited(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	las := Start(t, Options{Now: func() time.Time { return now }, OrdersPerMinute: 2})
	h := newHost(t, las, "DEMO-host-1")
	h.Now = func() time.Time { return now }
	activate(t, las, h, order(1), counts{devices: 5})
	ask := `{"entitlement_id":"DEMO-ENT-2026-000123"}`

	w := call(las, "POST", "/v1/orders", "application/json", ask)
	require.Equal(t, 200, w.Code, w.Body.String())
	var info OrderInfo
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &info))
	require.Equal(t, "deployed", info.State)
	require.Len(t, info.Lines, 5)
	require.Equal(t, OrderLine{
		ActivationID: devices, PartNumber: "SAMPLE-DEV-100", Product: "Connected devices, pack of 100", Version: "7.0",
		Count: 25, Remaining: 20, Start: time.Date(2026, 10, 21, 0, 0, 0, 0, time.UTC),
		Features: []OrderFeature{{Name: "connected.devices", Count: 100}},
	}, info.Lines[2])
	require.Equal(t, time.Date(2027, 11, 20, 23, 59, 59, 0, time.UTC), *info.Lines[0].Expires)

	require.Equal(t, 404, call(las, "POST", "/v1/orders", "application/json", `{"entitlement_id":"guess"}`).Code)
	w = call(las, "POST", "/v1/orders", "application/json", ask)
	requireProblem(t, w, 429, exchange.RateLimited)
	require.Equal(t, "30", w.Header().Get("Retry-After"))
	now = now.Add(30 * time.Second)
	require.Equal(t, 200, call(las, "POST", "/v1/orders", "application/json", ask).Code)
}

func TestOrderThatIsPutOnHoldLater(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{devices: 5})
	orders := SampleOrders(time.Now())
	orders.Entitlements[0].State = StateOnHold
	require.NoError(t, las.SetOrders(orders))
	_, r := ask(t, las, h, order(2), counts{devices: 6})
	require.Equal(t, exchange.RightSuspended, r.Refused[0].Code)
	require.Equal(t, counts{devices: 5}, counts{r.Rights[0].ActivationID: r.Rights[0].Count})
	require.NotEmpty(t, r.Licenses)

	orders.Entitlements[0].Lines[0].PartNumber = "none"
	require.ErrorContains(t, las.SetOrders(orders), `the catalog has no product "none"`)
}

// TestNoSecretLeaks runs everything with the log on and looks for IDs in it, and in every error.
func TestNoSecretLeaks(t *testing.T) {
	var log bytes.Buffer
	las := newKillable(t, Options{Logger: zerolog.New(zerolog.SyncWriter(&log))})
	h := newHost(t, las.Service, "DEMO-host-1")
	var errs []error
	keep := func(_ []byte, err error) { errs = append(errs, err) }
	activate(t, las.Service, h, order(1), counts{snmp: 2})
	keep(las.Process(must(h.Request(order(0), counts{snmp: 2}))))
	keep(las.Process(must(h.write(exchange.Request{Operation: exchange.OperationRequest, Rights: []exchange.WireRight{
		{ActivationID: snmp, Count: -1},
	}}))))
	keep(las.Process(must(newHost(t, las.Service, h.ID).Request(order(2), counts{snmp: 1}))))
	errs = append(errs,
		las.Fault(Fault{Fault: FaultForgetRight, Host: "DEMO-none", ActivationID: snmp}),
		las.Fault(Fault{Fault: FaultDropReply, ActivationID: snmp}),
		las.Fault(Fault{Fault: FaultForgetRight, Host: h.ID, ActivationID: snmp}))
	for _, e := range []string{"DEMO-ENT-2026-000123", "DEMO-ENT-none"} {
		call(las, "POST", "/v1/orders", "application/json", `{"entitlement_id":"`+e+`"}`)
	}
	_, err := las.Release(h.ID, exchange.Release{Key: "k", Order: order(5), Take: true})
	require.NoError(t, err)
	_, err = New(Options{Orders: Orders{Entitlements: []Entitlement{
		{Lines: []Line{{ActivationID: snmp, PartNumber: "SAMPLE-SNMP"}, {ActivationID: snmp, PartNumber: "SAMPLE-SNMP"}}},
	}}})
	require.Error(t, err)
	errs = append(errs, err)
	require.NoError(t, las.store.journal.file.Close())
	keep(las.Process(must(h.Report(order(6)))))

	require.Contains(t, log.String(), "DEMO-host-1")
	text := log.String()
	for _, err := range errs {
		if err != nil {
			text += err.Error() + "\n"
		}
	}
	require.NotContains(t, text, "DEMO-ACT")
	require.NotContains(t, text, "DEMO-ENT")
	require.NoError(t, las.unlock())
	las.start(las.options)
}
