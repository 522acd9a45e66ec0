package audit_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
)

func list(t *testing.T, d *db.DB, after int64, limit int) (rows []audit.Row) {
	t.Helper()
	require.NoError(t, d.View(context.Background(), func(tx *db.Tx) (err error) {
		rows, err = audit.List(tx, after, limit)
		return err
	}))
	return rows
}

func record(d *db.DB, entries ...audit.Entry) error {
	return d.Update(context.Background(), func(tx *db.Tx) error {
		for _, e := range entries {
			if err := audit.Record(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestRecordAndList(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		d := dbtest.Open(t, dsn, db.Options{Now: func() time.Time { return at }})
		require.NoError(t, record(d,
			audit.Entry{Actor: audit.Operator, Action: "assign", Subject: "srv-a", Detail: map[string]any{"count": 2}},
			audit.Entry{Actor: audit.System, Action: "adopt", Subject: "srv-b"},
		))
		rows := list(t, d, 0, 10)
		require.Len(t, rows, 2)
		require.Equal(t, audit.Row{ID: rows[0].ID, At: at, Entry: audit.Entry{
			Actor: "operator", Action: "assign", Subject: "srv-a", Detail: map[string]any{"count": 2.0},
		}}, rows[0])
		require.Empty(t, rows[1].Detail)
		require.Equal(t, rows[:1], list(t, d, 0, 1))
		require.Equal(t, rows[1:], list(t, d, rows[0].ID, 10))
		changes, err := d.Changes(context.Background(), 0, 10)
		require.NoError(t, err)
		require.Len(t, changes, 2)
		require.Equal(t, audit.Kind, changes[1].Kind)
		require.Equal(t, strconv.FormatInt(rows[1].ID, 10), changes[1].Key)
	})
}

func TestNoEntryNoChange(t *testing.T) {
	tooLong := map[string]any{"why": strings.Repeat("x", 65<<10)}
	inStruct := map[string]any{"line": struct{ ID exchange.ActivationID }{"SECRET-0000-1111"}}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		before := dbtest.Dump(t, d)
		for name, bad := range map[string]audit.Entry{
			"no actor":           {Action: "assign", Subject: "srv-a"},
			"no action":          {Actor: audit.Operator, Subject: "srv-a"},
			"no subject":         {Actor: audit.Operator, Action: "assign"},
			"too long":           {Actor: audit.Operator, Action: "assign", Subject: "srv-a", Detail: tooLong},
			"secret in a struct": {Actor: audit.Operator, Action: "assign", Subject: "srv-a", Detail: inStruct},
			"not JSON":           {Actor: audit.Operator, Action: "assign", Subject: "srv-a", Detail: map[string]any{"f": func() {}}},
		} {
			good := audit.Entry{Actor: audit.Operator, Action: "assign", Subject: "srv-a"}
			err := record(d, good, bad)
			require.Error(t, err, name)
			require.NotContains(t, err.Error(), "SECRET-0000-1111")
		}
		require.Equal(t, before, dbtest.Dump(t, d))
	})
}

func TestActivationIDsAreMasked(t *testing.T) {
	const id = exchange.ActivationID("SECRET-0000-1111")
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		require.NoError(t, record(d, audit.Entry{Actor: audit.Operator, Action: "import", Subject: "line-1", Detail: map[string]any{
			"one":    id,
			"list":   []exchange.ActivationID{id},
			"nested": map[string]any{"any": []any{id, nil, 3}, "counts": map[exchange.ActivationID]int{id: 2}},
			"error":  errors.New("refused"),
			"bytes":  []byte("raw"),
		}}))
		require.Equal(t, map[string]any{
			"one":    "****1111",
			"list":   []any{"****1111"},
			"nested": map[string]any{"any": []any{"****1111", nil, 3.0}, "counts": map[string]any{"****1111": 2.0}},
			"error":  "refused",
			"bytes":  "cmF3",
		}, list(t, d, 0, 1)[0].Detail)
		for _, row := range dbtest.Dump(t, d)["audit"] {
			require.NotContains(t, row, "SECRET")
		}
	})
}
