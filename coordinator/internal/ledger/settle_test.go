package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// An activation from the first request to the proof, and the return of it, as the reports tell it.
func TestPhasesFollowTheExchange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9})
		_, err := w.assign(snmp, 2, "srv-a")
		require.NoError(t, err)
		_, err = w.assign(essential, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		_, document := w.claim("srv-a")
		step := func(step protocol.Step, want Phase) {
			t.Helper()
			in := w.report("srv-a", document, counts{}, exchangeAt(step, document.Order, "", right(refs[0], 2, "")))
			w.settle("srv-a", in, w.receipt("srv-a", order(1, 0), 1, nil))
			require.Equal(t, want, w.phase("srv-a", refs[0]))
			require.Equal(t, Ordered, w.phase("srv-a", refs[1]), "it is not in the exchange")
		}
		step(protocol.StepMade, Requested)
		step(protocol.StepAnswered, Issued)
		step(protocol.StepApplied, Issued)
		step(protocol.StepConfirmed, Issued) // the receipt is not here: it does not verify, say
		step(protocol.StepRefused, Ordered)
		step(protocol.StepMade, Requested)
		confirmed := exchangeAt(protocol.StepConfirmed, document.Order, "", right(refs[0], 2, ""))
		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 2}, confirmed), w.receipt("srv-a", document.Order, 5, counts{refs[0]: 2}))
		require.Equal(t, Activated, w.phase("srv-a", refs[0]))
		require.Equal(t, Ordered, w.phase("srv-a", refs[1]))
		require.WithinDuration(t, time.Now(), w.view("srv-a").SettledAt, time.Minute)

		again := exchangeAt(protocol.StepMade, document.Order, "", right(refs[1], 1, ""))
		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 2}, again), w.receipt("srv-a", document.Order, 5, counts{refs[0]: 2}))
		require.Equal(t, Requested, w.phase("srv-a", refs[1]), "the settled exchange is over, this is another one")
		require.Equal(t, Activated, w.phase("srv-a", refs[0]))

		_, err = w.unassign(snmp, 1, "srv-a")
		require.NoError(t, err)
		_, document = w.claim("srv-a")
		require.Equal(t, Returning, w.phase("srv-a", refs[0]))
		applied := exchangeAt(protocol.StepApplied, document.Order, "", right(refs[0], 1, ""), right(refs[1], 1, ""))
		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 1, refs[1]: 1}, applied), w.receipt("srv-a", document.Order, 5, nil))
		require.Equal(t, ReturnUnconfirmed, w.phase("srv-a", refs[0]))
		settled := w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 1, refs[1]: 1}), w.receipt("srv-a", document.Order, 6, counts{refs[0]: 1, refs[1]: 1}))
		require.Equal(t, Settled{Verdict: Settles, Freed: 1}, settled)
		require.Equal(t, Activated, w.phase("srv-a", refs[0]))
		require.Equal(t, Activated, w.phase("srv-a", refs[1]))
	})
}

func TestFailedIsRetriedUnderANewOrder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9})
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		_, err = w.assign(essential, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		_, document := w.claim("srv-a")
		partly := exchangeAt(protocol.StepConfirmed, document.Order, "", right(refs[0], 1, exchange.RightExhausted), right(refs[1], 1, ""))
		w.settle("srv-a", w.report("srv-a", document, counts{refs[1]: 1}, partly), w.receipt("srv-a", document.Order, 5, counts{refs[1]: 1}))
		a := w.view("srv-a").at(refs[0])
		require.Equal(t, Failed, a.Phase)
		require.Equal(t, exchange.RightExhausted, a.Code)
		require.Equal(t, []Condition{Contested}, a.Conditions, "a seat is held for it, and the activation server has none left")
		require.Equal(t, Activated, w.phase("srv-a", refs[1]))

		// A report that says nothing of it leaves it failed.
		w.settle("srv-a", w.report("srv-a", document, counts{refs[1]: 1}), w.receipt("srv-a", document.Order, 6, counts{refs[1]: 1}))
		require.Equal(t, Failed, w.phase("srv-a", refs[0]))

		require.Equal(t, Activation{Servers: 1, Assignments: 1, Retried: 1}, w.activate("srv-a"))
		require.Equal(t, Ordered, w.phase("srv-a", refs[0]), "a new order")
		require.Empty(t, w.view("srv-a").at(refs[0]).Code)
		again := w.prove("srv-a", 7)
		require.Greater(t, again.Order.Generation, document.Order.Generation)
		require.Equal(t, Activated, w.phase("srv-a", refs[0]))
		require.Equal(t, Activation{}, w.activate("srv-a"))
	})
}

