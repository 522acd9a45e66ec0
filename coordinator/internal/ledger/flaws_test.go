package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// The flaws of a simpler design that the exhaustive model found, as far as they are the ledger's. Each test is the model's
// trace, with the reports and receipts that the trace leads to.

// stage is a world with one line of one seat and servers that hold nothing.
func stage(t *testing.T, d *db.DB, servers ...string) (*world, string) {
	t.Helper()
	w := newWorld(t, d)
	w.ready(servers...)
	return w, w.buy("ENT-1", line{part: snmp, seats: 1})[0]
}

func right(line string, count int, code exchange.Code) protocol.ExchangeRight {
	return protocol.ExchangeRight{Ref: line, Count: count, Code: code}
}

// F1: assign, publish, the activation server commits; the report is not here yet, and the operator unassigns.
func TestF1UnassignOfWhatIsPublishedFreesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a", "srv-b")
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		_, first := w.claim("srv-a")

		result, err := w.unassign(snmp, 0, "srv-a")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 1, Returns: 1}, result)
		require.Equal(t, 1, w.held(line))
		_, err = w.assign(snmp, 1, "srv-b")
		require.ErrorIs(t, err, ErrRefused, "the seat may be consumed")

		// The report of the first document, and its receipt, prove nothing about the second.
		_, second := w.claim("srv-a")
		w.settle("srv-a", w.report("srv-a", first, counts{line: 1}), w.receipt("srv-a", first.Order, 3, counts{line: 1}))
		require.Equal(t, 1, w.held(line))
		w.settle("srv-a", w.report("srv-a", second, counts{}), w.receipt("srv-a", second.Order, 4, counts{}))
		require.Zero(t, w.held(line))
		_, err = w.assign(snmp, 1, "srv-b")
		require.NoError(t, err)
	})
}

// F2: the activation server commits, the server refuses the response: failed. Giving up is a return like any other.
func TestF2FailedFreesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a", "srv-b")
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		_, document := w.claim("srv-a")
		refused := w.report("srv-a", document, counts{}, exchangeAt(protocol.StepRefused, document.Order, exchange.ClockSkewed, right(line, 1, "")))
		w.settle("srv-a", refused, nil)
		require.Equal(t, Failed, w.phase("srv-a", line))
		require.Equal(t, exchange.ClockSkewed, w.view("srv-a").at(line).Code)
		require.Equal(t, 1, w.held(line))

		result, err := w.unassign(snmp, 0, "srv-a")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 1, Returns: 1}, result)
		require.Equal(t, Returning, w.phase("srv-a", line))
		_, err = w.assign(snmp, 1, "srv-b")
		require.ErrorIs(t, err, ErrRefused)
	})
}

// F7: server and agent are restored from an image made before the seat was activated. What the old journal proves is not
// taken for the proof that the return needs, nor an old "held" for a seat that is free.
func TestF7OldProofIsNotTakenForNew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a", "srv-b")
		zero := w.prove("srv-a", 2) // "nothing held", under the first order: what the image will say
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		one := w.prove("srv-a", 4)
		_, err = w.unassign(snmp, 0, "srv-a")
		require.NoError(t, err)
		_, last := w.claim("srv-a")

		old := w.receipt("srv-a", zero.Order, 2, counts{})
		w.settle("srv-a", w.report("srv-a", last, counts{}), old)
		require.Equal(t, 1, w.held(line), "it accepted the return, but its receipt is older than the activation")
		require.Contains(t, w.view("srv-a").Conditions, IsRestored)
		w.settle("srv-a", w.report("srv-a", zero, counts{}), old)
		require.Equal(t, 1, w.held(line))
		inFlight := w.report("srv-a", last, counts{}, exchangeAt(protocol.StepApplied, last.Order, "", right(line, 0, "")))
		w.settle("srv-a", inFlight, w.receipt("srv-a", last.Order, 6, counts{}))
		require.Equal(t, 1, w.held(line), "an exchange is in flight")
		require.Equal(t, ReturnUnconfirmed, w.phase("srv-a", line))
		w.settle("srv-a", w.report("srv-a", last, counts{}), w.receipt("srv-a", last.Order, 3, counts{}))
		require.Equal(t, 1, w.held(line), "the order fits, but the sequence went back")

		w.settle("srv-a", w.report("srv-a", last, counts{}), w.receipt("srv-a", last.Order, 6, counts{}))
		require.Zero(t, w.held(line))
		require.NotContains(t, w.view("srv-a").Conditions, IsRestored)

		// The seat goes to another server; the old "held" does not take it back.
		_, err = w.assign(snmp, 1, "srv-b")
		require.NoError(t, err)
		w.settle("srv-a", w.report("srv-a", one, counts{line: 1}), w.receipt("srv-a", one.Order, 4, counts{line: 1}))
		require.Equal(t, Freed, w.phase("srv-a", line))
		require.Equal(t, 1, w.held(line))
		require.Contains(t, w.view("srv-a").at(line).Conditions, Differs, "it uses what is free: shown")
	})
}

