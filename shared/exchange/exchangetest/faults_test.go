package exchangetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// orderFault goes through the real handler.
func orderFault(t testing.TB, s *Service, body string) (status int, answer string) {
	t.Helper()
	response, err := s.Client.HTTP.Post(s.URL+"/v1/faults", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var text bytes.Buffer
	_, err = text.ReadFrom(response.Body)
	require.NoError(t, err)
	return response.StatusCode, text.String()
}

func mustOrder(t testing.TB, s *Service, body string) {
	t.Helper()
	status, answer := orderFault(t, s, body)
	require.Equal(t, http.StatusNoContent, status, answer)
	require.Empty(t, answer)
}

func listFaults(t testing.TB, s *Service) []FaultState {
	t.Helper()
	response, err := s.Client.HTTP.Get(s.URL + "/v1/faults")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var list FaultList
	require.NoError(t, json.NewDecoder(response.Body).Decode(&list))
	return list.Faults
}

// requireSilence wants an error that is no refusal: nobody knows what happened.
func requireSilence(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.False(t, errors.As(err, new(*exchange.Refusal)), "%v", err)
}

func TestDroppedReply(t *testing.T) {
	for after, committed := range map[string]bool{`"commit"`: true, `""`: true, `"receive"`: false} {
		t.Run(after, func(t *testing.T) {
			las := Start(t, Options{})
			h := newHost(t, las, "DEMO-host-1")
			mustOrder(t, las, `{"fault":"drop-reply","after":`+after+`,"count":2}`)
			request := must(h.Request(order(1), counts{snmp: 1}))
			for range 2 {
				_, err := post(las, request)
				requireSilence(t, err)
			}
			taken, _ := las.Consumed(snmp)
			require.Equal(t, committed, taken == 1)
			fetched, err := las.Client.Fetch(t.Context(), exchange.DigestOf(request))
			require.Equal(t, committed, err == nil)

			answer, err := post(las, request)
			require.NoError(t, err)
			if committed {
				require.Equal(t, fetched, answer)
			}
			require.Equal(t, 2, listFaults(t, las)[0].Struck)

			mustOrder(t, las, `{"fault":"drop-reply","after":`+after+`,"operation":"confirm"}`)
			mustOrder(t, las, `{"fault":"drop-reply","after":`+after+`,"operation":"release"}`)
			confirmation := must(h.Apply(answer))
			_, err = post(las, confirmation)
			requireSilence(t, err)
			_, err = post(las, confirmation)
			require.NoError(t, err)
			r := exchange.Release{Key: "k", Order: order(2), Take: true}
			_, err = las.Client.Release(t.Context(), h.ID, r)
			requireSilence(t, err)
			taken, _ = las.Consumed(snmp)
			require.Equal(t, committed, taken == 0)
			_, err = las.Client.Release(t.Context(), h.ID, r)
			require.NoError(t, err)
		})
	}
}

func TestProcessSaysThatTheReplyWasDropped(t *testing.T) {
	las := Start(t, Options{})
	require.NoError(t, las.Fault(Fault{Fault: FaultDropReply}))
	_, err := las.Process(must(newHost(t, las, "DEMO-host-1").Report(order(1))))
	require.ErrorIs(t, err, ErrDropped)
}

func TestFaultsStrikeOnlyWhatTheyName(t *testing.T) {
	las := Start(t, Options{})
	a, b := newHost(t, las, "DEMO-host-a"), newHost(t, las, "DEMO-host-b")
	mustOrder(t, las, `{"fault":"refuse","code":"busy","host":"DEMO-host-b","operation":"report"}`)
	_, err := post(las, must(a.Report(order(1))))
	require.NoError(t, err)
	_, err = post(las, must(b.Request(order(1), counts{snmp: 1})))
	require.NoError(t, err)
	require.Zero(t, listFaults(t, las)[0].Struck)
	_, err = post(las, must(b.Report(order(1))))
	requireCode(t, exchange.Busy, err)
	_, err = post(las, must(b.Report(order(1))))
	require.NoError(t, err)
}

func TestRefusalThatLastsIsKept(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	mustOrder(t, las, `{"fault":"refuse","code":"host-obsolete"}`)
	request := must(h.Request(order(1), counts{snmp: 1}))
	for range 2 {
		_, err := post(las, request)
		requireCode(t, exchange.HostObsolete, err)
	}
	_, known := las.Host(h.ID)
	require.False(t, known)
	_, err := post(las, must(h.Request(order(1), counts{snmp: 1})))
	require.NoError(t, err, "other bytes")
}

func TestRefusalOfOneRight(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	mustOrder(t, las, `{"fault":"refuse","code":"right-denied","activation_id":"`+devices+`"}`)
	document, r := ask(t, las, h, order(1), counts{snmp: 3, devices: 1})
	require.Equal(t, []exchange.RefusedRight{{ActivationID: devices, Code: exchange.RightDenied}}, r.Refused)
	require.Equal(t, exchange.ResultPartial, r.Result)
	confirm(t, las, h, document)

	mustOrder(t, las, `{"fault":"refuse","code":"return-limit-reached"}`)
	activate(t, las, h, order(2), counts{snmp: 4}) // raised: not meant
	_, r = ask(t, las, h, order(3), counts{snmp: 1})
	require.Equal(t, []exchange.RefusedRight{{ActivationID: snmp, Code: exchange.ReturnLimitReached}}, r.Refused)
	requireHeld(t, las, h.ID, snmp, 4, 0)
	require.Equal(t, "****0003", listFaults(t, las)[0].ActivationID, "masked")
}

func TestDuplicateMessageChangesNothingMore(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	mustOrder(t, las, `{"fault":"duplicate","count":9}`)
	receipt := activate(t, las, h, order(1), counts{snmp: 3})
	require.Equal(t, int64(1), receipt.Sequence)
	receipt = release(t, las, h.ID, exchange.Release{Key: "k", Order: order(2), Take: true})
	require.Equal(t, int64(2), receipt.Sequence)
	require.Equal(t, 4, listFaults(t, las)[0].Struck)
}

func TestCorruptSignatureIsCorruptOnTheWayOnly(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	mustOrder(t, las, `{"fault":"corrupt-signature"}`)
	request := must(h.Request(order(1), counts{snmp: 3}))
	damaged, err := post(las, request)
	require.NoError(t, err)
	_, err = h.Apply(damaged)
	require.ErrorContains(t, err, "signature does not fit")
	whole, err := post(las, request)
	require.NoError(t, err)
	confirm(t, las, h, whole)

	mustOrder(t, las, `{"fault":"corrupt-signature"}`)
	_, err = post(las, must(h.Request(order(0), nil)))
	requireCode(t, exchange.Superseded, err)
	require.Zero(t, listFaults(t, las)[1].Struck, "a refusal has no signature")
}

func TestShiftedClock(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	mustOrder(t, las, `{"fault":"shift-clock","seconds":-172800}`)
	document, r := ask(t, las, h, order(1), counts{snmp: 3})
	require.WithinDuration(t, time.Now().Add(-48*time.Hour), r.IssuedAt, time.Minute)
	_, err := h.Apply(document)
	requireCode(t, exchange.ResponseExpired, err)
	mustOrder(t, las, `{"fault":"shift-clock","seconds":0}`)
	document, r = report(t, las, h, order(1))
	require.WithinDuration(t, time.Now(), r.IssuedAt, time.Minute)
	confirm(t, las, h, document)
}

func TestRotatedKeys(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	pinned := las.Keys()
	old, _ := ask(t, las, h, order(1), counts{snmp: 3})
	mustOrder(t, las, `{"fault":"rotate-keys"}`)
	keys, err := las.Client.Keys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 2)
	for id := range pinned {
		require.Contains(t, keys, id, "the old key stays published")
	}
	readResponse(t, las, h.ID, old)
	h.Keys = func() signed.KeySet { return pinned }
	confirmation, err := h.Apply(old)
	require.NoError(t, err, "signed before")
	receipt, err := post(las, confirmation)
	require.NoError(t, err)
	_, err = exchange.VerifyReceipt(pinned, h.ID, receipt)
	require.ErrorIs(t, err, signed.ErrKey, "signed after")
	_, err = exchange.VerifyReceipt(keys, h.ID, receipt)
	require.NoError(t, err)
}

