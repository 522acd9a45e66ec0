package bmstest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// bench is a system of two servers, an issuer, and a clock that a test moves.
type bench struct {
	*System
	t      testing.TB
	issuer *issuer
	now    time.Time
}

const top, field = bms.HostID("TOP-1"), bms.HostID("FIELD-1")

var order = exchange.Order{Epoch: 1_790_000_000, Generation: 3}

func newBench(t testing.TB, edits ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, now: noon}
	var err error
	b.issuer, err = newIssuer(func() time.Time { return b.now })
	require.NoError(t, err)
	o := Options{
		Dir: t.TempDir(), Keys: b.issuer.keys(), Now: func() time.Time { return b.now },
		Servers: []Server{{HostID: top, Name: "HQ"}, {HostID: field, Parent: top}},
	}
	for _, edit := range edits {
		edit(&o)
	}
	b.System, err = New(o)
	require.NoError(t, err)
	return b
}

// reopen is what a restart after a SIGKILL finds.
func (b *bench) reopen() {
	b.t.Helper()
	again, err := New(b.options)
	require.NoError(b.t, err)
	b.System = again
}

func (b *bench) request(want ...exchange.Right) []byte {
	b.t.Helper()
	request, err := b.CreateRequest(b.t.Context(), field, order, want)
	require.NoError(b.t, err)
	return request
}

func (b *bench) answer(request []byte, edits ...func(*exchange.Response)) []byte {
	b.t.Helper()
	response, err := b.issuer.answer(request, edits...)
	require.NoError(b.t, err)
	return response
}

func (b *bench) apply(response []byte) []byte {
	b.t.Helper()
	confirmation, err := b.ApplyResponse(b.t.Context(), field, response)
	require.NoError(b.t, err)
	return confirmation
}

// refused wants the response refused with the code, and nothing changed by it.
func (b *bench) refused(response []byte, code exchange.Code) {
	b.t.Helper()
	before := b.onDisk()
	_, err := b.ApplyResponse(b.t.Context(), field, response)
	requireCode(b.t, code, err)
	require.Equal(b.t, before, b.onDisk())
}

func (b *bench) onDisk() state {
	b.t.Helper()
	held, err := readState(b.byHost[field].folder, field)
	require.NoError(b.t, err)
	return held
}

func requireCode(t require.TestingT, code exchange.Code, err error) {
	var refusal *exchange.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, code, refusal.Code, "%v", err)
}

func right(id string, count int) exchange.Right {
	return exchange.Right{ActivationID: exchange.ActivationID(id), Count: count}
}

func TestRequestsAndReportsAreInTheReferenceFormat(t *testing.T) {
	b := newBench(t)
	request, err := readRequest(b.request(right("B", 0), right("A", 2)))
	require.NoError(t, err)
	require.NotEmpty(t, request.ID)
	request.ID = ""
	want := exchange.Request{
		V: 1, Operation: exchange.OperationRequest, Order: order, Clock: noon,
		Host:   exchange.Host{ID: "FIELD-1", Type: "ETHERNET", Product: "AS-P", Version: "7.0.2"},
		Rights: []exchange.WireRight{{ActivationID: "A", Count: 2}, {ActivationID: "B", Count: 0}},
	}
	require.Equal(t, want, request)

	b.apply(b.answer(b.request(right("A", 1))))
	document, err := b.CreateReport(t.Context(), field, order)
	require.NoError(t, err)
	report, err := readRequest(document)
	require.NoError(t, err)
	report.ID, want.Operation, want.Rights, want.LastSequence = "", exchange.OperationReport, nil, 1
	require.Equal(t, want, report)
}

func TestApplyingChangesTheWholeStoreAndConfirms(t *testing.T) {
	b := newBench(t)
	response := b.answer(b.request(right("A", 2), right("B", 1)))
	confirmation, err := readRequest(b.apply(response))
	require.NoError(t, err)
	require.Equal(t, exchange.OperationConfirm, confirmation.Operation)
	require.Equal(t, exchange.DigestOf(response), confirmation.Confirms)
	require.EqualValues(t, 1, confirmation.Confirmed)
	require.EqualValues(t, 1, confirmation.LastSequence)
	require.Equal(t, order, confirmation.Order)

	facts, err := b.Servers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []bms.HeldRight{{ActivationID: "A", Count: 2}, {ActivationID: "B", Count: 1}}, facts[1].Rights)
	require.Equal(t, 2, line(t, information{licenses: facts[1].Licenses}, "feature of A").Activated)
	require.Equal(t, protocol.RoleField, facts[1].Role)

	b.apply(b.answer(b.request(right("A", 0))))
	require.Equal(t, []exchange.WireRight{{ActivationID: "B", Count: 1}}, b.onDisk().Rights, "the response's set is complete")
}

