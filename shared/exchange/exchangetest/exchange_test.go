package exchangetest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Rights of the sample order book.
const (
	advanced = "DEMO-ACT-7f3a-0001" // 40 seats, one year
	devices  = "DEMO-ACT-7f3a-0003" // 25 seats, permanent
	snmp     = "DEMO-ACT-7f3a-0004" // 200 seats, permanent
	driver   = "DEMO-ACT-7f3a-0005" // 12 seats, one year
)

type counts = map[string]int

// order is generation g of the only epoch that most tests need.
func order(g int64) exchange.Order { return exchange.Order{Epoch: 1_700_000_000, Generation: g} }

func newHost(t testing.TB, s *Service, id string) *Host {
	t.Helper()
	h, err := NewHost(id, func() signed.KeySet { return s.Keys() })
	require.NoError(t, err)
	return h
}

// must is for what a host writes.
func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// post goes through the real handler, or past it where a test starts the server again and again.
func post(s *Service, message []byte) ([]byte, error) {
	if s.Client == nil {
		return s.Process(message)
	}
	return s.Client.Post(context.Background(), message)
}

// ask sends a request and returns the response, also read.
func ask(t testing.TB, s *Service, h *Host, o exchange.Order, c counts) ([]byte, exchange.Response) {
	t.Helper()
	document, err := post(s, must(h.Request(o, c)))
	require.NoError(t, err)
	return document, readResponse(t, s, h.ID, document)
}

// report sends a report and returns the response, also read.
func report(t testing.TB, s *Service, h *Host, o exchange.Order) ([]byte, exchange.Response) {
	t.Helper()
	document, err := post(s, must(h.Report(o)))
	require.NoError(t, err)
	return document, readResponse(t, s, h.ID, document)
}

// activate does a whole exchange and returns the receipt.
func activate(t testing.TB, s *Service, h *Host, o exchange.Order, c counts) exchange.Receipt {
	t.Helper()
	document, _ := ask(t, s, h, o, c)
	return confirm(t, s, h, document)
}

// confirm applies the response at the host and sends the confirmation.
func confirm(t testing.TB, s *Service, h *Host, response []byte) exchange.Receipt {
	t.Helper()
	confirmation, err := h.Apply(response)
	require.NoError(t, err)
	document, err := post(s, confirmation)
	require.NoError(t, err)
	receipt, err := exchange.VerifyReceipt(s.Keys(), h.ID, document)
	require.NoError(t, err)
	require.Equal(t, exchange.DigestOf(confirmation), receipt.For)
	return receipt
}

// release goes the way of post.
func release(t testing.TB, s *Service, host string, r exchange.Release) exchange.Receipt {
	t.Helper()
	document, err := s.Release(host, r)
	if s.Client != nil {
		document, err = s.Client.Release(t.Context(), host, r) // the same key: the same receipt
	}
	require.NoError(t, err)
	receipt, err := exchange.VerifyReceipt(s.Keys(), host, document)
	require.NoError(t, err)
	return receipt
}

func readResponse(t testing.TB, s *Service, host string, document []byte) exchange.Response {
	t.Helper()
	payload, err := s.Keys().Verify(document, signed.Purpose{Kind: exchange.ResponseKind, Audience: host}, exchange.MaxMessage)
	require.NoError(t, err)
	var r exchange.Response
	require.NoError(t, json.Unmarshal(payload, &r))
	return r
}

func requireCode(t testing.TB, code exchange.Code, err error) {
	t.Helper()
	require.Equal(t, code, asRefusal(t, err).Code)
}

func asRefusal(t testing.TB, err error) *exchange.Refusal {
	t.Helper()
	var refusal *exchange.Refusal
	require.True(t, errors.As(err, &refusal), "%v", err)
	return refusal
}

// requireHeld checks what the server thinks the host holds of the right.
func requireHeld(t testing.TB, s *Service, host, id string, count, pending int) {
	t.Helper()
	state, _ := s.Host(host)
	got := exchange.HostRight{ActivationID: id}
	for _, r := range state.Rights {
		if r.ActivationID == id {
			got = r
		}
	}
	require.Equal(t, exchange.HostRight{ActivationID: id, Count: count, Pending: pending}, got)
}

func rightOf(id string) exchange.RightID { return exchange.ActivationID(id).RightID() }

func TestExchange(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	ctx := t.Context()

	request := must(h.Request(order(1), counts{advanced: 1, devices: 2}))
	document, err := las.Client.Post(ctx, request)
	require.NoError(t, err)
	response := readResponse(t, las, h.ID, document)
	require.Equal(t, exchange.ResultSuccess, response.Result)
	require.Equal(t, exchange.DigestOf(request), response.Request)
	require.Equal(t, int64(1), response.Sequence)
	require.Equal(t, order(1), response.Order)
	require.Equal(t, []exchange.WireRight{{ActivationID: advanced, Count: 1}, {ActivationID: devices, Count: 2}}, response.Rights)
	require.True(t, response.ConfirmationRequired)
	require.NotNil(t, response.ConfirmBy)
	require.Equal(t, 24*60, int(response.NotAfter.Sub(response.IssuedAt).Minutes()))
	features := counts{}
	for _, l := range response.Licenses {
		features[l.Feature] = l.Count
		require.Equal(t, "system", l.Scope)
		require.Equal(t, l.ActivationID == devices, l.Expires == nil)
	}
	require.Equal(t, counts{"server.base": 1, "server.advanced": 1, "connected.devices": 200}, features)

	receipt := confirm(t, las, h, document)
	require.Equal(t, order(1), receipt.Order)
	require.Equal(t, int64(1), receipt.Sequence)
	require.ElementsMatch(t, []exchange.ReceiptRight{{Right: rightOf(advanced), Count: 1}, {Right: rightOf(devices), Count: 2}}, receipt.Rights)

	again, err := las.Client.Fetch(ctx, exchange.DigestOf(request))
	require.NoError(t, err)
	require.Equal(t, document, again)
	state, err := las.Client.HostState(ctx, h.ID)
	require.NoError(t, err)
	require.Equal(t, exchange.HostState{
		Host: h.ID, Sequence: 1, Fence: order(1),
		Rights: []exchange.HostRight{{ActivationID: advanced, Count: 1}, {ActivationID: devices, Count: 2}},
	}, state)
}

func TestDirectIsAClientWithoutNetwork(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	direct, ctx := las.Direct(), t.Context()
	request := must(h.Request(order(1), counts{advanced: 1}))
	answer, err := direct.Post(ctx, request)
	require.NoError(t, err)
	overHTTP, err := las.Client.Post(ctx, request)
	require.NoError(t, err)
	require.Equal(t, overHTTP, answer)
	fetched, err := direct.Fetch(ctx, exchange.DigestOf(request))
	require.NoError(t, err)
	require.Equal(t, answer, fetched)
	receipt, err := direct.Release(ctx, h.ID, exchange.Release{Key: "k", Order: order(2)})
	require.NoError(t, err)
	_, err = exchange.VerifyReceipt(las.Keys(), h.ID, receipt)
	require.NoError(t, err)
	known, err := direct.HostState(ctx, h.ID)
	require.NoError(t, err)
	require.Equal(t, int64(2), known.Sequence)
	stranger, err := direct.HostState(ctx, "DEMO-stranger")
	require.NoError(t, err)
	require.Equal(t, exchange.HostState{Host: "DEMO-stranger"}, stranger)
	keys, err := direct.Keys(ctx)
	require.NoError(t, err)
	require.Equal(t, las.Keys(), keys)
}
