package exchangetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

// book is an order book with one line in each state.
func book(now time.Time) Orders {
	day := 24 * time.Hour
	in := func(d time.Duration) *time.Time { return new(now.Add(d)) }
	line := func(id string, count int, start time.Duration, expires *time.Time) Line {
		return Line{ActivationID: exchange.ActivationID(id), PartNumber: "SAMPLE-SNMP", Count: count, Start: now.Add(start), Expires: expires}
	}
	return Orders{Entitlements: []Entitlement{
		{ID: "E-1", Kind: "commercial", State: StateDeployed, Lines: []Line{
			line("good", 10, -day, in(30*day)), line("future", 10, day, nil), line("past", 10, -30*day, in(-day)),
			{ActivationID: "workstation", PartNumber: "SAMPLE-WORKSTATION", Count: 5, Start: now.Add(-day)},
		}},
		{ID: "E-2", Kind: "commercial", State: StateOnHold, Lines: []Line{line("on-hold", 10, -day, nil)}},
		{ID: "E-3", Kind: "demo", State: StateObsolete, Lines: []Line{line("obsolete", 10, -day, nil)}},
	}}
}

func TestRightsAreSetTogetherOrRefusedEach(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		ask     counts
		want    counts // what the host holds afterwards
		refused map[string]exchange.Code
		result  exchange.Result
	}{
		"all":                   {counts{"good": 3}, counts{"good": 3}, nil, exchange.ResultSuccess},
		"every seat":            {counts{"good": 10}, counts{"good": 10}, nil, exchange.ResultSuccess},
		"nothing named":         {counts{}, counts{"good": 1}, nil, exchange.ResultSuccess},
		"one too many":          {counts{"good": 11}, counts{"good": 1}, map[string]exchange.Code{"good": exchange.RightExhausted}, exchange.ResultFailure},
		"unknown":               {counts{"none": 1}, counts{"good": 1}, map[string]exchange.Code{"none": exchange.RightUnknown}, exchange.ResultFailure},
		"unknown, 0":            {counts{"none": 0}, counts{"good": 1}, nil, exchange.ResultSuccess},
		"not started":           {counts{"future": 1}, counts{"good": 1}, map[string]exchange.Code{"future": exchange.RightNotStarted}, exchange.ResultFailure},
		"expired":               {counts{"past": 1}, counts{"good": 1}, map[string]exchange.Code{"past": exchange.RightExpired}, exchange.ResultFailure},
		"on hold":               {counts{"on-hold": 1}, counts{"good": 1}, map[string]exchange.Code{"on-hold": exchange.RightSuspended}, exchange.ResultFailure},
		"obsolete":              {counts{"obsolete": 1}, counts{"good": 1}, map[string]exchange.Code{"obsolete": exchange.RightDenied}, exchange.ResultFailure},
		"managed elsewhere":     {counts{"workstation": 1}, counts{"good": 1}, map[string]exchange.Code{"workstation": exchange.RightDenied}, exchange.ResultFailure},
		"some":                  {counts{"good": 4, "past": 1}, counts{"good": 4}, map[string]exchange.Code{"past": exchange.RightExpired}, exchange.ResultPartial},
		"lower beside a no":     {counts{"good": 0, "none": 2}, counts{}, map[string]exchange.Code{"none": exchange.RightUnknown}, exchange.ResultPartial},
		"unnamed rights remain": {counts{"none": 0, "past": 0}, counts{"good": 1}, nil, exchange.ResultSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			las := Start(t, Options{Orders: book(now), Now: func() time.Time { return now }})
			h := newHost(t, las, "DEMO-host-1")
			activate(t, las, h, order(1), counts{"good": 1})

			_, r := ask(t, las, h, order(2), c.ask)
			require.Equal(t, c.result, r.Result)
			got, refused := counts{}, map[string]exchange.Code{}
			for _, right := range r.Rights {
				got[right.ActivationID] = right.Count
			}
			for _, right := range r.Refused {
				refused[right.ActivationID] = right.Code
			}
			require.Equal(t, c.want, got, "the complete set")
			require.Len(t, refused, len(c.refused))
			for id, code := range c.refused {
				require.Equal(t, code, refused[id])
			}
			require.Equal(t, int64(2), r.Sequence, "an answered request raises the sequence, whatever its result")
		})
	}
}