func TestAResponseIsCheckedBeforeItIsApplied(t *testing.T) {
	stranger, err := signed.NewKey()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		code exchange.Code
		make func(b *bench, request []byte) []byte
	}{
		"not a document": {exchange.Malformed, func(*bench, []byte) []byte { return []byte("hello") }},
		"too large":      {exchange.TooLarge, func(*bench, []byte) []byte { return make([]byte, exchange.MaxMessage+1) }},
		"another kind":   {exchange.Malformed, func(_ *bench, request []byte) []byte { return request }},
		"unknown key": {exchange.KeyUnknown, func(b *bench, request []byte) []byte {
			b.issuer.key = stranger
			return b.answer(request)
		}},
		"altered": {exchange.SignatureInvalid, func(b *bench, request []byte) []byte {
			var jws map[string]string
			require.NoError(b.t, json.Unmarshal(b.answer(request), &jws))
			payload := []byte(jws["payload"])
			payload[10] ^= 1
			jws["payload"] = string(payload)
			altered, err := json.Marshal(jws)
			require.NoError(b.t, err)
			return altered
		}},
		"signed for another host": {exchange.ResponseForAnother, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Host = "TOP-1" })
		}},
		"another request": {exchange.ResponseForAnother, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Request = exchange.DigestOf([]byte("x")) })
		}},
		"late": {exchange.ResponseExpired, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.NotAfter = b.now.Add(-time.Second) })
		}},
		"no sequence": {exchange.Malformed, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Sequence = 0 })
		}},
		"the same sequence": {exchange.ResponseStale, func(b *bench, request []byte) []byte {
			b.apply(b.answer(request))
			return b.answer(b.request(right("A", 3)), func(r *exchange.Response) { r.Sequence = 1 })
		}},
		"impossible count": {exchange.Malformed, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Rights[0].Count = -1 })
		}},
		"a right named twice": {exchange.Malformed, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Rights = append(r.Rights, r.Rights[0]) })
		}},
		"forbidden activation ID": {exchange.Malformed, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Rights[0].ActivationID = "A,B" })
		}},
		"license without a feature": {exchange.Malformed, func(b *bench, request []byte) []byte {
			return b.answer(request, func(r *exchange.Response) { r.Licenses[0].Feature = "" })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.refused(c.make(b, b.request(right("A", 2))), c.code)
		})
	}
}

func TestTheHostInsideTheSignatureCountsToo(t *testing.T) {
	b := newBench(t)
	request := b.request(right("A", 1))
	payload, err := json.Marshal(exchange.Response{
		V: 1, Request: exchange.DigestOf(request), Host: "TOP-1", Sequence: 1, NotAfter: noon.Add(time.Hour),
	})
	require.NoError(t, err)
	response, err := b.issuer.key.Sign(signed.Purpose{Kind: exchange.ResponseKind, Audience: string(field)}, payload)
	require.NoError(t, err)
	b.refused(response, exchange.ResponseForAnother)
}

func TestAClockThatWentBackIsNotBelieved(t *testing.T) {
	b := newBench(t)
	request := b.request(right("A", 1))
	response := b.answer(request)
	b.now = noon.Add(-clockTolerance - time.Second)
	b.refused(response, exchange.ClockWoundBack)
	b.reopen()
	b.refused(response, exchange.ClockWoundBack)
	b.now = noon.Add(-clockTolerance)
	b.apply(response)

	require.NoError(t, b.ShiftClock(field, -time.Hour))
	facts, err := b.Servers(t.Context())
	require.NoError(t, err)
	require.Equal(t, b.now.Add(-time.Hour), facts[1].Clock)
	require.Equal(t, b.now, facts[0].Clock)
}