func TestForgottenRight(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 3, devices: 2})
	ask(t, las, h, order(2), counts{snmp: 1})
	before, _ := las.Host(h.ID)
	mustOrder(t, las, `{"fault":"forget-right","host":"DEMO-host-1","activation_id":"`+snmp+`"}`)
	after, _ := las.Host(h.ID)
	require.Equal(t, before.Sequence, after.Sequence)
	require.Equal(t, before.Fence, after.Fence)
	require.Equal(t, []exchange.HostRight{{ActivationID: devices, Count: 2}}, after.Rights)
	taken, _ := las.Consumed(snmp)
	require.Zero(t, taken)
	require.Equal(t, FaultState{
		Fault: Fault{Fault: FaultForgetRight, Count: 1, Host: h.ID, ActivationID: "****0004"}, Struck: 1,
	}, listFaults(t, las)[0])
}

func TestDelay(t *testing.T) {
	for _, after := range []string{AfterReceive, AfterCommit} {
		synctest.Test(t, func(t *testing.T) {
			s, err := New(Options{})
			require.NoError(t, err)
			h, err := NewHost("DEMO-host-1", s.Keys)
			require.NoError(t, err)
			require.NoError(t, s.Fault(Fault{Fault: FaultDelay, Millis: 90_000, After: after}))
			began := time.Now()
			answered := make(chan error)
			message := must(h.Request(order(1), counts{snmp: 1}))
			go func() { _, err := s.Process(message); answered <- err }()
			synctest.Wait()
			taken, _ := s.Consumed(snmp)
			require.Equal(t, after == AfterCommit, taken == 1)
			require.NoError(t, <-answered)
			require.Equal(t, 90*time.Second, time.Since(began))
			require.NoError(t, s.Close())
		})
	}
}

