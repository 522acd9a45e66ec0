package protocol

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The normative page and the code agree: every channel is a topic of the code, every example is read by it.
func TestAsyncAPIAgreesWithTheCode(t *testing.T) {
	data, err := os.ReadFile("asyncapi.yaml")
	require.NoError(t, err)
	var page struct {
		Channels map[Kind]struct {
			Address string `yaml:"address"`
		} `yaml:"channels"`
		Components struct {
			Messages map[Kind]struct {
				Examples []struct {
					Payload map[string]any `yaml:"payload"`
				} `yaml:"examples"`
			} `yaml:"messages"`
		} `yaml:"components"`
	}
	require.NoError(t, yaml.Unmarshal(data, &page))
	require.Len(t, page.Channels, 6)

	for kind, channel := range page.Channels {
		address := strings.NewReplacer("{agent}", "agent-a", "{server}", "server-s").Replace(channel.Address)
		topic, err := ParseTopic(address)
		require.NoError(t, err, address)
		require.Equal(t, kind, topic.Kind)
		require.Equal(t, address, topic.String())
		if kind == KindDesired {
			continue // no example until it is sealed
		}
		require.NotEmpty(t, page.Components.Messages[kind].Examples, kind)
		for _, example := range page.Components.Messages[kind].Examples {
			payload, err := json.Marshal(example.Payload)
			require.NoError(t, err)
			rewrite(t, kind, payload)
		}
	}
}
