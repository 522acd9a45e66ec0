package exchangetest

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Rights of the sample order book.
const (
	advanced = "DEMO-ACT-7f3a-0001" // 40 seats, one year
	devices  = "DEMO-ACT-7f3a-0003" // 25 seats, permanent
	snmp     = "DEMO-ACT-7f3a-0004" // 200 seats, permanent
	driver   = "DEMO-ACT-7f3a-0005" // 12 seats, one year
)

// order is generation g of the only epoch that most tests need.
func order(g int64) exchange.Order { return exchange.Order{Epoch: 1_700_000_000, Generation: g} }

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func newHost(t testing.TB, s *Server, id string) *Host {
	t.Helper()
	h, err := NewHost(id, s.Keys)
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

// ask sends a request and returns the response, read.
func ask(t testing.TB, s *Server, h *Host, o exchange.Order, counts map[string]int) ([]byte, exchange.Response) {
	t.Helper()
	document, err := s.Process(must(h.Request(o, counts)))
	require.NoError(t, err)
	return document, readResponse(t, s, h.ID, document)
}

// activate does a whole exchange and returns the receipt.
func activate(t testing.TB, s *Server, h *Host, o exchange.Order, counts map[string]int) exchange.Receipt {
	t.Helper()
	document, _ := ask(t, s, h, o, counts)
	return confirm(t, s, h, document)
}

// confirm applies the response at the host and sends the confirmation.
func confirm(t testing.TB, s *Server, h *Host, response []byte) exchange.Receipt {
	t.Helper()
	confirmation, err := h.Apply(response)
	require.NoError(t, err)
	document, err := s.Process(confirmation)
	require.NoError(t, err)
	receipt, err := exchange.VerifyReceipt(s.Keys(), h.ID, document)
	require.NoError(t, err)
	require.Equal(t, exchange.DigestOf(confirmation), receipt.For)
	return receipt
}

func readResponse(t testing.TB, s *Server, host string, document []byte) exchange.Response {
	t.Helper()
	payload, err := s.Keys().Verify(document, signed.Purpose{Kind: exchange.ResponseKind, Audience: host}, exchange.MaxMessage)
	require.NoError(t, err)
	var r exchange.Response
	require.NoError(t, json.Unmarshal(payload, &r))
	return r
}

func requireCode(t testing.TB, code exchange.Code, err error) {
	t.Helper()
	var refusal *exchange.Refusal
	require.True(t, errors.As(err, &refusal), "%v", err)
	require.Equal(t, code, refusal.Code)
}

func held(s *Server, host, id string) (count, pending int) {
	state, _ := s.Host(host)
	for _, r := range state.Rights {
		if r.ActivationID == id {
			return r.Count, r.Pending
		}
	}
	return 0, 0
}

func right(id string) exchange.RightID { return exchange.ActivationID(id).RightID() }

func TestExchange(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las.Server, "DEMO-host-1")
	ctx := t.Context()

	request := must(h.Request(order(1), map[string]int{advanced: 1, devices: 2}))
	document, err := las.Client.Post(ctx, request)
	require.NoError(t, err)
	response := readResponse(t, las.Server, h.ID, document)
	require.Equal(t, exchange.ResultSuccess, response.Result)
	require.Equal(t, exchange.DigestOf(request), response.Request)
	require.Equal(t, int64(1), response.Sequence)
	require.Equal(t, order(1), response.Order)
	require.Equal(t, []exchange.WireRight{{ActivationID: advanced, Count: 1}, {ActivationID: devices, Count: 2}}, response.Rights)
	require.True(t, response.ConfirmationRequired)
	features := map[string]int{}
	for _, l := range response.Licenses {
		features[l.Feature] = l.Count
		require.Equal(t, "system", l.Scope)
		require.Equal(t, l.ActivationID == devices, l.Expires == nil)
	}
	require.Equal(t, map[string]int{"server.base": 1, "server.advanced": 1, "connected.devices": 200}, features)

	confirmation, err := h.Apply(document)
	require.NoError(t, err)
	answer, err := las.Client.Post(ctx, confirmation)
	require.NoError(t, err)
	receipt, err := exchange.VerifyReceipt(las.Keys(), h.ID, answer)
	require.NoError(t, err)
	require.Equal(t, exchange.DigestOf(confirmation), receipt.For)
	require.Equal(t, order(1), receipt.Order)
	require.ElementsMatch(t, []exchange.ReceiptRight{{Right: right(advanced), Count: 1}, {Right: right(devices), Count: 2}}, receipt.Rights)

	again, err := las.Client.Fetch(ctx, exchange.DigestOf(request))
	require.NoError(t, err)
	require.Equal(t, document, again)
	state, err := las.Client.HostState(ctx, h.ID)
	require.NoError(t, err)
	require.Equal(t, int64(1), state.Sequence)
}

func TestDroppedReplyIsFoundAgain(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las.Server, "DEMO-host-1")
	require.NoError(t, las.Fault(Fault{Fault: FaultDropReply, After: AfterCommit, Operation: exchange.OperationRequest}))

	request := must(h.Request(order(1), map[string]int{advanced: 1}))
	_, err := las.Client.Post(t.Context(), request)
	require.Error(t, err)
	require.False(t, errors.As(err, new(*exchange.Refusal)), "silence is not a refusal")
	taken, _ := las.Consumed(advanced)
	require.Equal(t, 1, taken)

	fetched, err := las.Client.Fetch(t.Context(), exchange.DigestOf(request))
	require.NoError(t, err)
	posted, err := las.Client.Post(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, fetched, posted)
	require.Equal(t, 1, las.Faults()[0].Struck)
}