func TestSeatsAreSharedAmongHosts(t *testing.T) {
	las := Start(t, Options{})
	a, b := newHost(t, las, "DEMO-host-a"), newHost(t, las, "DEMO-host-b")
	activate(t, las, a, order(1), counts{driver: 8})
	_, r := ask(t, las, b, order(1), counts{driver: 5})
	require.Equal(t, exchange.RightExhausted, r.Refused[0].Code)

	response, _ := ask(t, las, a, order(2), counts{driver: 7})
	_, r = report(t, las, b, order(1)) // b is out of step: it never applied its refusal
	require.Equal(t, int64(2), r.Sequence)
	b.Sequence = 2
	_, r = ask(t, las, b, order(2), counts{driver: 5})
	require.Equal(t, exchange.RightExhausted, r.Refused[0].Code, "a removal frees nothing before it is confirmed")

	confirm(t, las, a, response)
	b.Sequence = 3
	_, r = ask(t, las, b, order(3), counts{driver: 5})
	require.Empty(t, r.Refused)
	taken, sold := las.Consumed(driver)
	require.Equal(t, []int{12, 12}, []int{taken, sold})
}

func TestFenceAndSequence(t *testing.T) {
	for name, c := range map[string]struct {
		order    exchange.Order
		sequence int64 // that the host says it applied last
		code     exchange.Code
	}{
		"the same order":           {order(5), 1, ""},
		"a newer one":              {order(6), 1, ""},
		"a newer epoch":            {exchange.Order{Epoch: order(0).Epoch + 1}, 1, ""},
		"an older one":             {order(4), 1, exchange.Superseded},
		"an older epoch":           {exchange.Order{Epoch: order(0).Epoch - 1, Generation: 99}, 1, exchange.Superseded},
		"an older sequence":        {order(5), 0, exchange.OutOfStep},
		"a sequence from nowhere":  {order(5), 2, exchange.OutOfStep},
		"older in both":            {order(4), 0, exchange.Superseded},
		"newer order but too late": {order(6), 0, exchange.OutOfStep},
	} {
		t.Run(name, func(t *testing.T) {
			las := Start(t, Options{})
			h := newHost(t, las, "DEMO-host-1")
			activate(t, las, h, order(5), counts{snmp: 1})
			before, _ := las.Host(h.ID)

			h.Sequence = c.sequence
			message := must(h.Request(c.order, counts{snmp: 2}))
			document, err := post(las, message)
			after, _ := las.Host(h.ID)
			if c.code == "" {
				require.NoError(t, err)
				require.Equal(t, c.order, after.Fence)
				require.Equal(t, int64(2), after.Sequence)
				requireHeld(t, las, h.ID, snmp, 2, 0)
				return
			}
			requireCode(t, c.code, err)
			require.Nil(t, document)
			require.Equal(t, before, after, "a refusal changes nothing")
			_, again := post(las, message)
			require.Equal(t, err, again, "the same message gets the same refusal")
			_, err = las.Client.Fetch(t.Context(), exchange.DigestOf(message))
			requireCode(t, c.code, err)
		})
	}
}