func (w *world) release(server string) DueRelease {
	w.Helper()
	w.must(func(tx *db.Tx) error { return Strand(tx, audit.Operator, server, "burnt") })
	w.must(func(tx *db.Tx) error { return Release(tx, audit.Operator, server, "destroyed by fire, certificate 7") })
	var due []DueRelease
	w.must(func(tx *db.Tx) (err error) {
		due, err = ReleaseDue(tx)
		require.Empty(w, due, "the document of zeros is not at the broker yet")
		return err
	})
	_, document := w.claim(server)
	require.True(w, document.Release)
	w.must(func(tx *db.Tx) (err error) {
		if due, err = ReleaseDue(tx); err == nil {
			require.Empty(w, due, "claimed is not published")
			err = ReleasePublished(tx, server, document.Generation)
		}
		return err
	})
	w.must(func(tx *db.Tx) (err error) {
		due, err = ReleaseDue(tx)
		return err
	})
	require.Len(w, due, 1)
	require.Equal(w, document.Order, due[0].Order)
	return due[0]
}

func (w *world) released(due DueRelease, sequence int64) bool {
	w.Helper()
	receipt := w.receipt(due.Server, due.Order, sequence, counts{})
	receipt.For = exchange.DigestOf([]byte(due.Key))
	var done bool
	w.must(func(tx *db.Tx) (err error) {
		done, err = ReleaseSettled(tx, due, *receipt, []byte("signed"))
		return err
	})
	return done
}

// F8 a: a server is released and reappears: it finds 0, and no table brings the seat back. b: a repeat of the release after
// the host has rightly activated again frees nothing.
func TestF8ReleaseOfALostHost(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a", "srv-b")
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		one := w.prove("srv-a", 4)

		err = w.try(func(tx *db.Tx) error { return Release(tx, audit.Operator, "srv-a", "") })
		require.ErrorContains(t, err, "it is not marked as stranded")
		due := w.release("srv-a")
		require.Equal(t, 1, w.held(line), "the mark and the order free nothing")
		require.Subset(t, w.view("srv-a").Conditions, []Condition{IsStranded, IsReleasing})
		for _, forbidden := range []func() error{
			func() error { _, err := w.assign(snmp, 1, "srv-a"); return err },
			func() error { _, err := w.unassign(snmp, 0, "srv-a"); return err },
		} {
			require.ErrorContains(t, forbidden(), "it is being released")
		}

		require.True(t, w.released(due, 9))
		require.Zero(t, w.held(line))
		require.Equal(t, Freed, w.phase("srv-a", line))
		require.NotContains(t, w.view("srv-a").Conditions, IsStranded)

		// It reappears with what it had, and with the document that it accepted then.
		w.settle("srv-a", w.report("srv-a", one, counts{line: 1}), w.receipt("srv-a", one.Order, 4, counts{line: 1}))
		require.Zero(t, w.held(line))
		_, err = w.assign(snmp, 1, "srv-b")
		require.NoError(t, err, "the seat is free")
		w.must(func(tx *db.Tx) error {
			documents, err := ClaimedDocuments(tx, "", 1)
			require.NoError(t, err)
			desired, err := protocol.Decode[protocol.Desired](documents[0].Payload)
			require.Equal(t, 0, desired.Rights[0].Count, "what it finds at the broker is 0")
			return err
		})

		// It activates again, rightly; the answer to the release arrives once more.
		_, err = w.unassign(snmp, 0, "srv-b")
		require.NoError(t, err)
		_, err = w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		w.prove("srv-a", 11)
		require.False(t, w.released(due, 9))
		require.Equal(t, Activated, w.phase("srv-a", line))
	})
}

