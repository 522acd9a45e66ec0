package fleet

import (
	"errors"
	"slices"

	"github.com/licet-project/licet/shared/protocol"
)

// Why something that an agent says is not taken. None of them changes anything.
var (
	ErrStale       = errors.New("it is older than what was heard before")
	ErrRetiredBoot = errors.New("it is from a process that another one took over from")
	ErrUnknownBoot = errors.New("it is from a process that has not said that it is online")
)

// maxRetired is how many processes of one agent are remembered after their successor came online.
const maxRetired = 8

// conversation is what is remembered of an agent's sessions. The zero value is an agent that was never heard.
type conversation struct {
	current protocol.Session   // the newest that was taken
	retired []protocol.Session // the newest of each former process, the latest last
	clone   bool               // a retired process came back: two processes have one identity
}

// hear is the session rule: within a boot only what is later is taken; presence online with an unknown boot opens a
// session and retires the boot before it; nothing of a retired boot is taken, its will included. A retired boot that is
// online over a new connection means that two processes share an identity: that is noted, and the error is ErrRetiredBoot.
func (c conversation) hear(s protocol.Session, online bool) (conversation, error) {
	if s.Boot == c.current.Boot {
		if !s.After(c.current) {
			return c, ErrStale
		}
		c.current = s
		return c, nil
	}
	if at := slices.IndexFunc(c.retired, func(old protocol.Session) bool { return old.Boot == s.Boot }); at >= 0 {
		if online && s.Connection > c.retired[at].Connection {
			c.clone = true
		}
		return c, ErrRetiredBoot
	}
	if !online {
		return c, ErrUnknownBoot
	}
	if c.current.Boot != "" {
		c.retired = append(slices.Clone(c.retired), c.current)
		c.retired = c.retired[max(0, len(c.retired)-maxRetired):]
	}
	c.current = s
	return c, nil
}
