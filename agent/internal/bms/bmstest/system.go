package bmstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Options say what New simulates.
type Options struct {
	Dir       string           // trusted stores, keys and certificates; made if it does not exist
	Servers   []Server         // exactly one without a parent: the top server
	Keys      signed.KeySet    // of the activation server; without one every response is refused
	Now       func() time.Time // nil means time.Now
	ReturnAll bool             // licenses of a server can only be returned all at once
	Logger    zerolog.Logger   // of failures behind the API; the zero value logs nothing
	Disk      durable.FS       // of the trusted stores, for tests that let it fail; nil means the real one
}

// System is a simulated system. It is safe for concurrent use; calls for one host happen one after the other.
type System struct {
	options Options
	servers []*server // the top server first; never changes after New
	byHost  map[bms.HostID]*server

	mu       sync.Mutex    // guards all below
	keys     signed.KeySet // of the activation server; replaced, never changed
	endpoint *endpoint     // nil unless Start was called
}

var (
	_ bms.System    = (*System)(nil)
	_ bms.Explainer = (*System)(nil)
)

// New opens the system in the folder, or makes it there.
func New(o Options) (*System, error) {
	if o.Dir == "" {
		return nil, errors.New("simulate a system: no folder given")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ordered, err := arrange(o.Servers)
	if err != nil {
		return nil, fmt.Errorf("simulate a system: %w", err)
	}
	s := &System{options: o, keys: o.Keys, byHost: make(map[bms.HostID]*server, len(ordered))}
	for _, spec := range ordered {
		v, err := openServer(o, spec)
		if err != nil {
			return nil, fmt.Errorf("simulate server %s: %w", spec.HostID, err)
		}
		s.servers = append(s.servers, v)
		s.byHost[spec.HostID] = v
	}
	return s, nil
}

// Top is the host ID of the top server.
func (s *System) Top() bms.HostID { return s.top().spec.HostID }

// Hosts are the host IDs of all servers, the top server's first.
func (s *System) Hosts() []bms.HostID {
	hosts := make([]bms.HostID, len(s.servers))
	for i, v := range s.servers {
		hosts[i] = v.spec.HostID
	}
	return hosts
}

func (s *System) trusted() signed.KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

func (s *System) top() *server { return s.servers[0] }

// Servers implements bms.System.
func (s *System) Servers(ctx context.Context) ([]bms.Facts, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read the facts: %w", err)
	}
	if why := s.top().silence(); why != "" {
		return nil, &noAnswer{host: s.Top(), why: why}
	}
	held := make([]holding, len(s.servers))
	facts := make([]bms.Facts, len(s.servers))
	for i, v := range s.servers {
		now, state := v.snapshot(s.options.Now())
		held[i] = holding{host: v.spec.HostID, now: now, needs: v.needs(), grants: state.Licenses}
		facts[i] = v.facts(now, state, !s.options.ReturnAll)
	}
	for i, information := range licenseInformation(held) {
		facts[i].Licenses, facts[i].Violations = information.licenses, information.violations
		if why := s.servers[i].silence(); why != "" {
			facts[i] = bms.Facts{HostID: facts[i].HostID, Parent: facts[i].Parent, Unanswered: why}
		}
	}
	return facts, nil
}

// CreateRequest implements bms.System.
func (s *System) CreateRequest(ctx context.Context, host bms.HostID, order exchange.Order, want []exchange.Right) ([]byte, error) {
	return s.call(ctx, host, CallRequest, func(v *server, now time.Time) ([]byte, error) {
		return v.createRequest(now, order, want, s.options.ReturnAll)
	})
}

// CreateReport implements bms.System.
func (s *System) CreateReport(ctx context.Context, host bms.HostID, order exchange.Order) ([]byte, error) {
	return s.call(ctx, host, CallReport, func(v *server, now time.Time) ([]byte, error) {
		return v.createReport(now, order)
	})
}

// ApplyResponse implements bms.System.
func (s *System) ApplyResponse(ctx context.Context, host bms.HostID, response []byte) ([]byte, error) {
	return s.call(ctx, host, CallResponse, func(v *server, now time.Time) ([]byte, error) {
		return v.applyResponse(now, s.trusted(), response)
	})
}

// Refused implements bms.Explainer.
func (s *System) Refused(ctx context.Context, host bms.HostID, response []byte) ([]exchange.RefusedRight, error) {
	var refused []exchange.RefusedRight
	_, err := s.call(ctx, host, CallExplain, func(v *server, _ time.Time) (_ []byte, err error) {
		refused, err = v.refused(s.trusted(), response)
		return nil, err
	})
	return refused, err
}

// call finds the server, lets ordered faults strike, and runs do with the server's lock held and by the server's clock.
func (s *System) call(ctx context.Context, host bms.HostID, kind Call, do func(*server, time.Time) ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", kind, host, err)
	}
	if why := s.top().silence(); why != "" {
		return nil, &noAnswer{host: s.Top(), why: why}
	}
	v, err := s.find(host)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unanswered != "" {
		return nil, &noAnswer{host: host, why: v.unanswered}
	}
	if code, struck := v.strike(kind); struck {
		return nil, refuse(code, "ordered by a test")
	}
	if err := v.settle(); err != nil {
		return nil, err
	}
	return do(v, s.options.Now().Add(v.shift))
}

func (s *System) find(host bms.HostID) (*server, error) {
	if v, known := s.byHost[host]; known {
		return v, nil
	}
	return nil, fmt.Errorf("%s: %w", host, bms.ErrNoSuchServer)
}

// noAnswer is what a caller sees of a server that does not answer: not a refusal.
type noAnswer struct {
	host bms.HostID
	why  string
}

func (e *noAnswer) Error() string { return fmt.Sprintf("%s does not answer: %s", e.host, e.why) }

// arrange checks the servers, fills in what was left out and puts the top server first.
func arrange(servers []Server) ([]Server, error) {
	servers = slices.Clone(servers)
	if err := check(servers); err != nil {
		return nil, err
	}
	for i := range servers {
		servers[i].complete()
	}
	slices.SortStableFunc(servers, func(a, b Server) int {
		switch {
		case a.Parent == "" && b.Parent != "":
			return -1
		case a.Parent != "" && b.Parent == "":
			return 1
		}
		return 0
	})
	return servers, nil
}
