package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
)

// The flaws that an exhaustive model found in a simpler design of the exchange, each as its shortest trace on the real
// parts. There is one seat of each right; what is wrongly free shows at once, because the other server takes it.

// The activation server has committed, nobody has told the ledger, and the operator changes their mind.
func TestF1UnassignWhileTheActivationServerHasCommitted(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.publish(one)
		r.step(one, "request")
		r.step(one, "received a response")
		r.unassign(one, productA)
		r.requireHeld(1, one, rightA)
		require.ErrorIs(r, r.assign(two, productA), ledger.ErrRefused)

		r.sync(one)
		r.requireRest(0, one, rightA)
		require.NoError(r, r.assign(two, productA))
	})
}

// A server refuses a response that consumed the seat; giving up on it frees nothing.
func TestF2GivingUpWhatFailedFreesNothing(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.publish(one)
		r.step(one, "request")
		r.step(one, "received a response")
		one.system.RefuseNext(one.host, exchange.ClockSkewed)
		r.step(one, "refused")
		r.report(one)
		r.unassign(one, productA)
		r.requireHeld(1, one, rightA)
		require.ErrorIs(r, r.assign(two, productA), ledger.ErrRefused)

		r.sync(one)
		r.requireRest(0, one, rightA)
	})
}

// The return is applied, and the agent dies before it records the confirmation.
func TestF3TheConfirmationIsNotLostForGood(t *testing.T) {
	eachRig(t, false, func(r *rig, one, _ *node) {
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		r.unassign(one, productA)
		r.publish(one)
		r.step(one, "request")
		r.step(one, "received a response")
		one.agent.CrashAt("activation.response-applied")
		r.step(one, "crashed")
		require.NoError(r, one.agent.Reconnect())
		r.requireHeld(1, one, rightA)

		r.sync(one)
		r.requireRest(0, one, rightA)
	})
}

// The response that removes the seat is refused; the next one is confirmed. The confirmation covers both.
func TestF4AConfirmationCoversEverythingUpToItsSequence(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		r.unassign(one, productA)
		r.publish(one)
		r.step(one, "request")
		r.step(one, "received a response") // the removal is pending at this sequence
		one.system.RefuseNext(one.host, exchange.ClockSkewed)
		r.step(one, "refused")
		r.requireHeld(1, one, rightA)

		r.sync(one)
		r.requireRest(0, one, rightA)
		require.NoError(r, r.assign(two, productA))
		r.activate(two)
		r.sync(two)
		r.requireRest(1, two, rightA)
	})
}

// A request that was recorded before its host was released arrives after it.
func TestF5ALateRequestConsumesNothing(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.publish(one)
		one.courier.keep = true
		r.step(one, "request")
		r.step(one, "no answer")
		require.Len(r, one.courier.kept, 1)

		r.release(one)
		require.NoError(r, r.assign(two, productA))
		_, err := r.las.Process(one.courier.kept[0])
		refusal := (*exchange.Refusal)(nil)
		require.ErrorAs(r, err, &refusal)
		require.Equal(r, exchange.Superseded, refusal.Code)
		r.verify()

		one.courier.keep = false // and the server comes back
		require.NoError(r, one.agent.Reconnect())
		r.sync(one)
		r.requireRest(0, one, rightA)
		r.activate(two)
		r.sync(two)
		r.requireRest(1, two, rightA)
	})
}

// A server put back from an image knows an old sequence and no digest: a report gets it back into step.
func TestF6ThereIsAWayBackIntoStep(t *testing.T) {
	eachRig(t, false, func(r *rig, one, _ *node) {
		image := one.system.Image(one.host)
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		one.system.Restore(image)
		r.sync(one)
		r.requireRest(1, one, rightA)

		// A wish that is withdrawn before any request leaves can be proved as well.
		r.unassign(one, productA)
		r.sync(one)
		r.requireRest(0, one, rightA)
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.claim(one) // claimed, never delivered
		r.unassign(one, productA)
		r.requireHeld(1, one, rightA)
		r.sync(one)
		r.requireRest(0, one, rightA)
	})
}

// Server and agent are put back from images made before the seat was consumed, and say that nothing is held.
func TestF7OldProofIsNotTakenForNew(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		image, journal := one.system.Image(one.host), one.agent.Image()
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.publish(one)
		r.step(one, "request")
		r.step(one, "received a response")
		one.system.Restore(image)
		one.agent.RestoreImage(journal)
		r.unassign(one, productA)
		r.publish(one)
		require.Empty(r, one.system.Held(one.host))
		r.report(one) // the old receipt, under the new document
		r.requireHeld(1, one, rightA)
		require.ErrorIs(r, r.assign(two, productA), ledger.ErrRefused)

		r.sync(one)
		r.requireRest(0, one, rightA)
	})
}

// A released host reappears with its license, and its seat is somebody else's by now.
func TestF8AReleasedHostFindsZero(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		old := one.agent.Report()
		one.agent.Disconnect()

		first := r.release(one)
		require.NoError(r, r.assign(two, productA))
		r.activate(two)
		r.sync(two)
		r.requireRest(1, two, rightA)

		r.settle(one, old) // what it said before frees and takes nothing
		r.requireHeld(0, one, rightA)
		require.NoError(r, one.agent.Reconnect())
		r.sync(one)
		r.requireRest(0, one, rightA)

		// The same release again, after the host holds a seat rightly, frees nothing in use.
		require.NoError(r, r.assign(one, productB))
		r.activate(one)
		r.sync(one)
		again, err := r.las.Release(one.host, first.request)
		require.NoError(r, err)
		require.Equal(r, first.receipt, again)
		r.requireRest(1, one, rightB)
	})
}

