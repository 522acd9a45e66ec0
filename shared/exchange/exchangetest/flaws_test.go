package exchangetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// The flaws of the exchange model that an activation server can have or prevent, one test each. The names say what must
// hold; the model's README has the traces.

func TestF4ConfirmationCoversEverythingUpToItsSequence(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 3, devices: 2})

	// The response that takes three away is never applied at the host.
	ask(t, las, h, order(2), counts{snmp: 0})
	requireHeld(t, las, h.ID, snmp, 0, 3)
	response, r := report(t, las, h, order(2))
	require.Equal(t, []exchange.WireRight{{ActivationID: snmp, Count: 3}}, r.Removed)
	receipt := confirm(t, las, h, response)
	require.Equal(t, int64(3), receipt.Sequence)
	require.Equal(t, []exchange.ReceiptRight{{Right: rightOf(devices), Count: 2}}, receipt.Rights)
	taken, _ := las.Consumed(snmp)
	require.Zero(t, taken)
}

func TestF4ConfirmationCoversNothingAfterItsSequence(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 5})
	first, _ := ask(t, las, h, order(2), counts{snmp: 3})
	confirmation, err := h.Apply(first)
	require.NoError(t, err)
	ask(t, las, h, order(3), counts{snmp: 1})
	requireHeld(t, las, h.ID, snmp, 1, 4)

	document, err := post(las, confirmation) // late: a newer removal waits by now
	require.NoError(t, err)
	requireHeld(t, las, h.ID, snmp, 1, 2)
	receipt, err := exchange.VerifyReceipt(las.Keys(), h.ID, document)
	require.NoError(t, err)
	require.Equal(t, order(2), receipt.Order, "the order of what was confirmed")
	held, pending := receipt.Count(rightOf(snmp))
	require.Equal(t, []int{1, 2}, []int{held, pending}, "and the truth of now")
}

func TestF5aRequestAfterReleaseTakesNothing(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	late := must(h.Request(order(1), counts{snmp: 1}))
	release(t, las, h.ID, exchange.Release{Key: "k", Order: order(2), Take: true})

	_, err := post(las, late)
	requireCode(t, exchange.Superseded, err)
	taken, _ := las.Consumed(snmp)
	require.Zero(t, taken)
}

func TestF5bForgottenRequestOfARestoredImageTakesNothing(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	image := h.Image()
	late := must(h.Request(order(1), counts{snmp: 1})) // travels on while the image knows nothing of it

	response, _ := report(t, las, image, order(2)) // unassigned meanwhile, and proved
	receipt := confirm(t, las, image, response)
	require.Empty(t, receipt.Rights)

	_, err := post(las, late)
	requireCode(t, exchange.Superseded, err)
	taken, _ := las.Consumed(snmp)
	require.Zero(t, taken)
}

func TestF5cOvertakenRequestTakesNothing(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	slow, fast := must(h.Request(order(1), counts{snmp: 1})), must(h.Request(order(2), counts{snmp: 0}))
	_, err := post(las, fast)
	require.NoError(t, err)
	_, err = post(las, slow)
	requireCode(t, exchange.Superseded, err)

	// The same order twice, as a clone has it: here only the sequence helps.
	h.Sequence = 1
	one, two := must(h.Request(order(3), counts{snmp: 1})), must(h.Request(order(3), counts{snmp: 2}))
	_, err = post(las, two)
	require.NoError(t, err)
	_, err = post(las, one)
	requireCode(t, exchange.OutOfStep, err)
	requireHeld(t, las, h.ID, snmp, 2, 0)
}

func TestF6ReportBringsARestoredImageBackIntoStep(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	image := h.Image()
	activate(t, las, h, order(1), counts{snmp: 4})
	activate(t, las, h, order(2), counts{snmp: 2})

	_, err := post(las, must(image.Request(order(2), counts{snmp: 2})))
	requireCode(t, exchange.OutOfStep, err)
	response, _ := report(t, las, image, order(2))
	receipt := confirm(t, las, image, response)
	require.Equal(t, counts{snmp: 2}, image.Rights)
	held, _ := receipt.Count(rightOf(snmp))
	require.Equal(t, 2, held)
	activate(t, las, image, order(3), counts{snmp: 3})
	requireHeld(t, las, h.ID, snmp, 3, 0)
}