// F3: the confirmation can be lost for good. The response was applied, whoever asked died before it had the confirmation.
func TestF3ApplyingTheLastResponseAgainReturnsItsConfirmation(t *testing.T) {
	b := newBench(t)
	b.apply(b.answer(b.request(right("A", 1))))
	removal := b.answer(b.request(right("A", 0)))
	confirmation := b.apply(removal)
	require.Empty(t, b.onDisk().Rights)

	b.reopen()
	require.Equal(t, confirmation, b.apply(removal), "after a restart")
	b.request(right("A", 1))
	require.Equal(t, confirmation, b.apply(removal), "after a newer request")
	b.now = noon.AddDate(1, 0, 0)
	require.Equal(t, confirmation, b.apply(removal), "after its time")
	b.now = noon.AddDate(-1, 0, 0)
	require.Equal(t, confirmation, b.apply(removal), "with a clock that went back")
	require.Empty(t, b.onDisk().Rights)
}

// F19: responses of older sequence are refused, and so is everything that is not the answer to the newest request.
func TestF19OlderResponsesAreRefused(t *testing.T) {
	b := newBench(t)
	one := b.answer(b.request(right("A", 1)))
	b.apply(one)
	two := b.answer(b.request(right("A", 2)))
	b.apply(two)
	b.refused(one, exchange.ResponseStale)

	three := b.answer(b.request(right("A", 3)))
	b.request(right("A", 4))
	b.refused(three, exchange.ResponseForAnother)
	b.reopen()
	b.refused(three, exchange.ResponseForAnother)
	b.refused(one, exchange.ResponseStale)
	require.EqualValues(t, 2, b.onDisk().Sequence)
}

func TestAReportMakesEarlierResponsesWorthless(t *testing.T) {
	b := newBench(t)
	response := b.answer(b.request(right("A", 1)))
	report, err := b.CreateReport(t.Context(), field, order)
	require.NoError(t, err)
	b.refused(response, exchange.ResponseForAnother)
	b.apply(b.answer(report))
	require.Equal(t, 1, b.onDisk().count("A"), "the report's answer has the complete set")
}

func TestRefusedRightsAreReadFromASignedResponseAlone(t *testing.T) {
	b := newBench(t)
	refused := []exchange.RefusedRight{{ActivationID: "B", Code: exchange.RightExhausted}}
	response := b.answer(b.request(right("A", 1), right("B", 1)), func(r *exchange.Response) { r.Refused = refused })
	b.apply(response)
	b.reopen()
	got, err := b.Refused(t.Context(), field, response)
	require.NoError(t, err)
	require.Equal(t, refused, got)
	_, err = b.Refused(t.Context(), top, response)
	requireCode(t, exchange.ResponseForAnother, err)
}

func TestARequestThatNamesNonsenseIsRefused(t *testing.T) {
	b := newBench(t)
	for name, want := range map[string][]exchange.Right{
		"nothing":          {},
		"a right twice":    {right("A", 1), right("A", 2)},
		"a negative count": {right("A", -1)},
		"a huge count":     {right("A", exchange.MaxCount+1)},
		"a forbidden ID":   {right("A,B", 1)},
	} {
		before := b.onDisk()
		_, err := b.CreateRequest(t.Context(), field, order, want)
		requireCode(t, exchange.Malformed, err)
		require.Equal(t, before, b.onDisk(), name)
	}
	_, err := b.CreateReport(t.Context(), field, exchange.Order{Epoch: -1})
	requireCode(t, exchange.Malformed, err)
	_, err = b.CreateReport(t.Context(), "NOBODY", order)
	require.ErrorIs(t, err, bms.ErrNoSuchServer)
	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("enough"))
	_, err = b.CreateReport(ended, field, order)
	require.ErrorIs(t, err, context.Canceled)
}

func TestAServerThatReturnsAllReturnsNothingInPart(t *testing.T) {
	b := newBench(t, func(o *Options) { o.ReturnAll = true })
	b.apply(b.answer(b.request(right("A", 2), right("B", 1))))
	facts, err := b.Servers(t.Context())
	require.NoError(t, err)
	require.False(t, facts[1].PartialReturn)
	for _, want := range [][]exchange.Right{
		{right("A", 0)}, {right("A", 1)}, {right("A", 0), right("B", 1)}, {right("A", 0), right("B", 0), right("C", 1)},
	} {
		_, err := b.CreateRequest(t.Context(), field, order, want)
		requireCode(t, exchange.WholeServerReturnOnly, err)
	}
	b.request(right("A", 3), right("B", 1))
	b.apply(b.answer(b.request(right("A", 0), right("B", 0))))
	require.Empty(t, b.onDisk().Rights)
}
