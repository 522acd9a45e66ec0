package dbtest_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

func TestEach(t *testing.T) {
	var engines []string
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		one, two := dbtest.Open(t, dsn, db.Options{}), dbtest.Open(t, dsn, db.Options{})
		engines = append(engines, one.Engine())
		before := dbtest.Dump(t, one)
		require.NotEmpty(t, before["changes_pruned"])
		require.Empty(t, before["changes"])
		require.NoError(t, one.Update(context.Background(), func(tx *db.Tx) error { return tx.Changed("server", "srv-1") }))
		require.NotEqual(t, before, dbtest.Dump(t, two))
		require.Equal(t, before, dbtest.Dump(t, one, "changes"), "without the feed nothing has changed")
	})
	require.Contains(t, engines, "sqlite")
}

func TestDatabasesAreFresh(t *testing.T) {
	for range 2 {
		dbtest.Each(t, func(t *testing.T, d *db.DB) {
			require.Empty(t, dbtest.Dump(t, d)["changes"])
			require.NoError(t, d.Update(context.Background(), func(tx *db.Tx) error { return tx.Changed("server", "srv-1") }))
		})
	}
}
