package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/shared/exchange"
)

func (w *world) importIt(c entitlement.Certificate, of string) (Imported, error) {
	w.Helper()
	var imported Imported
	err := w.try(func(tx *db.Tx) (err error) {
		imported, err = ImportEntitlement(tx, audit.Operator, c, of)
		return err
	})
	return imported, err
}

func (w *world) entitlements() []Entitlement {
	w.Helper()
	var all []Entitlement
	require.NoError(w, w.d.View(context.Background(), func(tx *db.Tx) (err error) {
		all, err = Entitlements(tx)
		return err
	}))
	return all
}

func TestImportTheSample(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "entitlement-hq.html"))
	require.NoError(t, err)
	c, err := entitlement.Parse(strings.NewReader(string(file)), entitlement.Options{})
	require.NoError(t, err)
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		imported, err := w.importIt(c, "")
		require.NoError(t, err)
		require.Regexp(t, "^ent-[a-z2-7]{10}$", imported.Ref)
		require.Equal(t, Imported{Ref: imported.Ref, Owner: "Example Facilities AB", Lines: 5, Seats: 437}, imported)
		before := dbtest.Dump(t, d)
		again, err := w.importIt(c, "")
		require.NoError(t, err)
		imported.Unchanged = true
		require.Equal(t, imported, again)
		require.Equal(t, before, dbtest.Dump(t, d), "the same file twice changes nothing")

		all := w.entitlements()
		require.Len(t, all, 1)
		require.Equal(t, "DEMO-ENT-2026-000123", all[0].ID)
		first := all[0].Lines[0]
		require.Regexp(t, "^line-[a-z2-7]{10}$", first.Ref)
		require.Equal(t, "****0001", first.Masked)
		require.Equal(t, []any{"SAMPLE-TIER-ADV", 40, 40, 40}, []any{first.PartNumber, first.Sold, first.Bought, first.Left()})
		require.Equal(t, time.Date(2027, 3, 7, 0, 0, 0, 0, time.UTC), first.Expires, "the last day counts")
		require.True(t, all[0].Lines[1].Expires.IsZero())
	})
}

func TestImportRefusesWhatContradicts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		c := certificate(owner, "ENT-1", line{part: snmp, seats: 5}, line{part: essential, seats: 2, expires: 300 * day})
		imported, err := w.importIt(c, "")
		require.NoError(t, err)
		before := dbtest.Dump(t, d)

		changed := c
		changed.Lines = append([]entitlement.Line(nil), c.Lines...)
		changed.Lines[0].Count = 6
		changed.Lines[1].Expires = nil
		changed.Lines = append(changed.Lines, entitlement.Line{ActivationID: "ENT-1-ACT-9999", PartNumber: advanced, Count: 1})
		changed.Content = exchange.DigestOf([]byte("other"))
		_, err = w.importIt(changed, "")
		var different *DifferentError
		require.ErrorAs(t, err, &different)
		require.ErrorIs(t, err, ErrRefused)
		last := c.Lines[1].Expires.Format(time.DateOnly)
		require.Equal(t, []string{
			"line ****0000: the seat count was 5, is 6",
			"line ****0001: the last day was " + last + ", is never",
			"line ****9999 is new: 1 of SAMPLE-TIER-ADV",
		}, different.Differences)
		require.Equal(t, imported.Ref, different.Ref)

		fewer := c
		fewer.Lines, fewer.Content = c.Lines[:1], changed.Content
		_, err = w.importIt(fewer, "")
		require.ErrorContains(t, err, "line ****0001 is missing")

		_, err = w.importIt(c, stranger)
		require.ErrorContains(t, err, "owner: was Example Facilities AB, is Other Owner AB")

		taken := certificate(owner, "ENT-2", line{part: snmp, seats: 1}, line{part: snmp, seats: 1})
		taken.Lines[1].ActivationID = c.Lines[0].ActivationID
		_, err = w.importIt(taken, "")
		var other *TakenError
		require.ErrorAs(t, err, &other)
		require.Equal(t, []string{"****0000 (in " + imported.Ref + ")"}, other.Lines)

		nobody := certificate("", "ENT-3", line{part: snmp, seats: 1})
		_, err = w.importIt(nobody, "")
		require.ErrorIs(t, err, ErrRefused)
		require.Equal(t, before, dbtest.Dump(t, d))
		_, err = w.importIt(nobody, stranger)
		require.NoError(t, err, "the operator says whose it is")
		for _, text := range []string{different.Error(), other.Error(), fmt.Sprintf("%+v %#v", different, other)} {
			require.NotContains(t, text, "ENT-1", "neither entitlement ID nor activation ID")
		}
	})
}

// What remains is what there is to give: the rest is consumed elsewhere.
func TestImportGivesWhatRemains(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		c := certificate(owner, "ENT-1", line{part: snmp, seats: 5})
		c.Lines[0].Remaining = 1
		_, err := w.importIt(c, "")
		require.NoError(t, err)
		_, err = w.assign(snmp, 2, "srv-a")
		var short *ShortError
		require.ErrorAs(t, err, &short)
		require.Equal(t, 1, short.Left)
	})
}