func TestF8bRepeatedReleaseFreesNothingInUse(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 4})
	first := exchange.Release{Key: "release-1", Order: order(2), Take: true}
	receipt := release(t, las, h.ID, first)
	require.Empty(t, receipt.Rights)
	require.Equal(t, exchange.DigestOf([]byte("release-1")), receipt.For)

	response, _ := report(t, las, h, order(3)) // the host is back, and is assigned again
	confirm(t, las, h, response)
	activate(t, las, h, order(3), counts{snmp: 2})
	again := release(t, las, h.ID, first)
	require.Equal(t, receipt, again)
	requireHeld(t, las, h.ID, snmp, 2, 0)

	other := first
	other.Order = order(9)
	_, err := las.Client.Release(t.Context(), h.ID, other)
	requireCode(t, exchange.Malformed, err)
	requireHeld(t, las, h.ID, snmp, 2, 0)
}

func TestF8cWhatWasSaidBeforeAReleaseIsWorthNothingAfter(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 4})
	old, _ := ask(t, las, h, order(2), counts{snmp: 1})
	lost := h.Image()
	confirmation, err := h.Apply(old)
	require.NoError(t, err)
	receipt := release(t, las, h.ID, exchange.Release{Key: "k", Order: order(3), Take: true})
	require.Equal(t, int64(3), receipt.Sequence, "a release raises the sequence")

	// The host comes back: a report, then the seats of a new assignment, and one of them returned.
	response, _ := report(t, las, lost, order(4))
	_, err = lost.Apply(old)
	requireCode(t, exchange.ResponseForAnother, err)
	confirm(t, las, lost, response)
	require.Empty(t, lost.Rights)
	activate(t, las, lost, order(4), counts{snmp: 3})
	ask(t, las, lost, order(5), counts{snmp: 2})

	document, err := post(las, confirmation)
	require.NoError(t, err)
	late, err := exchange.VerifyReceipt(las.Keys(), h.ID, document)
	require.NoError(t, err)
	require.Equal(t, order(2), late.Order, "no proof for any order since")
	requireHeld(t, las, h.ID, snmp, 2, 1)
}

func TestF8dReleaseBelowTheFenceIsRefused(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(5), counts{snmp: 4})
	before, _ := las.Host(h.ID)
	for _, take := range []bool{true, false} {
		_, err := las.Client.Release(t.Context(), h.ID, exchange.Release{Key: "old", Order: order(4), Take: take})
		requireCode(t, exchange.Superseded, err)
		require.Equal(t, 409, asRefusal(t, err).Status)
		after, _ := las.Host(h.ID)
		require.Equal(t, before, after)
	}
	release(t, las, h.ID, exchange.Release{Key: "old", Order: order(5)}) // the refusal did not use up the key
}

func TestF9FenceTellsWhatTheHostHoldsAndTakesNothing(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 4, devices: 1})
	ask(t, las, h, order(2), counts{snmp: 3})
	epoch := exchange.Order{Epoch: order(0).Epoch + 500}
	receipt := release(t, las, h.ID, exchange.Release{Key: "adopt", Order: epoch})
	require.Equal(t, epoch, receipt.Order)
	require.ElementsMatch(t, []exchange.ReceiptRight{
		{Right: rightOf(snmp), Count: 3, Pending: 1}, {Right: rightOf(devices), Count: 1},
	}, receipt.Rights)
	_, err := post(las, must(h.Request(order(3), counts{snmp: 9})))
	requireCode(t, exchange.Superseded, err)

	receipt = release(t, las, "DEMO-never-seen", exchange.Release{Key: "adopt", Order: epoch})
	require.Equal(t, int64(1), receipt.Sequence)
	require.Empty(t, receipt.Rights)
	state, known := las.Host("DEMO-never-seen")
	require.True(t, known)
	require.Equal(t, epoch, state.Fence)
}

