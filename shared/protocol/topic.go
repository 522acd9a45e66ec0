package protocol

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Root is the default first part of every topic; configuration may put a prefix before it.
const Root = "licet/v1"

// Kind is the last part of a topic and says which document it carries.
type Kind string

// Every kind there is.
const (
	KindPresence  Kind = "presence"  // agent -> coordinator, QoS 1, retained
	KindHeartbeat Kind = "heartbeat" // agent -> coordinator, QoS 0
	KindReported  Kind = "reported"  // agent -> coordinator, QoS 1, per server
	KindSettings  Kind = "settings"  // coordinator -> agent, QoS 1, retained
	KindDesired   Kind = "desired"   // coordinator -> agent, QoS 1, retained, per server
	KindAsk       Kind = "ask"       // coordinator -> agent, QoS 1, never retained
)

// PerServer reports whether topics of this kind name a server.
func (k Kind) PerServer() bool { return k == KindReported || k == KindDesired }

// FromAgent reports whether an agent publishes this kind; the coordinator publishes the others.
func (k Kind) FromAgent() bool {
	return k == KindPresence || k == KindHeartbeat || k == KindReported
}

// Topic is a topic of the protocol, taken apart.
type Topic struct {
	Agent  string
	Server string // only if Kind.PerServer
	Kind   Kind
}

// String is the topic under Root.
func (t Topic) String() string {
	if t.Kind.PerServer() {
		return Root + "/a/" + t.Agent + "/s/" + t.Server + "/" + string(t.Kind)
	}
	return Root + "/a/" + t.Agent + "/" + string(t.Kind)
}

var errTopic = errors.New("not a topic of the protocol")

// ParseTopic takes a topic apart; a name that is not an identifier makes it an error.
func ParseTopic(text string) (Topic, error) {
	rest, ok := strings.CutPrefix(text, Root+"/a/")
	if !ok {
		return Topic{}, errTopic
	}
	parts := strings.Split(rest, "/")
	var t Topic
	switch {
	case len(parts) == 2:
		t = Topic{Agent: parts[0], Kind: Kind(parts[1])}
	case len(parts) == 4 && parts[1] == "s":
		t = Topic{Agent: parts[0], Server: parts[2], Kind: Kind(parts[3])}
	default:
		return Topic{}, errTopic
	}
	known := t.Kind.FromAgent() || t.Kind == KindSettings || t.Kind == KindDesired || t.Kind == KindAsk
	if !known || t.Kind.PerServer() != (t.Server != "") || !Identifier(t.Agent) || t.Server != "" && !Identifier(t.Server) {
		return Topic{}, errTopic
	}
	return t, nil
}

// MayPublish reports whether an agent may publish to the topic: the whole access rule of an agent, with MaySubscribe.
func MayPublish(agent, topic string) bool {
	t, err := ParseTopic(topic)
	return err == nil && t.Agent == agent && t.Kind.FromAgent()
}

// Filters are what an agent subscribes to.
func Filters(agent string) []string {
	return []string{
		Topic{Agent: agent, Kind: KindSettings}.String(),
		Topic{Agent: agent, Kind: KindAsk}.String(),
		Topic{Agent: agent, Server: "+", Kind: KindDesired}.String(),
	}
}

// MaySubscribe reports whether an agent may subscribe to the filter, and whether it may be sent a message on it.
func MaySubscribe(agent, filter string) bool {
	if slices.Contains(Filters(agent), filter) {
		return true
	}
	t, err := ParseTopic(filter)
	return err == nil && t.Agent == agent && !t.Kind.FromAgent()
}

// MaxIdentifier is the longest identifier, in bytes.
const MaxIdentifier = 36

// Identifier reports whether the text is one to 36 of a-z, 0-9 and hyphen.
func Identifier(text string) bool {
	if text == "" || len(text) > MaxIdentifier {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// ServerName is what a server is called in topics: its host ID in lower case, every other character replaced by a hyphen.
// If that changed anything but case, or is too long, it is cut and a hash of the original appended, so that two host IDs
// never share a name unless they differ in the case of A to Z alone.
func ServerName(hostID string) string {
	changed := false
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-':
			return r
		case r >= 'A' && r <= 'Z': // not unicode.ToLower: it makes a plain k of the Kelvin sign
			return r - 'A' + 'a'
		}
		changed = true
		return '-'
	}, hostID)
	if !changed && Identifier(name) {
		return name
	}
	sum := sha256.Sum256([]byte(hostID))
	suffix := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
	return fmt.Sprintf("%s-%s", name[:min(len(name), MaxIdentifier-len(suffix)-1)], suffix)
}
