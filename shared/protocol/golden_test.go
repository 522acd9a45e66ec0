package protocol

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Golden files are only added, never edited: an agent in the field keeps speaking as it did. There is none for desired
// until it is signed and sealed.
func TestGoldenDocumentsStayReadable(t *testing.T) {
	paths, err := filepath.Glob("testdata/golden/v1/*.json")
	require.NoError(t, err)
	require.Len(t, paths, 5)
	for _, path := range paths {
		kind := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(kind, func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			data = bytes.TrimSpace(data)
			again := rewrite(t, Kind(kind), data)
			require.Equal(t, string(data), string(again), "what this version writes is what it reads")
			require.NotContains(t, string(again), "null")

			// A later version may add fields at every level.
			later := strings.ReplaceAll(string(data), "{", `{"later":{"x":[1]},`)
			later = strings.ReplaceAll(later, `,}`, `}`)
			if kind != string(KindHeartbeat) { // its map of servers has names for keys
				require.JSONEq(t, string(data), string(withoutLater(t, rewrite(t, Kind(kind), []byte(later)))))
			}
		})
	}
}

func rewrite(t *testing.T, kind Kind, data []byte) []byte {
	switch kind {
	case KindPresence:
		return roundTrip[Presence](t, data)
	case KindHeartbeat:
		return roundTrip[Heartbeat](t, data)
	case KindReported:
		document, err := Decode[Reported](data)
		require.NoError(t, err)
		report, err := DecodeReport(document.Report)
		require.NoError(t, err)
		document.Report, err = json.Marshal(report)
		require.NoError(t, err)
		again, err := Encode(document)
		require.NoError(t, err)
		return again
	case KindSettings:
		return roundTrip[Settings](t, data)
	case KindAsk:
		return roundTrip[Ask](t, data)
	}
	require.FailNow(t, "no type for this golden file", kind)
	return nil
}

func roundTrip[T Document](t *testing.T, data []byte) []byte {
	document, err := Decode[T](data)
	require.NoError(t, err)
	again, err := Encode(document)
	require.NoError(t, err)
	return again
}

// withoutLater drops the added fields where a part is kept as raw bytes.
func withoutLater(t *testing.T, data []byte) []byte {
	var tree any
	require.NoError(t, json.Unmarshal(data, &tree))
	var prune func(any)
	prune = func(node any) {
		switch node := node.(type) {
		case map[string]any:
			delete(node, "later")
			for _, child := range node {
				prune(child)
			}
		case []any:
			for _, child := range node {
				prune(child)
			}
		}
	}
	prune(tree)
	pruned, err := json.Marshal(tree)
	require.NoError(t, err)
	return pruned
}
