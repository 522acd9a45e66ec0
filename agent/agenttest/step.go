package agenttest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// Carrier takes messages to an activation server; *exchange.Client and exchangetest.Direct are carriers.
type Carrier interface {
	Post(ctx context.Context, message []byte) ([]byte, error)
	Fetch(ctx context.Context, message exchange.Digest) ([]byte, error)
}

// Options of a Stepper.
type Options struct {
	Dir     string  // the journal's folder; empty: a folder of the test
	System  *System // required
	Host    string  // empty: HOST-1
	Agent   string  // that a desired document must name; empty: any
	Server  string  // empty: protocol.ServerName of Host
	Carrier Carrier // the direct one; nil: none
	Keys    func() signed.KeySet
	Logger  zerolog.Logger
	Files   durable.FS // of the journal; nil: the real ones, which Image and RestoreImage need
}

// Stepper is the activation of one server with its journal, one step at a time: nothing happens between two calls, no pause
// is waited for, and the facts are read before each step. It is not for concurrent use.
type Stepper struct {
	t           testing.TB
	o           Options
	machine     *activation.Machine
	retained    []byte // what the broker has for the agent
	connected   bool
	refetch     bool
	deadly      string // the crash point to die at
	deadlyVisit int    // of all visits to crash points, the one to die at; -1: none
	visited     []string
	seen        bms.Facts // as the server last answered
	idle        bool      // of the last step
	err         error     // of the last step
}

// NewStepper opens the journal in the folder.
func NewStepper(t testing.TB, o Options) *Stepper {
	t.Helper()
	require.NotNil(t, o.System, "Options.System")
	require.NotNil(t, o.Keys, "Options.Keys")
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Host == "" {
		o.Host = "HOST-1"
	}
	s := &Stepper{t: t, o: o, deadlyVisit: -1}
	s.open()
	return s
}

func (s *Stepper) open() {
	s.t.Helper()
	machine, err := activation.Open(activation.Options{
		Dir: s.o.Dir, System: s.o.System.system, Host: bms.HostID(s.o.Host), Agent: s.o.Agent, Server: s.o.Server,
		Keys: s.o.Keys, Logger: s.o.Logger, Files: s.o.Files, Point: s.point,
		Refetch: func() { s.refetch = true },
		Carriers: func() map[string]activation.Carrier {
			if s.o.Carrier == nil {
				return nil
			}
			return map[string]activation.Carrier{protocol.CarrierDirect: s.o.Carrier}
		},
	})
	require.NoError(s.t, err)
	s.machine, s.connected, s.refetch = machine, false, false
}

// died is what a crash point panics with.
type died struct{ point string }

func (s *Stepper) point(name string) {
	visit := len(s.visited)
	s.visited = append(s.visited, name)
	if s.deadly == name || s.deadlyVisit == visit {
		panic(died{name})
	}
}

// mortal runs do, which may die at the point of CrashAt: then the machine is opened anew from the disk.
func (s *Stepper) mortal(do func() string) (did string) {
	s.t.Helper()
	defer func() {
		switch death := recover().(type) {
		case nil:
		case died:
			s.deadly, s.deadlyVisit = "", -1
			s.open()
			did = "crashed at " + death.point
		default:
			panic(death)
		}
	}()
	return do()
}

// Deliver is the broker delivering the desired document, which it retains from now on. An error of a document that is not
// taken is that of the machine.
func (s *Stepper) Deliver(payload []byte) error {
	s.t.Helper()
	s.retained, s.connected, s.refetch = slices.Clone(payload), true, false
	return s.accept()
}

func (s *Stepper) accept() (err error) {
	s.t.Helper()
	s.mortal(func() string { err = s.machine.Accept(s.retained); return "" })
	return err
}

// Disconnect takes the broker away: what it retains is not known any more.
func (s *Stepper) Disconnect() {
	s.connected = false
	s.machine.Disconnected()
}

// Reconnect is the broker delivering what it retains, if anything.
func (s *Stepper) Reconnect() error {
	s.t.Helper()
	s.connected, s.refetch = true, false
	if len(s.retained) == 0 {
		return nil
	}
	return s.accept()
}

// Counts are the documents that came since the machine was opened.
func (s *Stepper) Counts() activation.Counts { return s.machine.Counts() }

// Step does the one next thing and says what it was. If nothing is to be done it says why.
func (s *Stepper) Step() string {
	s.t.Helper()
	return s.step()
}

// Idle reports whether the last step had nothing to do.
func (s *Stepper) Idle() bool { return s.idle }

func (s *Stepper) step() string {
	s.t.Helper()
	s.idle, s.err = false, nil
	if s.refetch && s.connected {
		err := s.Reconnect()
		require.True(s.t, err == nil || errors.Is(err, activation.ErrStale), "%v", err)
		return "received the retained document again"
	}
	s.machine.FactsChanged(s.facts())
	return s.mortal(func() string {
		outcome, err := s.machine.Step(context.Background())
		s.idle, s.err = outcome.Idle, err
		return outcome.Did
	})
}

// facts are the server's own, or as it last answered.
func (s *Stepper) facts() bms.Facts {
	f, answered := s.o.System.facts(s.o.Host)
	if answered {
		s.seen = f
		return f
	}
	f = s.seen
	f.HostID, f.Unanswered = bms.HostID(s.o.Host), "silent"
	f.Role = cmp.Or(f.Role, protocol.RoleField)
	return f
}

// Err is the error of the last step, if it tried something in vain.
func (s *Stepper) Err() error { return s.err }

// maxSteps is far more than any exchange takes, even one that is begun anew several times.
const maxSteps = 1_000

// StepUntilIdle steps until there is nothing to do, and says what it did; the last says why it is idle. It fails the test if
// that takes for ever.
func (s *Stepper) StepUntilIdle() []string {
	s.t.Helper()
	var all []string
	for range maxSteps {
		all = append(all, s.step())
		if s.idle {
			return all
		}
	}
	s.t.Fatalf("not idle after %d steps; the last: %q, error %v", maxSteps, all[len(all)-12:], s.err)
	return nil
}

// Crash drops the machine and opens it anew from the disk. The broker has to be connected again.
func (s *Stepper) Crash() {
	s.t.Helper()
	s.open()
}

// CrashAt lets the machine die when it next comes to the crash point; the call that ran into it says so.
func (s *Stepper) CrashAt(point string) { s.deadly = point }

// CrashAtVisit lets the machine die at the n-th visit to any crash point, counted from 0 as Visited does.
func (s *Stepper) CrashAtVisit(n int) { s.deadlyVisit = n }

// Visited are the crash points that the machine came to, in order.
func (s *Stepper) Visited() []string { return slices.Clone(s.visited) }

// Report is what the agent would report now.
func (s *Stepper) Report() protocol.Report {
	s.t.Helper()
	r := reportOf(s.facts())
	r.Observed, r.Exchange = s.machine.Observe()
	body, err := json.Marshal(r)
	require.NoError(s.t, err)
	r, err = protocol.DecodeReport(body)
	require.NoError(s.t, err, "a report that the coordinator would refuse")
	return r
}