func TestARefusalThatWasOvercomeIsForgotten(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9})
		for i, part := range []string{snmp, essential} {
			_, err := w.assign(part, 1, "srv-a")
			require.NoError(t, err, i)
		}
		w.activate("srv-a")
		_, document := w.claim("srv-a")
		say := func(step protocol.Step, whole exchange.Code, code exchange.Code) {
			w.settle("srv-a", w.report("srv-a", document, counts{}, exchangeAt(step, document.Order, whole, right(refs[0], 1, code))), nil)
		}
		say(protocol.StepRefused, exchange.HostReturned, "")
		require.Equal(t, Failed, w.phase("srv-a", refs[0]))
		say(protocol.StepMade, exchange.Busy, "")
		require.Equal(t, Failed, w.phase("srv-a", refs[0]), "asking again is not yet an answer")
		say(protocol.StepAnswered, "", "")
		require.Equal(t, Issued, w.phase("srv-a", refs[0]))
		say(protocol.StepAnswered, "", exchange.RightDenied)
		require.Equal(t, Failed, w.phase("srv-a", refs[0]))
		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 1}), w.receipt("srv-a", document.Order, 5, counts{refs[0]: 1}))
		require.Equal(t, Activated, w.phase("srv-a", refs[0]), "it is proved as ordered")

		// A right that is named with 0 can be refused too: nothing is missing, and it can be assigned as if nothing had been.
		_, err := w.unassign(snmp, 0, "srv-a")
		require.NoError(t, err)
		w.prove("srv-a", 6)
		_, err = w.unassign(essential, 0, "srv-a")
		require.NoError(t, err)
		_, document = w.claim("srv-a")
		say(protocol.StepRefused, exchange.HostReturned, "")
		require.Equal(t, Freed, w.phase("srv-a", refs[0]))
		_, err = w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		require.Equal(t, Assigned, w.phase("srv-a", refs[0]))
	})
}

func TestConditions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b")
		refs := w.buy("ENT-1", line{part: snmp, seats: 1}, line{part: essential, seats: 9, expires: day})
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		document := w.prove("srv-a", 5)
		require.Empty(t, w.view("srv-a").Conditions)
		require.Empty(t, w.view("srv-a").at(refs[0]).Conditions)

		proof := w.receipt("srv-a", document.Order, 5, counts{refs[0]: 1})
		strange := w.report("srv-a", document, counts{refs[0]: 2, refs[1]: 1}, func(r *protocol.Report) {
			r.Exchange = &protocol.Exchange{Digest: ours, Step: protocol.StepRefused, Code: exchange.CloneSuspected}
		})
		w.settle("srv-a", strange, proof)
		require.Equal(t, []Condition{IsUnmanaged, CloneSuspected}, w.view("srv-a").Conditions)
		require.Equal(t, 1, w.view("srv-a").Unmanaged)
		require.Equal(t, []Condition{Differs}, w.view("srv-a").at(refs[0]).Conditions)
		inFlight := w.report("srv-a", document, counts{refs[0]: 2}, func(r *protocol.Report) { r.Observed.InFlight = true })
		w.settle("srv-a", inFlight, proof)
		require.Empty(t, w.view("srv-a").at(refs[0]).Conditions, "on the way from one count to another the store may lag")

		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 1}), proof)
		require.Empty(t, w.view("srv-a").at(refs[0]).Conditions)
		lost := w.report("srv-a", document, counts{}, func(r *protocol.Report) { r.Observed.Receipt = nil })
		w.settle("srv-a", lost, nil)
		require.Equal(t, []Condition{IsRestored}, w.view("srv-a").Conditions, "it came to sequence 5, and knows of no receipt")

		// More than was bought is held only where the activation server says so.
		more := w.receipt("srv-a", document.Order, 6, counts{refs[0]: 3})
		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 3}), more)
		require.Equal(t, []Condition{Overcommitted}, w.view("srv-a").at(refs[0]).Conditions)
		require.Equal(t, 3, w.held(refs[0]))
		_, err = w.assign(snmp, 1, "srv-b")
		require.ErrorIs(t, err, ErrRefused)
		w.settle("srv-a", w.report("srv-a", document, counts{refs[0]: 1}), w.receipt("srv-a", document.Order, 7, counts{refs[0]: 1}))
		require.Empty(t, w.view("srv-a").at(refs[0]).Conditions)

		_, err = w.assign(essential, 1, "srv-b")
		require.NoError(t, err)
		w.must(func(tx *db.Tx) error {
			_, err := tx.Exec("UPDATE lines SET expires = 1 WHERE ref = $1", refs[1])
			return err
		})
		require.Equal(t, []Condition{Expired}, w.view("srv-b").at(refs[1]).Conditions)
	})
}

