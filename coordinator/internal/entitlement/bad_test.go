package entitlement

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParseRefuses reads testdata/bad: one file for each mistake, and beside it the exact words of the refusal.
func TestParseRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.html")
	require.NoError(t, err)
	require.Greater(t, len(files), 30)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".html"), func(t *testing.T) {
			words, err := os.ReadFile(strings.TrimSuffix(file, ".html") + ".txt")
			require.NoError(t, err)
			f, err := os.Open(file)
			require.NoError(t, err)
			defer func() { require.NoError(t, f.Close()) }()

			certificate, err := Parse(f, Options{})
			var problems Problems
			require.ErrorAs(t, err, &problems)
			require.Equal(t, strings.TrimSuffix(string(words), "\n"), err.Error())
			require.Equal(t, Certificate{}, certificate)
			for _, id := range []string{"DEMO-ACT-900-0001", "DEMO-ACT-900-0002"} {
				require.NotContains(t, err.Error(), id, "an activation ID in full")
			}
		})
	}
}
