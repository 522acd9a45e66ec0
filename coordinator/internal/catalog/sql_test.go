package catalog

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

func importCatalog(t *testing.T, d *db.DB, c Catalog) (did Summary) {
	t.Helper()
	require.NoError(t, d.Update(t.Context(), func(tx *db.Tx) (err error) {
		did, err = Import(tx, audit.Operator, c)
		return err
	}))
	return did
}

func TestImport(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		catalog := sample(t)
		require.Equal(t, Summary{Added: 6}, importCatalog(t, d, catalog))
		view := func(fn func(tx *db.Tx)) {
			require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error { fn(tx); return nil }))
		}
		view(func(tx *db.Tx) {
			product, found, err := Get(tx, "SAMPLE-DEV-100")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, catalog.Products[2], product)
			_, found, err = Get(tx, "SAMPLE-OTHER")
			require.NoError(t, err)
			require.False(t, found)

			products, err := List(tx)
			require.NoError(t, err)
			require.ElementsMatch(t, catalog.Products, products)
			require.True(t, slices.IsSortedFunc(products, func(a, b Product) int { return compare(a.PartNumber, b.PartNumber) }))
		})

		// The same again is nothing at all: no row, no entry, no change.
		before := dbtest.Dump(t, d)
		require.Equal(t, Summary{Unchanged: 6}, importCatalog(t, d, catalog))
		require.Equal(t, before, dbtest.Dump(t, d))

		// What is not named stays.
		changed := Catalog{Products: slices.Clone(catalog.Products[:2])}
		changed.Products[0].Name = "BMS Server Advanced, renamed"
		newest, err := d.Newest(t.Context())
		require.NoError(t, err)
		require.Equal(t, Summary{Changed: 1, Unchanged: 1}, importCatalog(t, d, changed))
		changes, err := d.Changes(t.Context(), newest, 10)
		require.NoError(t, err)
		require.Equal(t, []string{Kind, audit.Kind}, []string{changes[0].Kind, changes[1].Kind})
		require.Equal(t, "SAMPLE-TIER-ADV", changes[0].Key)
		view(func(tx *db.Tx) {
			products, err := List(tx)
			require.NoError(t, err)
			require.Len(t, products, 6)
			entries, err := audit.List(tx, 0, 10)
			require.NoError(t, err)
			require.Len(t, entries, 2)
			require.Equal(t, "import", entries[1].Action)
			require.Equal(t, "catalog", entries[1].Subject)
			require.Equal(t, map[string]any{"added": []any{}, "changed": []any{"SAMPLE-TIER-ADV"}}, entries[1].Detail)
		})
	})
}

// TestImportOfMany proves that the largest catalog fits into one transaction and its audit entry.
func TestImportOfMany(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var large Catalog
		for i := range 2_000 {
			large.Products = append(large.Products, Product{PartNumber: fmt.Sprintf("SAMPLE-%d-%0190d", i, i), Name: "Product"})
		}
		require.Equal(t, Summary{Added: 2_000}, importCatalog(t, d, large))
	})
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}
