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
		"its will was just seen":         {agent(protocol.Offline, 15*s, 15*s), m, Connected},
		"it did not come back":           {agent(protocol.Offline, 16*s, 16*s), m, Suspect},
		"its will is three minutes old":  {agent(protocol.Offline, 180*s, 180*s), m, Suspect},
		"and older":                      {agent(protocol.Offline, 181*s, 181*s), m, Silent},
		"the same, slow heartbeat":       {agent(protocol.Offline, 181*s, 181*s), 10 * m, Silent},
		"a word overtook its will":       {agent(protocol.Offline, 181*s, s), m, Silent},
		"stopped":                        {agent(protocol.Stopping, s, s), m, Stopped},
		"stopped a month ago":            {agent(protocol.Stopping, 720*h, 720*h), m, Stopped},
		"online said again after a will": {agent(protocol.Online, s, s), m, Connected},
	} {
		require.Equal(t, c.want, c.agent.Presence(now, c.heartbeat), name)
	}
}

// The longer nothing is heard, the worse it gets: an agent never looks better for having been quiet.
func TestPresenceOnlyGetsWorse(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	rank := map[Presence]int{Connected: 0, Suspect: 1, Silent: 2}
	for _, state := range []protocol.State{protocol.Online, protocol.Offline} {
		for _, heartbeat := range []time.Duration{time.Second, 30 * time.Second, time.Minute, 10 * time.Minute} {
			agent, worst, seen := Agent{ID: "a", State: state, StateAt: now, Seen: now}, 0, map[Presence]bool{}
			for quiet := range 3600 {
				presence := agent.Presence(now.Add(time.Duration(quiet)*time.Second), heartbeat)
				require.GreaterOrEqual(t, rank[presence], worst)
				worst, seen[presence] = rank[presence], true
			}
			require.Len(t, seen, 3, "%s, %s", state, heartbeat)
		}
	}
}
