package activation_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

// The flaws of simpler designs that an exhaustive model found, by their numbers; here the agent's side of each.

func TestF3ConfirmationIsNotLostBetweenApplyAndRecord(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(2)
	k.deliver(k.want(0))
	k.stepper.CrashAt("activation.response-applied")
	require.Equal(t, "crashed at activation.response-applied", k.steps(3))
	state, _ := k.las.Host(host)
	_, pending := at(state, rightA)
	require.Equal(t, 2, pending, "the removal waits for the confirmation")
	require.Zero(t, k.system.Held(host)[rightA], "the server has applied it")

	require.NoError(t, k.stepper.Reconnect())
	did := k.settle()
	require.Equal(t, "applied a response", did[0])
	k.agree(0)
	require.Equal(t, 4, k.requests(), "no message was made anew")
}

func TestF5aALateRequestAfterAReleaseTakesNothing(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.deliver(k.want(2))
	require.Contains(t, k.steps(1), "created a request")
	// The host is released under a newer order before the request arrives.
	k.order.Generation++
	_, err := k.las.Release(host, exchange.Release{Key: "release-1", Order: k.order, Take: true})
	require.NoError(t, err)
	require.Equal(t, "request refused: superseded", k.steps(1))
	did := k.settle()
	require.Contains(t, did[len(did)-1], "superseded: a newer one is needed")
	taken, _ := k.las.Consumed(rightA)
	require.Zero(t, taken)
	require.Zero(t, k.system.Held(host)[rightA])
	k.stepper.Crash()
	require.NoError(t, k.stepper.Reconnect())
	require.Contains(t, k.settle()[0], "superseded", "remembered over a restart")

	k.order.Generation--
	k.activate(0) // the document that was retained before the release
	k.activate(1)
}

func TestF5cANewOrderDoesNotOvertakeARequest(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.deliver(k.want(2))
	k.carrier.before = func([]byte) error { return errCut }
	k.steps(3)
	require.ErrorIs(t, k.stepper.Err(), errCut)
	k.deliver(k.want(0))
	k.steps(3)
	k.stepper.Crash()
	require.NoError(t, k.stepper.Reconnect())
	k.steps(2)
	require.Equal(t, 1, k.requests(), "silence posts the same bytes again, whatever came since")
	require.Len(t, k.carrier.posted, 7)
	k.carrier.before = nil
	k.settle()
	k.agree(0)
}

func TestF6BackIntoStepAfterAnImage(t *testing.T) {
	for name, counts := range map[string][]int{"the same again": {2, 1}, "withdrawn meanwhile": {0, 0}, "raised meanwhile": {3, 3}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, kitOptions{})
			image := k.system.Image(host)
			k.activate(2, 1)
			k.system.Restore(image)
			require.Zero(t, k.system.Held(host)[rightA])
			k.deliver(k.want(counts...))
			k.settle()
			k.agree(counts...)
		})
	}
}

func TestF7AnOldReceiptProvesNothingUnderANewOrder(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(0) // a receipt that says: nothing held
	server, journal := k.system.Image(host), k.stepper.Image()
	k.activate(2)

	// Server and agent are restored; the unassignment comes; all that is here says "nothing held".
	k.system.Restore(server)
	k.stepper.RestoreImage(journal)
	k.deliver(k.want(0))
	report := k.stepper.Report()
	receipt, err := exchange.VerifyReceipt(k.las.Keys(), host, report.Observed.Receipt)
	require.NoError(t, err)
	require.NotEqual(t, report.Observed.Order, receipt.Order, "the receipt is told as it is, under its own order")
	require.Contains(t, k.steps(1), "created a report: the facts are right, a receipt must say so")
	require.True(t, k.stepper.Report().Observed.InFlight)
	k.settle()
	k.agree(0)
}

func TestF7EqualIsNotProved(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(1)
	server, journal := k.system.Image(host), k.stepper.Image()
	k.deliver(k.want(0)) // the return is committed, and then forgotten by both
	k.steps(2)
	k.system.Restore(server)
	k.stepper.RestoreImage(journal)
	state, _ := k.las.Host(host)
	_, pending := at(state, rightA)
	require.Equal(t, 1, pending)
	k.activate(1) // wanted, installed and proved are equal, but nothing is held at the activation server
}

