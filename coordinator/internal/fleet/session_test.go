package fleet

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/shared/protocol"
)

func at(boot string, connection, sequence int64) protocol.Session {
	return protocol.Session{Boot: boot, Connection: connection, Sequence: sequence}
}

func TestSessionRule(t *testing.T) {
	heard := conversation{current: at("b", 2, 5), retired: []protocol.Session{at("a", 3, 9)}}
	for name, c := range map[string]struct {
		from   conversation
		say    protocol.Session
		online bool
		want   error
		then   conversation
	}{
		"first words are online":         {conversation{}, at("a", 1, 1), true, nil, conversation{current: at("a", 1, 1)}},
		"first words are something else": {conversation{}, at("a", 1, 1), false, ErrUnknownBoot, conversation{}},
		"a later sequence":               {heard, at("b", 2, 6), false, nil, conversation{at("b", 2, 6), heard.retired, false}},
		"a later connection":             {heard, at("b", 3, 1), false, nil, conversation{at("b", 3, 1), heard.retired, false}},
		"a will after everything else":   {heard, at("b", 2, protocol.LastSequence), false, nil, conversation{at("b", 2, protocol.LastSequence), heard.retired, false}},
		"the same again":                 {heard, at("b", 2, 5), true, ErrStale, heard},
		"an earlier sequence":            {heard, at("b", 2, 4), false, ErrStale, heard},
		"an earlier connection":          {heard, at("b", 1, 99), true, ErrStale, heard},
		"a new process":                  {heard, at("c", 1, 1), true, nil, conversation{at("c", 1, 1), []protocol.Session{at("a", 3, 9), at("b", 2, 5)}, false}},
		"a stranger's report":            {heard, at("c", 1, 1), false, ErrUnknownBoot, heard},
		"a retired process's report":     {heard, at("a", 4, 1), false, ErrRetiredBoot, heard},
		"a retired process's will":       {heard, at("a", 3, protocol.LastSequence), false, ErrRetiredBoot, heard},
		"a retired process's late word":  {heard, at("a", 3, 10), true, ErrRetiredBoot, heard},
		"a retired process comes back":   {heard, at("a", 4, 1), true, ErrRetiredBoot, conversation{heard.current, heard.retired, true}},
	} {
		t.Run(name, func(t *testing.T) {
			then, err := c.from.hear(c.say, c.online)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.then, then)
		})
	}
}

// Whatever comes in whatever order: what is taken of one boot only grows, a boot that was retired is never current again
// while it is remembered, and at most eight are.
func TestSessionProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c conversation
		newest := map[string]protocol.Session{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			s := at(fmt.Sprintf("boot-%d", rapid.IntRange(0, 11).Draw(t, "boot")),
				int64(rapid.IntRange(1, 4).Draw(t, "connection")), int64(rapid.IntRange(1, 6).Draw(t, "sequence")))
			before := c
			then, err := c.hear(s, rapid.Bool().Draw(t, "online"))
			c = then
			if err != nil {
				require.Equal(t, before.current, c.current)
				require.Equal(t, before.retired, c.retired)
				continue
			}
			require.Equal(t, s, c.current)
			for _, old := range before.retired {
				require.NotEqual(t, old.Boot, s.Boot)
			}
			if before.current.Boot == s.Boot {
				require.True(t, s.After(newest[s.Boot]))
			}
			newest[s.Boot] = s
			require.LessOrEqual(t, len(c.retired), maxRetired)
		}
	})
}

// TestSessionExhaustive says every four things that two processes can say over two connections, and compares with the rule
// as the protocol words it, over all that was taken so far.
func TestSessionExhaustive(t *testing.T) {
	type word struct {
		session protocol.Session
		online  bool
	}
	var words []word
	for _, boot := range []string{"a", "b"} {
		for connection := range int64(2) {
			for sequence := range int64(2) {
				words = append(words, word{at(boot, connection, sequence), true}, word{at(boot, connection, sequence), false})
			}
		}
	}
	said := 0
	var say func(c conversation, taken []protocol.Session, clone bool, left int)
	say = func(c conversation, taken []protocol.Session, clone bool, left int) {
		if left == 0 {
			return
		}
		for _, w := range words {
			var last *protocol.Session // of the same process
			for i := range taken {
				if taken[i].Boot == w.session.Boot {
					last = &taken[i]
				}
			}
			var want error
			suspect := clone
			switch {
			case last == nil && !w.online:
				want = ErrUnknownBoot
			case last != nil && taken[len(taken)-1].Boot != w.session.Boot:
				want = ErrRetiredBoot
				suspect = clone || w.online && w.session.Connection > last.Connection
			case last != nil && !w.session.After(*last):
				want = ErrStale
			}
			then, err := c.hear(w.session, w.online)
			if want == nil && err != nil || !errors.Is(err, want) || then.clone != suspect {
				t.Fatalf("after %v: %v: got %v, clone %v; want %v, %v", taken, w, err, then.clone, want, suspect)
			}
			said++
			next := taken
			if want == nil {
				next = append(slices.Clone(taken), w.session)
			}
			say(then, next, suspect, left-1)
		}
	}
	say(conversation{}, nil, false, 4)
	require.Equal(t, 16+16*16+16*16*16+16*16*16*16, said)
}
