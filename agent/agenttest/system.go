// Package agenttest has the parts of a real agent for tests of the other side: a simulated system of BMS servers, and the
// activation of one server taken step by step, so that a test decides the order of everything.
package agenttest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// SystemOptions say what NewSystem simulates.
type SystemOptions struct {
	Dir       string           // what the servers must not forget; empty: a folder of the test
	Servers   []Server         // exactly one without a parent; empty: one server, HOST-1
	Keys      signed.KeySet    // of the activation server that the servers trust
	ReturnAll bool             // licenses of a server can only be returned all at once
	Now       func() time.Time // nil: time.Now
}

// Server is one simulated server; all but HostID may be empty.
type Server struct {
	HostID, Type, Version, Name string
	Parent                      string         // host ID; empty for the top server
	Required                    map[string]int // feature -> needed
}

// System is a simulated system. Methods fail the test if the system fails.
type System struct {
	t      testing.TB
	system *bmstest.System
}

// NewSystem opens the system in the folder, or makes it there.
func NewSystem(t testing.TB, o SystemOptions) *System {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if len(o.Servers) == 0 {
		o.Servers = []Server{{HostID: "HOST-1"}}
	}
	servers := make([]bmstest.Server, len(o.Servers))
	for i, s := range o.Servers {
		servers[i] = bmstest.Server{
			HostID: bms.HostID(s.HostID), Type: s.Type, Version: s.Version, Name: s.Name, Parent: bms.HostID(s.Parent), Required: s.Required,
		}
	}
	system, err := bmstest.New(bmstest.Options{Dir: o.Dir, Servers: servers, Keys: o.Keys, ReturnAll: o.ReturnAll, Now: o.Now})
	require.NoError(t, err)
	return &System{t: t, system: system}
}

// Held is what the server's store holds, by activation ID.
func (s *System) Held(host string) map[exchange.ActivationID]int {
	s.t.Helper()
	held := make(map[exchange.ActivationID]int)
	for _, right := range s.store(host).Rights {
		held[right.ActivationID] = right.Count
	}
	return held
}

// Sequence is that of the response which the server applied last.
func (s *System) Sequence(host string) int64 {
	s.t.Helper()
	return s.store(host).Sequence
}

func (s *System) store(host string) bmstest.Store {
	s.t.Helper()
	store, err := s.system.Store(bms.HostID(host))
	require.NoError(s.t, err)
	return store
}

// Tamper changes the count of one right behind everybody's back.
func (s *System) Tamper(host string, id exchange.ActivationID, count int) {
	s.t.Helper()
	require.NoError(s.t, s.system.Tamper(bms.HostID(host), id, count))
}

// RefuseNext makes the server refuse the next response with the code.
func (s *System) RefuseNext(host string, code exchange.Code) {
	s.t.Helper()
	require.NoError(s.t, s.system.RefuseNext(bms.HostID(host), code))
}

// RefuseNextRequest makes the server refuse to write the next request.
func (s *System) RefuseNextRequest(host string, code exchange.Code) {
	s.t.Helper()
	require.NoError(s.t, s.system.RefuseNextCall(bms.HostID(host), bmstest.CallRequest, code))
}

// RefuseExplanation makes the server refuse to say which rights the next response refuses.
func (s *System) RefuseExplanation(host string, code exchange.Code) {
	s.t.Helper()
	require.NoError(s.t, s.system.RefuseNextCall(bms.HostID(host), bmstest.CallExplain, code))
}

// SetUnanswered makes the server silent, for the reason given; an empty reason heals it.
func (s *System) SetUnanswered(host, why string) {
	s.t.Helper()
	require.NoError(s.t, s.system.SetUnanswered(bms.HostID(host), why))
}

// ServerImage is a copy of one server's store, as a virtual machine's snapshot would hold it.
type ServerImage struct{ image bmstest.Image }

// Image takes a copy of the server's store.
func (s *System) Image(host string) ServerImage {
	s.t.Helper()
	image, err := s.system.Image(bms.HostID(host))
	require.NoError(s.t, err)
	return ServerImage{image}
}

// Restore makes the server what it was when the image was taken.
func (s *System) Restore(image ServerImage) {
	s.t.Helper()
	require.NoError(s.t, s.system.Restore(image.image))
}

// facts are the facts of one server; false if it does not answer.
func (s *System) facts(host string) (bms.Facts, bool) {
	all, err := s.system.Servers(context.Background())
	if err != nil {
		return bms.Facts{}, false
	}
	for _, f := range all {
		if f.HostID == bms.HostID(host) {
			return f, f.Unanswered == ""
		}
	}
	return bms.Facts{}, false
}
