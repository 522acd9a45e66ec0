package fleet

import (
	"time"

	"github.com/licet-project/licet/shared/protocol"
)

// Presence is what the coordinator makes of what an agent says and does not say. (Online, semi-online and offline are the
// vendor's licensing modes and mean nothing else on a screen.)
type Presence string

// Every presence.
const (
	Connected Presence = "connected"
	Suspect   Presence = "suspect" // its connection broke and did not come back, or it missed heartbeats: too early to say
	Silent    Presence = "silent"
	Stopped   Presence = "stopped" // a clean end
	NeverSeen Presence = "never seen"
)

const (
	grace       = 15 * time.Second  // a broken connection may come back
	silentAfter = 180 * time.Second // after a broken connection; and never earlier, however short the heartbeat
)

// Agent is a process with an identity, as last heard.
type Agent struct {
	ID             string
	State          protocol.State // its own word, or the broker's when its connection broke
	StateAt        time.Time      // when that was heard
	Seen           time.Time      // when anything was heard
	Version        string
	CloneSuspected bool // two processes use its identity
}

// Presence judges an agent now, given how often it should say that it lives. The zero Agent was never seen.
func (a Agent) Presence(now time.Time, heartbeat time.Duration) Presence {
	quiet, broken := now.Sub(a.Seen), time.Duration(0)
	if a.State == protocol.Offline {
		broken = now.Sub(a.StateAt)
	}
	switch {
	case a.ID == "":
		return NeverSeen
	case a.State == protocol.Stopping:
		return Stopped
	case broken > silentAfter, quiet > max(3*heartbeat, silentAfter):
		return Silent
	case broken > grace, quiet > 2*heartbeat+grace:
		return Suspect
	}
	return Connected
}
