package db_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
)

func TestTimes(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))
	require.Equal(t, time.Date(2026, 3, 1, 11, 0, 0, 123_000_000, time.UTC), db.Time(db.Millis(at)))
}

func TestUpdateAndView(t *testing.T) {
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(t.TempDir(), "licet.db"), db.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	require.NoError(t, d.Update(ctx, func(tx *db.Tx) error { return tx.Changed("server", "srv-1") }))
	wrong := errors.New("wrong")
	require.ErrorIs(t, d.Update(ctx, func(tx *db.Tx) error {
		require.NoError(t, tx.Changed("server", "srv-2"))
		return wrong
	}), wrong)
	changes, err := d.Changes(ctx, 0, 10)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, "srv-1", changes[0].Key)
}