func TestF10NothingBeginsOnAnOldWishFromMemory(t *testing.T) {
	k := newKit(t, kitOptions{})
	server := k.system.Image(host)
	k.activate(2)
	journal := k.stepper.Image()
	k.deliver(k.want(0))
	k.settle()
	k.agree(0)

	// Restored to when 2 were wanted, with the carrier there and the broker not yet.
	k.system.Restore(server)
	k.stepper.RestoreImage(journal)
	posted := len(k.carrier.posted)
	did := k.settle()
	require.Equal(t, "the desired document of this connection is not here yet", did[len(did)-1])
	require.Len(t, k.carrier.posted, posted)
	taken, _ := k.las.Consumed(rightA)
	require.Zero(t, taken, "a freed seat is not taken back")

	require.NoError(t, k.stepper.Reconnect())
	k.settle()
	k.agree(0)
}

func TestF10OutOfStepAsksForTheDocumentAgain(t *testing.T) {
	k := newKit(t, kitOptions{})
	server := k.system.Image(host)
	k.activate(2)
	k.system.Restore(server)
	did := k.settle()
	require.Contains(t, did, "request refused: out-of-step")
	require.Contains(t, did, "received the retained document again")
	k.agree(2)

	// Without the broker the report still gets into step, and what is then missing waits.
	k.system.Restore(server)
	require.NoError(t, k.las.Fault(exchangetest.Fault{Fault: exchangetest.FaultForgetRight, Host: host, ActivationID: rightA.Reveal()}))
	k.steps(1)
	k.stepper.Disconnect()
	did = k.settle()
	require.Equal(t, "the desired document of this connection is not here yet", did[len(did)-1])
	require.NoError(t, k.stepper.Reconnect())
	k.settle()
	k.agree(2)
}

func TestF11TheFactsComeBeforeTheJournal(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(1, 1)
	server := k.system.Image(host)
	k.activate(2, 1)
	k.system.Restore(server) // the journal says that this order is done
	k.settle()
	k.agree(2, 1)
	k.system.Tamper(host, rightB, 4)
	k.settle()
	k.agree(2, 1)
	k.system.Tamper(host, rightA, 0)
	k.settle()
	k.agree(2, 1)
}

func TestF12EverythingGoesBackFirst(t *testing.T) {
	k := newKit(t, kitOptions{returnAll: true})
	k.activate(2, 3)
	k.deliver(k.want(1, 3))
	before := k.requests()
	require.Equal(t, []string{
		"created a request: everything goes back, since the server cannot return a part",
		"received a response", "applied a response", "settled with a receipt", "read the facts",
		"created a request: the server does not hold what it should",
		"received a response", "applied a response", "settled with a receipt", "read the facts", "done",
	}, k.settle())
	require.Equal(t, before+4, k.requests())
	k.agree(1, 3)
	k.activate(4, 4) // a raise alone needs no return
	require.Equal(t, before+6, k.requests())
	k.activate(0, 0)
}

// In between the receipt says that B is not held, and it must not count as proof while B is wanted.
func TestF12ACollateralReturnSettlesNothingForTheOtherRight(t *testing.T) {
	k := newKit(t, kitOptions{returnAll: true})
	k.activate(1, 1)
	k.deliver(k.want(0, 1))
	k.stepper.CrashAt("activation.receipt-journalled")
	require.Contains(t, k.steps(4), "crashed")
	report := k.stepper.Report()
	receipt, err := exchange.VerifyReceipt(k.las.Keys(), host, report.Observed.Receipt)
	require.NoError(t, err)
	held, _ := receipt.Count(rightB.RightID())
	require.Zero(t, held)
	require.NoError(t, k.stepper.Reconnect())
	k.settle()
	k.agree(0, 1)
}

// F16 for every carrier: what anybody else can see is in the journal before.
func TestF16RecordBeforeItLeaves(t *testing.T) {
	k := newKit(t, kitOptions{})
	seen := 0
	k.carrier.before = func(message []byte) error {
		seen++
		journal := bytes.Join(k.stepper.Image().Files(), nil)
		require.Contains(t, string(journal), base64.StdEncoding.EncodeToString(message), "message %d left before it was recorded", seen)
		return nil
	}
	k.activate(2, 1)
	require.Equal(t, 2, seen)
}

func TestHoldFinishesReportsAndChangesNothing(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.deliver(k.want(2))
	k.steps(2) // the response is here
	k.order = exchange.Order{Epoch: 2}
	k.deliver(k.document(protocol.Desired{Hold: true, Generation: 1}))
	did := k.settle()
	require.Equal(t, "applied a response", did[0], "what is begun is finished")
	require.Equal(t, "the server is on hold", did[len(did)-1])
	require.Contains(t, strings.Join(did, "\n"), "created a report: a held server reports under the hold")
	k.agree(2)
	k.system.Tamper(host, rightA, 0)
	k.settle()
	require.Zero(t, k.system.Held(host)[rightA], "nothing is changed on hold")

	k.order = exchange.Order{Epoch: 2, Generation: 1}
	k.activate(1)
}
