package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

// requireRefused parses every file of a folder: one for each kind of mistake, and beside it the exact words.
func requireRefused(t *testing.T, pattern string, least int, parse func(data []byte) error) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), least)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			words, err := os.ReadFile(strings.TrimSuffix(name, filepath.Ext(name)) + ".txt")
			require.NoError(t, err)
			err = parse(data)
			var problems Problems
			require.ErrorAs(t, err, &problems)
			require.Equal(t, strings.TrimSuffix(string(words), "\n"), err.Error())
		})
	}
}

func TestParseSitesRefuses(t *testing.T) {
	requireRefused(t, "testdata/bad-sites/*.yaml", 5, func(data []byte) error {
		sites, err := ParseSites(data)
		require.Empty(t, sites)
		return err
	})
}

func TestParseInventoryRefuses(t *testing.T) {
	requireRefused(t, "testdata/bad-inventory/*.csv", 16, func(data []byte) error {
		inventory, err := ParseInventory(data)
		require.Empty(t, inventory)
		return err
	})
}