func TestReportIsAlwaysAcceptedAndChangesNoRight(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	_, r := report(t, las, h, order(1))
	require.Empty(t, r.Rights)
	require.Equal(t, int64(1), r.Sequence, "also a first contact")

	h.Sequence = 1
	activate(t, las, h, order(5), counts{snmp: 3})
	h.Sequence = 77
	_, r = report(t, las, h, order(4))
	require.Equal(t, []exchange.WireRight{{ActivationID: snmp, Count: 3}}, r.Rights)
	require.Equal(t, order(4), r.Order)
	state, _ := las.Host(h.ID)
	require.Equal(t, order(5), state.Fence, "a late report does not lower the fence")
	require.Equal(t, int64(3), state.Sequence)
	require.True(t, r.ConfirmationRequired, "only a receipt proves")

	report(t, las, h, order(9))
	state, _ = las.Host(h.ID)
	require.Equal(t, order(9), state.Fence, "a newer one raises it")
}

func TestConfirmation(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 5, devices: 1})
	response, r := ask(t, las, h, order(2), counts{snmp: 2, devices: 0})
	require.Equal(t, []exchange.WireRight{{ActivationID: devices, Count: 1}, {ActivationID: snmp, Count: 3}}, r.Removed)
	requireHeld(t, las, h.ID, snmp, 2, 3)

	confirmation, err := h.Apply(response)
	require.NoError(t, err)
	first, err := post(las, confirmation)
	require.NoError(t, err)
	receipt, err := exchange.VerifyReceipt(las.Keys(), h.ID, first)
	require.NoError(t, err)
	require.Equal(t, order(2), receipt.Order)
	require.Equal(t, int64(2), receipt.Sequence, "a confirmation does not raise the sequence")
	require.Equal(t, []exchange.ReceiptRight{{Right: rightOf(snmp), Count: 2}}, receipt.Rights)

	activate(t, las, h, order(3), counts{snmp: 1})
	again, err := post(las, confirmation)
	require.NoError(t, err)
	require.Equal(t, first, again, "a late duplicate gets the same bytes")
}

func TestConfirmationOfWhatWasNeverSaidIsRefused(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	response, _ := ask(t, las, h, order(1), counts{snmp: 5})
	_, err := h.Apply(response)
	require.NoError(t, err)
	lower, _ := ask(t, las, h, order(2), counts{snmp: 0})

	write := func(confirms exchange.Digest, sequence int64) []byte {
		return must(h.write(exchange.Request{Operation: exchange.OperationConfirm, Order: order(2), Confirms: confirms, Confirmed: sequence}))
	}
	for name, message := range map[string][]byte{
		"a sequence to come":             write(exchange.DigestOf(lower), 3),
		"another response":               write(exchange.DigestOf([]byte("x")), 2),
		"an old response, a new removal": write(exchange.DigestOf(response), 2),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := post(las, message)
			requireCode(t, exchange.OutOfStep, err)
			requireHeld(t, las, h.ID, snmp, 0, 5)
		})
	}
	stranger := newHost(t, las, "DEMO-stranger")
	_, err = post(las, must(stranger.write(exchange.Request{
		Operation: exchange.OperationConfirm, Confirms: exchange.DigestOf(lower), Confirmed: 2,
	})))
	requireCode(t, exchange.HostUnknown, err)
	_, known := las.Host(stranger.ID)
	require.False(t, known)
}

func TestAnotherKeyIsAClone(t *testing.T) {
	las := Start(t, Options{})
	h, clone := newHost(t, las, "DEMO-host-1"), newHost(t, las, "DEMO-host-1")
	response, _ := ask(t, las, h, order(1), counts{snmp: 5})
	before, _ := las.Host(h.ID)
	for _, message := range [][]byte{
		must(clone.Request(order(2), counts{snmp: 0})),
		must(clone.Report(order(2))),
		must(clone.write(exchange.Request{Operation: exchange.OperationConfirm, Confirms: exchange.DigestOf(response), Confirmed: 1})),
	} {
		_, err := post(las, message)
		requireCode(t, exchange.CloneSuspected, err)
	}
	after, _ := las.Host(h.ID)
	require.Equal(t, before, after)
	confirm(t, las, h, response)

	release(t, las, "DEMO-fenced", exchange.Release{Key: "k", Order: order(3)})
	first := newHost(t, las, "DEMO-fenced")
	_, err := post(las, must(first.Report(order(3))))
	require.NoError(t, err, "a fence pins no key")
}