func TestF8AServerThatReappearsBeforeItsReleaseLosesTheMark(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a")
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		document := w.prove("srv-a", 4)
		w.must(func(tx *db.Tx) error { return Strand(tx, audit.Operator, "srv-a", "silent") })
		marked := dbtest.Dump(t, d)
		w.must(func(tx *db.Tx) error { return Strand(tx, audit.Operator, "srv-a", "again") })
		require.Equal(t, marked, dbtest.Dump(t, d), "once is enough")
		require.Equal(t, Activated, w.phase("srv-a", line))

		beside := w.report("srv-a", document, counts{line: 1}, func(r *protocol.Report) { r.Facts.Unanswered = "connection refused" })
		w.settle("srv-a", beside, w.receipt("srv-a", document.Order, 4, counts{line: 1}))
		require.Contains(t, w.view("srv-a").Conditions, IsStranded, "its agent lives, the server does not answer")
		w.settle("srv-a", w.report("srv-a", document, counts{line: 1}), w.receipt("srv-a", document.Order, 4, counts{line: 1}))
		require.NotContains(t, w.view("srv-a").Conditions, IsStranded)
		require.Equal(t, Activated, w.phase("srv-a", line))
	})
}

// F8 d: a ledger that was restored drops the releases of its backup, and their answers mean nothing to it.
func TestF8ARestoredLedgerDropsReleases(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a")
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		w.prove("srv-a", 4)
		due := w.release("srv-a")
		w.newEpoch()
		w.must(func(tx *db.Tx) error {
			again, err := ReleaseDue(tx)
			require.Empty(t, again)
			return err
		})
		require.False(t, w.released(due, 9))
		require.Equal(t, 1, w.held(line))
	})
}

func (w *world) newEpoch() int64 {
	w.Helper()
	var epoch int64
	w.must(func(tx *db.Tx) (err error) {
		epoch, err = NewEpoch(tx, audit.Operator, "restored from a backup")
		return err
	})
	return epoch
}

// F9: backup, assign, activate, restore: the ledger says that the seat is free. It gives nothing away before it knows, and
// adopts what the activation server proves, not what was last wished.
func TestF9ARestoredLedgerAdoptsBeforeItGives(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a", "srv-b")
		_, err := w.assign(snmp, 1, "srv-b") // a wish of the backup that was withdrawn later
		require.NoError(t, err)
		before := w.view("srv-a").Order.Epoch
		epoch := w.newEpoch()
		require.Greater(t, epoch, before)
		w.nothingToClaim("srv-b") // old wishes are not published in a higher epoch

		adopt := func(server string, holds counts) {
			t.Helper()
			w.must(func(tx *db.Tx) error {
				done, err := Adopt(tx, server, *w.receipt(server, order(epoch, 0), 7, holds), []byte("signed"))
				require.True(t, done)
				return err
			})
		}
		stale := func(o exchange.Order) {
			w.must(func(tx *db.Tx) error {
				done, err := Adopt(tx, "srv-a", *w.receipt("srv-a", o, 99, counts{}), nil)
				require.False(t, done, "%s", o)
				return err
			})
		}
		stale(order(before, 0))
		stale(order(before, 7))
		adopt("srv-b", counts{})
		var adopting *AdoptingError
		_, err = w.assign(snmp, 1, "srv-b")
		require.ErrorAs(t, err, &adopting, "srv-a may hold it")
		require.True(t, adopting.Restored)
		require.Equal(t, []string{"srv-a"}, adopting.Servers)

		adopt("srv-a", counts{line: 1})
		a := w.view("srv-a").at(line)
		require.Equal(t, Counts{1, 1, 1, 1}, a.Counts)
		require.Equal(t, Ordered, a.Phase, "it is proved, but not yet under an order of this epoch")
		require.Equal(t, Counts{}, w.view("srv-b").at(line).Counts)
		require.Equal(t, 1, w.held(line))
		_, err = w.assign(snmp, 1, "srv-b")
		var short *ShortError
		require.ErrorAs(t, err, &short)
		w.prove("srv-a", 8)
		require.Equal(t, Activated, w.phase("srv-a", line))
	})
}