func TestFaultOrdersThatMakeNoSense(t *testing.T) {
	las := Start(t, Options{})
	for body, reason := range map[string]string{
		``:                                                                   "not JSON",
		`{"fault":"explode"}`:                                                `fault \"explode\" is not one of delay`,
		`{"fault":"drop-reply"}{}`:                                           "something follows",
		`{"fault":"drop-reply","x":1}`:                                       "not known",
		`{"fault":"drop-reply","count":"2"}`:                                 "count is of the wrong kind",
		`{"fault":"drop-reply","count":-1}`:                                  "count is not between",
		`{"fault":"drop-reply","count":1000001}`:                             "count is not between",
		`{"fault":"drop-reply","after":"dinner"}`:                            "after is not receive or commit",
		`{"fault":"drop-reply","operation":"return"}`:                        "operation is not",
		`{"fault":"drop-reply","ms":5}`:                                      "ms means nothing to drop-reply",
		`{"fault":"duplicate","after":"commit"}`:                             "after means nothing to duplicate",
		`{"fault":"delay"}`:                                                  "ms is not between",
		`{"fault":"delay","ms":600001}`:                                      "ms is not between",
		`{"fault":"refuse"}`:                                                 `code \"\" is not a code`,
		`{"fault":"refuse","code":"nonsense"}`:                               "is not a code",
		`{"fault":"refuse","code":"busy","activation_id":"a"}`:               "activation_id means nothing",
		`{"fault":"refuse","code":"right-denied","operation":"confirm"}`:     "only a request names rights",
		`{"fault":"shift-clock","seconds":400000000}`:                        "seconds is not between",
		`{"fault":"shift-clock","seconds":1,"host":"h"}`:                     "host means nothing",
		`{"fault":"rotate-keys","count":2}`:                                  "count means nothing",
		`{"fault":"forget-right","host":"DEMO-host-1"}`:                      "names a host and an activation_id",
		`{"fault":"forget-right","activation_id":"a"}`:                       "names a host and an activation_id",
		`{"fault":"forget-right","host":"h","activation_id":"` + snmp + `"}`: "does not hold this right",
	} {
		t.Run(body, func(t *testing.T) {
			status, answer := orderFault(t, las, body)
			require.Equal(t, http.StatusBadRequest, status)
			require.Contains(t, answer, reason)
			require.NotContains(t, answer, snmp)
		})
	}
	require.Empty(t, las.Faults())
	_, err := post(las, must(newHost(t, las, "DEMO-host-1").Report(order(1))))
	require.NoError(t, err)
}

func TestEveryFaultIsDocumentedAndNamedToWhoeverErrs(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	wrong := Fault{Fault: "none", Count: 1}.problem()
	for kind := range faultUses {
		require.Contains(t, string(doc), `{"fault":"`+kind+`"`)
		require.ErrorContains(t, wrong, kind)
	}
}
