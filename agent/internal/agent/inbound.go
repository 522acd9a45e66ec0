package agent

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/shared/protocol"
)

// Why a message is not followed.
var (
	errTopic    = errors.New("not a topic that this agent listens to")
	errAgent    = errors.New("it names another agent")
	errRetained = errors.New("an ask is never retained: it may be from long ago")
	errExpired  = errors.New("it has expired, by this host's clock")
	errServers  = fmt.Errorf("documents for more than %d servers that are not here", maxUnknown)
)

// maxUnknown bounds what is kept for servers that have not shown up yet.
const maxUnknown = 5_000

// handle takes a message of the coordinator. What cannot be followed is counted and changes nothing.
func (a *agent) handle(topic string, payload []byte, retained bool) {
	t, err := protocol.ParseTopic(topic)
	if err != nil || t.Agent != a.o.Name {
		a.refusals.note("topic", errTopic)
		return
	}
	switch t.Kind {
	case protocol.KindSettings:
		err = a.handleSettings(payload)
	case protocol.KindAsk:
		err = a.handleAsk(payload, retained)
	case protocol.KindDesired:
		err = a.handleDesired(t.Server, payload)
	default:
		err = errTopic
	}
	if err != nil {
		a.refusals.note(string(t.Kind), err)
	}
}

func (a *agent) handleSettings(payload []byte) error {
	if len(payload) == 0 {
		return nil // withdrawn: what was set last goes on
	}
	changed, err := a.settings.apply(payload, a.o.Name)
	if err != nil {
		return err
	}
	a.reporter.SetHeartbeat(a.settings.heartbeat())
	if changed {
		a.carriersChanged()
	}
	return nil
}

// handleAsk has every system read and reported. The broker may deliver an ask twice; it is answered once.
func (a *agent) handleAsk(payload []byte, retained bool) error {
	if retained {
		return errRetained
	}
	ask, err := protocol.Decode[protocol.Ask](payload)
	if err != nil {
		return err
	}
	switch {
	case ask.Agent != a.o.Name:
		return errAgent
	case !time.Now().Before(ask.Expires):
		return errExpired
	case !a.asked.first(ask.Nonce):
		return nil
	}
	for _, s := range a.systems {
		s.ask(ask)
	}
	return nil
}

// handleDesired keeps the document of a server that is not here yet: the broker delivers it once per connection.
func (a *agent) handleDesired(name string, payload []byte) error {
	a.mu.Lock()
	s := a.servers[name]
	_, known := a.desired[name]
	full := s == nil && !known && len(a.desired) >= len(a.servers)+maxUnknown
	if !full && len(payload) <= protocol.MaxPayload {
		a.desired[name] = payload
	}
	a.mu.Unlock()
	switch {
	case len(payload) > protocol.MaxPayload:
		return protocol.ErrTooLarge
	case full:
		return errServers
	case s != nil:
		a.deliver(s)
	}
	return nil
}

// nonces remembers the asks that were seen last.
type nonces struct {
	mu   sync.Mutex
	seen []string
}

func (n *nonces) first(nonce string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.seen, nonce) {
		return false
	}
	if n.seen = append(n.seen, nonce); len(n.seen) > 32 {
		n.seen = n.seen[1:]
	}
	return true
}

// refusals counts what is not followed, by kind, and says so once a minute and kind at most: a stranger who can publish
// must not fill a disk.
type refusals struct {
	log zerolog.Logger

	mu    sync.Mutex
	kinds map[string]*refusal
}

type refusal struct {
	total, unsaid int
	said          time.Time
}

func newRefusals(log zerolog.Logger) *refusals {
	return &refusals{log: log, kinds: make(map[string]*refusal)}
}

func (r *refusals) note(kind string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kinds[kind]
	if k == nil {
		k = &refusal{}
		r.kinds[kind] = k
	}
	k.total++
	k.unsaid++
	if now := time.Now(); k.said.IsZero() || now.Sub(k.said) >= time.Minute {
		r.log.Warn().Err(err).Str("kind", kind).Int("count", k.unsaid).Int("total", k.total).
			Msg("a message of the broker is not followed")
		k.said, k.unsaid = now, 0
	}
}