func TestF14ConfirmationEarnsASignedReceipt(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	response, _ := ask(t, las, h, order(1), counts{snmp: 4})
	document, err := post(las, must(h.Apply(response)))
	require.NoError(t, err)
	require.NotContains(t, string(document), snmp)

	for _, host := range []string{"DEMO-host-2", ""} {
		_, err = exchange.VerifyReceipt(las.Keys(), host, document)
		require.ErrorIs(t, err, signed.ErrAudience)
	}
	stranger, err := signed.NewKey()
	require.NoError(t, err)
	_, err = exchange.VerifyReceipt(signed.NewKeySet(stranger.Public()), h.ID, document)
	require.ErrorIs(t, err, signed.ErrKey)
	_, err = exchange.VerifyReceipt(las.Keys(), h.ID, corrupted(document))
	require.ErrorIs(t, err, signed.ErrSignature)
	_, err = exchange.VerifyReceipt(las.Keys(), h.ID, response)
	require.ErrorIs(t, err, signed.ErrKind, "a response proves nothing")
}

func TestF17TransientRefusalIsNotReplayed(t *testing.T) {
	for _, code := range []exchange.Code{exchange.Busy, exchange.Unavailable, exchange.RateLimited} {
		t.Run(string(code), func(t *testing.T) {
			las := Start(t, Options{})
			h := newHost(t, las, "DEMO-host-1")
			require.NoError(t, las.Fault(Fault{Fault: FaultRefuse, Code: code}))
			request := must(h.Request(order(1), counts{snmp: 1}))
			_, err := post(las, request)
			requireCode(t, code, err)
			refusal := asRefusal(t, err)
			require.Equal(t, exchange.RetryLater, refusal.When())
			require.Equal(t, time.Second, refusal.RetryAfter)
			_, err = las.Client.Fetch(t.Context(), exchange.DigestOf(request))
			require.Equal(t, 404, asRefusal(t, err).Status)

			_, err = post(las, request)
			require.NoError(t, err, "the very same bytes")
		})
	}
}

func TestF17ExpiredRightsCanBeLowered(t *testing.T) {
	now := time.Now()
	las := Start(t, Options{Now: func() time.Time { return now }})
	h := newHost(t, las, "DEMO-host-1")
	h.Now = func() time.Time { return now }
	activate(t, las, h, order(1), counts{advanced: 3})
	now = now.AddDate(2, 0, 0)
	_, r := ask(t, las, h, order(2), counts{advanced: 4})
	require.Equal(t, exchange.RightExpired, r.Refused[0].Code)
	response, _ := report(t, las, h, order(2))
	confirm(t, las, h, response)
	receipt := activate(t, las, h, order(3), counts{advanced: 1})
	held, pending := receipt.Count(rightOf(advanced))
	require.Equal(t, []int{1, 0}, []int{held, pending})
}

func TestF18RaiseTakesBackTheHostsOwnPendingRemoval(t *testing.T) {
	las := Start(t, Options{})
	h, other := newHost(t, las, "DEMO-host-1"), newHost(t, las, "DEMO-host-2")
	activate(t, las, other, order(1), counts{driver: 2})
	activate(t, las, h, order(1), counts{driver: 10}) // all twelve are taken
	response, _ := ask(t, las, h, order(2), counts{driver: 3})
	_, err := h.Apply(response) // not confirmed
	require.NoError(t, err)
	requireHeld(t, las, h.ID, driver, 3, 7)

	_, r := ask(t, las, h, order(3), counts{driver: 8})
	require.Empty(t, r.Refused, "not exhausted: the seats are its own")
	requireHeld(t, las, h.ID, driver, 8, 2)
	taken, _ := las.Consumed(driver)
	require.Equal(t, 12, taken)

	h.Sequence = 3
	_, r = ask(t, las, h, order(4), counts{driver: 11})
	require.Equal(t, exchange.RightExhausted, r.Refused[0].Code)
	requireHeld(t, las, h.ID, driver, 8, 2)
}
