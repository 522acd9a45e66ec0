package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// decodeYAML reads YAML into the types that JSON would give.
func decodeYAML(t *testing.T, text string) any {
	t.Helper()
	var value any
	require.NoError(t, yaml.Unmarshal([]byte(text), &value))
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	var again any
	require.NoError(t, json.Unmarshal(raw, &again))
	return again
}
