package protocol

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var kinds = []Kind{KindPresence, KindHeartbeat, KindReported, KindSettings, KindDesired, KindAsk}

func TestTopicsAreWhatTheyWere(t *testing.T) {
	for kind, want := range map[Kind]string{
		KindPresence:  "licet/v1/a/agent-x/presence",
		KindHeartbeat: "licet/v1/a/agent-x/heartbeat",
		KindReported:  "licet/v1/a/agent-x/s/srv-1/reported",
		KindSettings:  "licet/v1/a/agent-x/settings",
		KindDesired:   "licet/v1/a/agent-x/s/srv-1/desired",
		KindAsk:       "licet/v1/a/agent-x/ask",
	} {
		topic := Topic{Agent: "agent-x", Kind: kind}
		if kind.PerServer() {
			topic.Server = "srv-1"
		}
		require.Equal(t, want, topic.String())
		parsed, err := ParseTopic(want)
		require.NoError(t, err)
		require.Equal(t, topic, parsed)
	}
}

func TestOtherTopicsAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "licet", "licet/v1", "licet/v1/a", "licet/v1/a/", "licet/v1/a/x", "licet/v1/a//presence", "licet/v1/a/x/",
		"licet/v2/a/x/presence", "/licet/v1/a/x/presence", "licet/v1/a/x/presence/", "licet/v1/a/x/desired", "licet/v1/a/x/reported",
		"licet/v1/a/x/s/y/presence", "licet/v1/a/x/s//reported", "licet/v1/a/x/t/y/reported", "licet/v1/a/x/s/y/z/reported",
		"licet/v1/a/X/presence", "licet/v1/a/+/presence", "licet/v1/a/#", "licet/v1/a/x/s/+/desired", "licet/v1/a/x/unknown",
		"licet/v1/a/x\x00/presence", "licet/v1/a/" + strings.Repeat("x", 37) + "/presence", "$SYS/licet/v1/a/x/presence",
	} {
		_, err := ParseTopic(text)
		require.Error(t, err, text)
		require.False(t, MayPublish("x", text), text)
	}
}

// The whole access rule of an agent, spelled out.
func TestAccess(t *testing.T) {
	topic := func(agent string, kind Kind) string {
		if kind.PerServer() {
			return Topic{agent, "srv-1", kind}.String()
		}
		return Topic{Agent: agent, Kind: kind}.String()
	}
	for _, kind := range kinds {
		fromAgent := kind == KindPresence || kind == KindHeartbeat || kind == KindReported
		require.Equal(t, fromAgent, kind.FromAgent())
		require.Equal(t, fromAgent, MayPublish("me", topic("me", kind)), kind)
		require.Equal(t, !fromAgent, MaySubscribe("me", topic("me", kind)), kind)
		require.False(t, MayPublish("me", topic("other", kind)), kind)
		require.False(t, MaySubscribe("me", topic("other", kind)), kind)
	}
	for _, filter := range Filters("me") {
		require.True(t, MaySubscribe("me", filter))
		require.False(t, MaySubscribe("other", filter))
		require.False(t, MayPublish("me", filter))
	}
	for _, filter := range []string{
		"#", "+/#", "licet/#", "licet/v1/a/#", "licet/v1/a/+/settings", "licet/v1/a/me/#", "licet/v1/a/me/+", "licet/v1/a/me/s/#",
		"licet/v1/a/me/s/+/reported", "licet/v1/a/me/s/+/+", "$share/g/licet/v1/a/me/ask", "", "licet/v1/a/me/presence",
	} {
		require.False(t, MaySubscribe("me", filter), filter)
	}
}

func TestServerName(t *testing.T) {
	for hostID, want := range map[string]string{
		"demo-00504e001000":     "demo-00504e001000",
		"DEMO-00504E001000":     "demo-00504e001000",
		"00:50:4e:00:10:00":     "00-50-4e-00-10-00-",
		"a/b":                   "a-b-",
		"a+b":                   "a-b-",
		"\u212a1":               "-1-", // the Kelvin sign, whose lower case is a plain k
		"\xff":                  "--",
		strings.Repeat("x", 37): strings.Repeat("x", 27) + "-",
		"":                      "-",
	} {
		got := ServerName(hostID)
		require.True(t, strings.HasPrefix(got, want), "%q is called %q", hostID, got)
		require.True(t, Identifier(got), got)
		if !strings.HasSuffix(want, "-") {
			require.Equal(t, want, got)
		} else {
			require.Len(t, got, len(want)+8, "a hash follows")
		}
	}
}

func TestServersNeverShareAName(t *testing.T) {
	hostIDs := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-cA-C0-1:/-]{1,5}`), rapid.StringMatching(`[a-b-]{34,40}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := hostIDs.Draw(t, "a"), hostIDs.Draw(t, "b")
		require.True(t, Identifier(ServerName(a)), "%q", a)
		if ServerName(a) == ServerName(b) {
			require.True(t, strings.EqualFold(a, b), "%q and %q", a, b)
		}
	})
}

func TestIdentifier(t *testing.T) {
	for _, good := range []string{"a", "0", "-", "agent-abcdefghijkl", strings.Repeat("z", 36)} {
		require.True(t, Identifier(good), good)
	}
	for _, bad := range []string{"", "A", "a b", "a_b", "a/b", "ä", "a\n", strings.Repeat("z", 37)} {
		require.False(t, Identifier(bad), bad)
	}
}
