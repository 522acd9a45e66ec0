package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sample(t *testing.T) Catalog {
	t.Helper()
	data, err := os.ReadFile("testdata/catalog.yaml")
	require.NoError(t, err)
	catalog, err := Parse(data)
	require.NoError(t, err)
	return catalog
}

func TestParseSample(t *testing.T) {
	catalog := sample(t)
	require.Len(t, catalog.Products, 6)
	all := ServerTypes()
	require.Equal(t, Product{
		PartNumber: "SAMPLE-TIER-ADV", Name: "BMS Server Advanced",
		Features:  []Feature{{"server.base", 1}, {"server.advanced", 1}},
		AppliesTo: AppliesTo{Types: all, MinVersion: "7.0"}, Placement: PlacementTop, Scope: ScopeSystem,
		ExclusiveIn: ScopeSystem, Excludes: []string{"SAMPLE-TIER-ESS"},
	}, catalog.Products[0])
	require.Equal(t, &Unit{"connected device", 100}, catalog.Products[2].Unit)
	require.Equal(t, Product{
		PartNumber: "SAMPLE-WORKSTATION", Name: "WorkStation client", ManagedBy: ManagedByLicenseAdministrator,
	}, catalog.Products[5])
}

// TestParseRefuses reads testdata/bad: one file for each kind of mistake, and beside it the exact words.
func TestParseRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.Greater(t, len(files), 15)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			words, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".txt")
			require.NoError(t, err)
			catalog, err := Parse(data)
			var problems Problems
			require.ErrorAs(t, err, &problems)
			require.Equal(t, strings.TrimSuffix(string(words), "\n"), err.Error())
			require.Empty(t, catalog)
		})
	}
}