// The coordinator is put back from a backup and thinks free what a server holds.
func TestF9ARestoredCoordinatorAdopts(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		r.backup()
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		r.restore()

		settled := r.settleRestored(one)
		require.Equal(r, ledger.Ahead, settled.Verdict)
		require.ErrorIs(r, r.assign(two, productA), ledger.ErrRefused, "nothing is raised before everything is adopted")
		r.adoptAll()
		r.requireHeld(1, one, rightA)
		require.ErrorIs(r, r.assign(two, productA), ledger.ErrRefused)
		r.sync(one)
		r.sync(two)
		r.requireRest(1, one, rightA)

		// The same backup once more: its epoch is above every one ever used.
		first := settled.Epoch
		r.restore()
		settled = r.settleRestored(one)
		require.Equal(r, ledger.Ahead, settled.Verdict)
		require.Greater(r, settled.Epoch, first)
		r.adoptAll()
		r.sync(one)
		r.sync(two)
		r.requireRest(1, one, rightA)
	})
}

// An agent that starts acts on no wish from memory: not before the broker has told it what is wanted now.
func TestF10NothingIsRaisedOnAWishFromMemory(t *testing.T) {
	eachRig(t, false, func(r *rig, one, two *node) {
		image := one.system.Image(one.host)
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		journal := one.agent.Image()
		r.unassign(one, productA)
		r.sync(one)
		require.NoError(r, r.assign(two, productA))

		one.system.Restore(image)
		one.agent.RestoreImage(journal) // it remembers that it should hold one
		one.agent.StepUntilIdle()
		require.Empty(r, one.system.Held(one.host))
		r.verify()
		require.NoError(r, one.agent.Reconnect())
		r.sync(one)
		r.requireRest(0, one, rightA)
		r.activate(two)
		r.sync(two)
		r.requireRest(1, two, rightA)
	})
}

// The journal says done, the server was put back: facts decide.
func TestF11FactsCountNotTheJournal(t *testing.T) {
	eachRig(t, false, func(r *rig, one, _ *node) {
		image := one.system.Image(one.host)
		require.NoError(r, r.assign(one, productA))
		r.activate(one)
		r.sync(one)
		one.system.Restore(image)
		require.Empty(r, one.system.Held(one.host))
		one.agent.StepUntilIdle()
		require.Equal(r, 1, one.system.Held(one.host)[rightA])
		r.report(one)
		r.requireRest(1, one, rightA)
	})
}

// A server that can only return everything returns B with A; B is still wanted, and its seat is still its own.
func TestF12WhatIsReturnedAlongStaysHeld(t *testing.T) {
	eachRig(t, true, func(r *rig, one, two *node) {
		require.NoError(r, r.assign(one, productA))
		require.NoError(r, r.assign(one, productB))
		r.activate(one)
		r.sync(one)
		r.unassign(one, productA)
		r.publish(one)
		for one.system.Held(one.host)[rightB] != 0 { // until everything went back
			one.agent.Step()
			r.verify()
		}
		for one.agent.Report().Observed.InFlight {
			one.agent.Step()
		}
		r.report(one) // proof that B is 0, under an order that wants 1
		r.requireHeld(1, one, rightB)
		require.ErrorIs(r, r.assign(two, productB), ledger.ErrRefused)
		one.agent.Step() // B is asked for again
		r.unassign(one, productB)
		r.requireHeld(1, one, rightB)

		r.sync(one)
		r.requireRest(0, one, rightA)
		r.requireRest(0, one, rightB)
		require.NoError(r, r.assign(two, productB))
	})
}

// posted is a release and its receipt.
type posted struct {
	request exchange.Release
	receipt []byte
}

// release strands a server and releases it: the document of zeros is retained first.
func (r *rig) release(n *node) posted {
	r.Helper()
	r.must(func(tx *db.Tx) error { return ledger.Strand(tx, audit.Operator, n.id, "burned down") })
	r.must(func(tx *db.Tx) error { return ledger.Release(tx, audit.Operator, n.id, "seen by the fire brigade") })
	due := r.due()
	require.Empty(r, due, "nothing is posted before the document is retained")
	document, claimed := r.claim(n)
	require.True(r, claimed)
	n.agent.Retain(document.Payload)
	r.must(func(tx *db.Tx) error { return ledger.ReleasePublished(tx, n.id, document.Generation) })
	due = r.due()
	require.Len(r, due, 1)
	request := exchange.Release{Key: due[0].Key, Order: due[0].Order, Take: true}
	receipt, err := r.las.Release(n.host, request)
	require.NoError(r, err)
	verified, err := exchange.VerifyReceipt(r.las.Keys(), n.host, receipt)
	require.NoError(r, err)
	r.must(func(tx *db.Tx) error {
		settled, err := ledger.ReleaseSettled(tx, due[0], verified, receipt)
		require.True(r, settled)
		return err
	})
	r.requireHeld(0, n, rightA)
	return posted{request, receipt}
}

func (r *rig) due() (due []ledger.DueRelease) {
	require.NoError(r, r.d.View(r.Context(), func(tx *db.Tx) (err error) {
		due, err = ledger.ReleaseDue(tx)
		return err
	}))
	return due
}

// settleRestored is the first report that a ledger hears after it was put back: until then nobody knows, so nothing but its
// own invariants is asked.
func (r *rig) settleRestored(n *node) (settled ledger.Settled) {
	r.Helper()
	report := n.agent.Report()
	require.NoError(r, r.d.Update(r.Context(), func(tx *db.Tx) (err error) {
		settled, err = ledger.Settle(tx, n.id, report, nil)
		return err
	}))
	r.verify()
	return settled
}