// F9 without the activation server: hold, a report under it, and its receipt is adopted.
func TestF9AdoptsByHoldWhereNobodyCanBeAsked(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w, line := stage(t, d, "srv-a")
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		old := w.prove("srv-a", 4)
		epoch := w.newEpoch()
		w.must(func(tx *db.Tx) error {
			told, err := Hold(tx, "srv-a")
			require.Equal(t, []string{"srv-a"}, told)
			return err
		})
		desired, hold := w.claim("srv-a")
		require.True(t, desired.Hold)
		require.Equal(t, order(epoch, 0), desired.Order)
		require.Empty(t, desired.Rights)
		w.nothingToClaim("srv-a")

		w.settle("srv-a", w.report("srv-a", old, counts{line: 1}), w.receipt("srv-a", old.Order, 4, counts{line: 1}))
		w.settle("srv-a", w.report("srv-a", hold, counts{line: 1}), w.receipt("srv-a", old.Order, 4, counts{line: 1}))
		require.Contains(t, w.view("srv-a").Conditions, IsAdopting, "the receipt is of an older epoch")
		settled := w.settle("srv-a", w.report("srv-a", hold, counts{line: 1}), w.receipt("srv-a", hold.Order, 5, counts{line: 1}))
		require.Equal(t, Adopts, settled.Verdict)
		require.NotContains(t, w.view("srv-a").Conditions, IsAdopting)
		desired, _ = w.claim("srv-a")
		require.False(t, desired.Hold)
		require.Equal(t, order(epoch, 1), desired.Order)
		require.Equal(t, 1, desired.Rights[0].Count)
	})
}

// F9, silent: a snapshot of the coordinator's machine is put back, and generations are used again with other content.
func TestF9ASilentRollbackIsNoticed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		for name, ahead := range map[string]func(Document) Document{
			"other bytes at our generation": func(d Document) Document { d.Digest = other; return d },
			"a generation to come":          func(d Document) Document { d.Generation++; d.Order.Generation++; d.Digest = other; return d },
			"an epoch to come":              func(d Document) Document { d.Order.Epoch += 1000; d.Digest = other; return d },
		} {
			w.clear()
			w.ready("srv-a", "srv-b")
			line := w.buy("ENT-1", line{part: snmp, seats: 1})[0]
			_, err := w.assign(snmp, 1, "srv-a")
			require.NoError(t, err)
			w.activate("srv-a")
			document := w.prove("srv-a", 4)
			seen := ahead(document)
			settled := w.settle("srv-a", w.report("srv-a", seen, counts{line: 1}), nil)
			require.Equal(t, Ahead, settled.Verdict, name)
			require.Greater(t, settled.Epoch, seen.Order.Epoch)
			for _, server := range []string{"srv-a", "srv-b"} {
				require.Contains(t, w.view(server).Conditions, IsAdopting)
				require.Equal(t, settled.Epoch, w.view(server).Order.Epoch)
			}
			require.Equal(t, 1, w.held(line))
		}
	})
}

// F12: two lines; one goes, the driver can only return all. The proof "the other one is 0 too" does not free the other: its
// agent asks for it again.
func TestF12WhatIsReturnedAlongStaysHeld(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b")
		refs := w.buy("ENT-1", line{part: snmp, seats: 1}, line{part: essential, seats: 1})
		for _, part := range []string{snmp, essential} {
			_, err := w.assign(part, 1, "srv-a")
			require.NoError(t, err)
		}
		w.activate("srv-a")
		w.prove("srv-a", 4)
		_, err := w.unassign(snmp, 0, "srv-a")
		require.NoError(t, err)
		_, document := w.claim("srv-a")

		all := exchangeAt(protocol.StepConfirmed, document.Order, "", right(refs[0], 0, ""), right(refs[1], 0, ""))
		w.settle("srv-a", w.report("srv-a", document, counts{}, all), w.receipt("srv-a", document.Order, 6, counts{}))
		require.Equal(t, Freed, w.phase("srv-a", refs[0]))
		require.Equal(t, Counts{Want: 1, Ordered: 1, Exposed: 1}, w.view("srv-a").at(refs[1]).Counts)
		require.Equal(t, Ordered, w.phase("srv-a", refs[1]))

		// It asks for the other one again; the operator unassigns that meanwhile.
		again := w.report("srv-a", document, counts{}, exchangeAt(protocol.StepMade, document.Order, "", right(refs[1], 1, "")))
		w.settle("srv-a", again, w.receipt("srv-a", document.Order, 6, counts{}))
		require.Equal(t, Requested, w.phase("srv-a", refs[1]))
		_, err = w.unassign(essential, 0, "srv-a")
		require.NoError(t, err)
		require.Equal(t, 1, w.held(refs[1]), "it may have been committed")
		_, err = w.assign(essential, 1, "srv-b")
		require.ErrorIs(t, err, ErrRefused)
	})
}