func TestAdoptTakesOverWhatTheHostHolds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		refs := w.buy("ENT-1", line{part: snmp, seats: 3}, line{part: essential, seats: 9}, line{part: advanced, seats: 1})
		away := w.buyFor(stranger, "ENT-2", line{part: snmp, seats: 9})
		w.addServers(node{id: "srv-a"}, node{id: "srv-b", site: "none"})
		w.must(func(tx *db.Tx) error {
			added, err := EnsureServers(tx)
			require.Equal(t, []string{"srv-a"}, added, "a server without an owner is observed")
			return err
		})
		epoch := w.view("srv-a").Order.Epoch
		receipt := w.receipt("srv-a", order(epoch, 0), 7, counts{refs[0]: 1, refs[2]: 2, away[0]: 1})
		receipt.Rights = append(receipt.Rights,
			exchange.ReceiptRight{Right: exchange.ActivationID("unknown").RightID(), Count: 1},
			exchange.ReceiptRight{Right: exchange.ActivationID("nothing").RightID()},
			exchange.ReceiptRight{Right: w.right(refs[1]), Pending: 2})
		other := *receipt
		other.Host = "DEMO-other"
		w.must(func(tx *db.Tx) error {
			done, err := Adopt(tx, "srv-a", other, nil)
			require.False(t, done, "of another host")
			return err
		})
		w.must(func(tx *db.Tx) error {
			done, err := Adopt(tx, "srv-a", *receipt, []byte("signed"))
			require.True(t, done)
			return err
		})
		seen := w.view("srv-a")
		require.Equal(t, Counts{1, 1, 1, 1}, seen.at(refs[0]).Counts)
		require.Equal(t, Counts{0, 0, 2, 0}, seen.at(refs[1]).Counts, "a removal that waits is exposed")
		require.Equal(t, Returning, seen.at(refs[1]).Phase)
		require.Equal(t, Counts{2, 2, 2, 2}, seen.at(refs[2]).Counts)
		require.Contains(t, seen.at(refs[2]).Conditions, Overcommitted)
		require.Equal(t, 2, seen.Unmanaged, "one that nobody knows, and one of another owner")
		require.Equal(t, int64(7), seen.Sequence)
		w.must(func(tx *db.Tx) error {
			done, err := Adopt(tx, "srv-a", *receipt, nil)
			require.False(t, done, "it is adopted")
			return err
		})
		desired, _ := w.claim("srv-a")
		require.Equal(t, order(epoch, 1), desired.Order)
		require.Len(t, desired.Rights, 3)
		w.must(func(tx *db.Tx) error {
			told, err := Hold(tx, "srv-a")
			require.Empty(t, told, "only who is adopting holds")
			return err
		})
	})
}

func TestSettleOfAStrangerChangesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.addServers(node{id: "srv-a"})
		before := dbtest.Dump(t, d)
		require.Equal(t, Settled{}, w.settle("srv-a", protocol.Report{}, nil))
		require.Equal(t, Settled{}, w.settle("srv-x", protocol.Report{}, nil))
		require.Equal(t, before, dbtest.Dump(t, d))
	})
}

func TestReleaseThatIsRefusedKeepsEverything(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 1})
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		w.prove("srv-a", 5)
		first := w.release("srv-a")
		w.must(func(tx *db.Tx) error { return ReleaseRefused(tx, first, exchange.HostUnknown) })
		require.Equal(t, exchange.HostUnknown, w.view("srv-a").ReleaseCode)
		w.must(func(tx *db.Tx) error {
			due, err := ReleaseDue(tx)
			require.Empty(t, due, "a person decides whether it is tried again")
			return err
		})
		require.Equal(t, 1, w.held(refs[0]))

		second := w.release("srv-a")
		require.NotEqual(t, first.Key, second.Key)
		require.True(t, first.Order.Before(second.Order))
		require.False(t, w.released(first, 8), "the answer to the first one, late")
		require.Equal(t, 1, w.held(refs[0]))
		w.must(func(tx *db.Tx) error { return ReleaseRefused(tx, first, exchange.HostUnknown) })
		require.Empty(t, w.view("srv-a").ReleaseCode)
		wrong := w.receipt("srv-a", second.Order, 9, nil)
		wrong.For = exchange.DigestOf([]byte(first.Key))
		err = w.try(func(tx *db.Tx) error {
			_, err := ReleaseSettled(tx, second, *wrong, nil)
			return err
		})
		require.ErrorIs(t, err, errForeignReceipt)
		require.True(t, w.released(second, 9))
		require.Zero(t, w.held(refs[0]))
	})
}

// Without an agent there is nobody to tell, so the release waits for nobody.
func TestReleaseOfAServerWithoutAnAgent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.addServers(node{id: "srv-a", agent: "none"})
		refs := w.buy("ENT-1", line{part: snmp, seats: 1})
		w.must(func(tx *db.Tx) error {
			_, err := EnsureServers(tx)
			return err
		})
		w.must(func(tx *db.Tx) error {
			_, err := Adopt(tx, "srv-a", *w.receipt("srv-a", order(w.view("srv-a").Order.Epoch, 0), 3, counts{refs[0]: 1}), nil)
			return err
		})
		w.must(func(tx *db.Tx) error { return Strand(tx, audit.Operator, "srv-a", "") })
		w.must(func(tx *db.Tx) error { return Release(tx, audit.Operator, "srv-a", "") })
		var due []DueRelease
		w.must(func(tx *db.Tx) (err error) {
			due, err = ReleaseDue(tx)
			return err
		})
		require.Len(t, due, 1)
		require.True(t, w.released(due[0], 4))
		require.Zero(t, w.held(refs[0]))
	})
}
