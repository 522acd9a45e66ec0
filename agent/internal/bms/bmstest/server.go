package bmstest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Server is one simulated server.
type Server struct {
	HostID     bms.HostID
	HostIDType string // FlexNet Operations' deviceIdType; empty means ETHERNET
	Name       string // empty means the host ID
	Type       string // empty means ES for the top server, AS-P for the others
	Version    string // empty means 7.0.2
	Parent     bms.HostID
	Required   map[string]int // feature -> needed, beyond server.base, which every server needs once
}

// server is one server at work.
type server struct {
	spec     Server
	folder   *durable.Folder // of the store; keys and certificates are at the same path, always on the real disk
	identity identity

	mu         sync.Mutex // guards everything below, and the store's file
	state      state      // what is on disk; slices in it are replaced, never changed
	unsettled  bool       // a write failed: state is what can be read, and a power cut may undo it
	shift      time.Duration
	unanswered string
	refusals   map[Call][]exchange.Code
}

func openServer(o Options, spec Server) (*server, error) {
	path := filepath.Join(o.Dir, folderName(spec.HostID))
	real, err := durable.OpenFolder(path, nil)
	if err != nil {
		return nil, err
	}
	identity, err := openIdentity(real, spec.HostID)
	if err != nil {
		return nil, err
	}
	folder, err := durable.OpenFolder(path, o.Disk)
	if err != nil {
		return nil, err
	}
	state, err := readState(folder, spec.HostID)
	if err != nil {
		return nil, err
	}
	return &server{spec: spec, folder: folder, identity: identity, state: state, refusals: make(map[Call][]exchange.Code)}, nil
}

func folderName(host bms.HostID) string { return protocol.ServerName(string(host)) }

// save makes next what the server holds. If that fails, the truth is what the disk says, until settle has written it.
func (v *server) save(now time.Time, next state) error {
	if next.Clock.Before(now) {
		next.Clock = now.UTC()
	}
	err := writeState(v.folder, next)
	if err == nil {
		v.state, v.unsettled = next, false
		return nil
	}
	v.unsettled = true
	if found, errRead := readState(v.folder, v.spec.HostID); errRead == nil {
		v.state = found
	}
	return err
}

// settle makes last what a failed write left, so that nobody is told what a power cut could undo.
func (v *server) settle() error {
	if !v.unsettled {
		return nil
	}
	return v.save(time.Time{}, v.state)
}

// silence is why the server does not answer, or empty.
func (v *server) silence() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unanswered
}

// snapshot is the server's clock and its store, as of now.
func (v *server) snapshot(now time.Time) (time.Time, state) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Add(v.shift), v.state
}

// strike takes the oldest fault that was ordered for this kind of call.
func (v *server) strike(kind Call) (exchange.Code, bool) {
	waiting := v.refusals[kind]
	if len(waiting) == 0 {
		return "", false
	}
	v.refusals[kind] = waiting[1:]
	return waiting[0], true
}

func (v *server) needs() map[string]int {
	needs := map[string]int{FeatureBase: 1}
	maps.Copy(needs, v.spec.Required)
	return needs
}

// facts are the server's facts without its License Information.
func (v *server) facts(now time.Time, held state, partial bool) bms.Facts {
	role := protocol.RoleField
	if v.spec.Parent == "" {
		role = protocol.RoleTop
	}
	rights := make([]bms.HeldRight, len(held.Rights))
	for i, right := range held.Rights {
		rights[i] = bms.HeldRight{ActivationID: exchange.ActivationID(right.ActivationID), Count: right.Count}
	}
	return bms.Facts{
		HostID: v.spec.HostID, HostIDType: v.spec.HostIDType, Name: v.spec.Name, Type: v.spec.Type, Version: v.spec.Version,
		Role: role, Parent: v.spec.Parent, PartialReturn: partial, Confirms: true,
		Certificate: v.identity.fingerprint(), Clock: now.UTC(), Rights: rights,
	}
}

// complete fills in what was left out.
func (s *Server) complete() {
	usual := "AS-P"
	if s.Parent == "" {
		usual = "ES"
	}
	s.HostIDType = cmp.Or(s.HostIDType, "ETHERNET")
	s.Name = cmp.Or(s.Name, string(s.HostID))
	s.Type = cmp.Or(s.Type, usual)
	s.Version = cmp.Or(s.Version, "7.0.2")
	s.Required = maps.Clone(s.Required)
}

// check names everything that keeps the servers from being one system.
func check(servers []Server) error {
	var problems []error
	tops, parents := 0, make(map[bms.HostID]bms.HostID, len(servers))
	folders := make(map[string]bms.HostID, len(servers))
	for _, s := range servers {
		if s.Parent == "" {
			tops++
		}
		if err := checkServer(s); err != nil {
			problems = append(problems, fmt.Errorf("server %.64q: %w", s.HostID, err))
			continue
		}
		folder := folderName(s.HostID)
		if other, taken := folders[folder]; taken {
			problems = append(problems, fmt.Errorf("server %s: its host ID is that of %s but for case", s.HostID, other))
		}
		folders[folder], parents[s.HostID] = s.HostID, s.Parent
	}
	if tops != 1 {
		problems = append(problems, fmt.Errorf("%d servers without a parent: a system has exactly one top server", tops))
	}
	for _, s := range servers {
		if _, known := parents[s.Parent]; s.Parent != "" && !known {
			problems = append(problems, fmt.Errorf("server %s: its parent %.64q is not in the system", s.HostID, s.Parent))
		} else if circular(parents, s.HostID) {
			problems = append(problems, fmt.Errorf("server %s: it is below itself", s.HostID))
		}
	}
	return errors.Join(problems...)
}

func checkServer(s Server) error {
	host := string(s.HostID)
	switch {
	case host == "" || len(host) > 255 || strings.Trim(host, ".") == "" || strings.TrimSpace(host) != host:
		return errors.New("a host ID has 1 to 255 bytes, not dots alone, and no space around it")
	case strings.ContainsFunc(host, func(r rune) bool { return !unicode.IsGraphic(r) || r > unicode.MaxASCII }):
		return errors.New("a host ID is printable ASCII")
	}
	for _, feature := range slices.Sorted(maps.Keys(s.Required)) {
		if n := s.Required[feature]; feature == "" || n < 0 || n > exchange.MaxCount {
			return fmt.Errorf("it cannot require %d of %.64q", n, feature)
		}
	}
	return nil
}

// circular reports whether the way up from host never ends.
func circular(parents map[bms.HostID]bms.HostID, host bms.HostID) bool {
	for steps := 0; host != ""; steps++ {
		if steps > len(parents) {
			return true
		}
		host = parents[host]
	}
	return false
}
