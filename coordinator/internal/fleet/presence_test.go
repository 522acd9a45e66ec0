package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/protocol"
)

func TestPresence(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	agent := func(state protocol.State, stateAt, seen time.Duration) Agent {
		return Agent{ID: "a", State: state, StateAt: ago(stateAt), Seen: ago(seen)}
	}
	const s, m, h = time.Second, time.Minute, time.Hour
	for name, c := range map[string]struct {
		agent     Agent
		heartbeat time.Duration
		want      Presence
	}{
		"never":                          {Agent{}, m, NeverSeen},
		"just heard":                     {agent(protocol.Online, h, s), m, Connected},
		"one heartbeat late":             {agent(protocol.Online, h, 2*m), m, Connected},
		"two heartbeats missed":          {agent(protocol.Online, h, 2*m+16*s), m, Suspect},
		"three missed":                   {agent(protocol.Online, h, 3*m+s), m, Silent},
		"three missed, slow heartbeat":   {agent(protocol.Online, 9*h, 31*m), 10 * m, Silent},
		"slow heartbeat, still in time":  {agent(protocol.Online, 9*h, 20*m), 10 * m, Connected},
		"fast heartbeat, not 180 s yet":  {agent(protocol.Online, h, 100*s), s, Suspect},
		"its will was just seen":         {agent(protocol.Offline, 14*s, 14*s), m, Suspect},
		"its will was seen a while ago":  {agent(protocol.Offline, 16*s, 16*s), m, Silent},
		"stopped":                        {agent(protocol.Stopping, s, s), m, Stopped},
		"stopped a month ago":            {agent(protocol.Stopping, 720*h, 720*h), m, Stopped},
		"online said again after a will": {agent(protocol.Online, s, s), m, Connected},
	} {
		require.Equal(t, c.want, c.agent.Presence(now, c.heartbeat), name)
	}
}