func TestRestoredImageIsOutOfStep(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	image := h.Image()
	activate(t, las, h, order(1), counts{snmp: 5})
	_, err := post(las, must(image.Request(order(1), counts{snmp: 6})))
	requireCode(t, exchange.OutOfStep, err)
}

func TestMessagesThatAreNone(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	valid := exchange.Request{Operation: exchange.OperationRequest, Order: order(1)}
	with := func(change func(*exchange.Request)) []byte {
		r := valid
		change(&r)
		return must(h.write(r))
	}
	rights := func(rights ...exchange.WireRight) []byte {
		return with(func(r *exchange.Request) { r.Rights = rights })
	}
	many := make([]exchange.WireRight, maxRights+1)
	for i := range many {
		many[i].ActivationID = fmt.Sprintf("many-%d", i)
	}
	good := must(h.Request(order(1), counts{snmp: 1}))
	for name, c := range map[string]struct {
		message []byte
		code    exchange.Code
	}{
		"nothing":              {nil, exchange.Malformed},
		"not JSON":             {[]byte("hello"), exchange.Malformed},
		"too large":            {make([]byte, exchange.MaxMessage+1), exchange.TooLarge},
		"another signature":    {corrupted(good), exchange.SignatureInvalid},
		"an unknown operation": {with(func(r *exchange.Request) { r.Operation = "return" }), exchange.Malformed},
		"no host":              {must((&Host{key: h.key}).Report(order(1))), exchange.Malformed},
		"a negative order":     {with(func(r *exchange.Request) { r.Order.Generation = -1 }), exchange.Malformed},
		"a negative sequence":  {with(func(r *exchange.Request) { r.LastSequence = -1 }), exchange.Malformed},
		"a right twice":        {rights(exchange.WireRight{ActivationID: snmp}, exchange.WireRight{ActivationID: snmp, Count: 1}), exchange.Malformed},
		"a negative count":     {rights(exchange.WireRight{ActivationID: snmp, Count: -1}), exchange.Malformed},
		"an enormous count":    {rights(exchange.WireRight{ActivationID: snmp, Count: exchange.MaxCount + 1}), exchange.Malformed},
		"no activation ID":     {rights(exchange.WireRight{Count: 1}), exchange.Malformed},
		"too many rights":      {rights(many...), exchange.Malformed},
		"a report with rights": {with(func(r *exchange.Request) {
			r.Operation, r.Rights = exchange.OperationReport, []exchange.WireRight{{ActivationID: snmp}}
		}), exchange.Malformed},
		"a confirmation of nothing": {with(func(r *exchange.Request) { r.Operation = exchange.OperationConfirm }), exchange.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := las.Process(c.message)
			requireCode(t, c.code, err)
			_, err = post(las, c.message)
			requireCode(t, c.code, err)
			_, known := las.Host(h.ID)
			require.False(t, known, "nothing is kept")
			var refusal *exchange.Refusal
			require.True(t, errors.As(err, &refusal))
			require.NotContains(t, refusal.Error(), snmp)
		})
	}
}

// What is left pending is exactly what the host may still use: not less, which would be unsafe, and not more.
func TestRaiseTakesTheNewestRemovalBack(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 5})
	second, _ := ask(t, las, h, order(2), counts{snmp: 3})
	confirmation, err := h.Apply(second)
	require.NoError(t, err)
	third, _ := ask(t, las, h, order(3), counts{snmp: 1})
	_, err = h.Apply(third)
	require.NoError(t, err)
	ask(t, las, h, order(4), counts{snmp: 2})
	requireHeld(t, las, h.ID, snmp, 2, 3)
	_, err = post(las, confirmation) // of the second: the host used three at most from then on
	require.NoError(t, err)
	requireHeld(t, las, h.ID, snmp, 2, 1)
}
