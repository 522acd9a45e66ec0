package agent

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

func consumed(s *site) int {
	taken, _ := s.las.Consumed(right)
	return taken
}

func faultDelay(millis int) exchangetest.Fault {
	return exchangetest.Fault{Fault: exchangetest.FaultDelay, Millis: millis}
}

func TestAskIsAnsweredBeforeAnybodyActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		d := s.wish("HOST-1", 1, 2)
		s.pass(5 * time.Second)
		s.take()
		require.NoError(t, s.system.Tamper("HOST-1", right, 1)) // behind everybody's back
		s.ask("nonce-1", time.Minute)
		synctest.Wait()
		got := s.take()
		document, report := got[0].reported(t)
		require.Equal(t, "nonce-1", document.Asked)
		require.Equal(t, 1, report.Rights[0].Count, "what was there when it was asked")

		require.Len(t, got, 2, "and then it was repaired, at once")
		s.requireActivated(newest(t, got)["host-1"], d)
	})
}

func TestAskThatIsWorthNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.run()
		s.pass(5 * time.Second)
		s.take()
		s.ask("late", -time.Second)
		s.broker.Send(s.topic(protocol.KindAsk, ""), []byte(`{"v":1,"agent":"agent-2","nonce":"n","expires":"2099-01-01T00:00:00Z"}`), false)
		s.pass(time.Second)
		require.Empty(t, s.take())
		require.Contains(t, s.logged(), "it has expired")

		s.ask("once", time.Minute)
		s.ask("once", time.Minute) // the broker may deliver twice
		s.ask("other", time.Minute)
		s.pass(time.Second)
		var nonces []string
		for _, d := range s.take() {
			document, _ := d.reported(t)
			nonces = append(nonces, document.Asked)
		}
		slices.Sort(nonces)
		require.Equal(t, []string{"once", "other"}, nonces)

		s.broker.Send(s.topic(protocol.KindAsk, ""), encode(t, protocol.Ask{V: 1, Agent: name, Nonce: "kept", Expires: time.Now().Add(time.Hour)}), true)
		s.pass(time.Minute)
		s.take()
		s.broker.Drop()
		s.pass(time.Minute)
		for _, d := range s.take() {
			require.NotContains(t, string(d.payload), `"asked":"kept"`)
		}
		require.Contains(t, s.logged(), "an ask is never retained")
	})
}

func TestGarbageChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		s.pass(time.Second)
		before := len(s.logged())
		for range 100 {
			s.broker.Send(s.topic(protocol.KindDesired, "host-1"), []byte("{"), false)
			s.broker.Send(s.topic(protocol.KindDesired, "host-1"), bytes.Repeat([]byte("x"), protocol.MaxPayload+1), false)
			s.broker.Send("licet/v1/a/agent-1/s/HOST_1/desired", []byte("{}"), false)
			s.broker.Send(s.topic(protocol.KindSettings, ""), []byte(`{"v":2}`), false)
			s.broker.Send(s.topic(protocol.KindSettings, ""), encode(t, protocol.Settings{V: 1, Agent: "agent-2", HeartbeatSeconds: 1}), false)
			s.broker.Send(s.topic(protocol.KindAsk, ""), []byte("null"), false)
		}
		s.broker.Send(s.topic(protocol.KindSettings, ""),
			encode(t, protocol.Settings{V: 1, Agent: name, HeartbeatSeconds: 60, ActivationServer: &protocol.ActivationServer{URL: "ftp://x", Keys: []byte("{}")}}), false)
		s.broker.Send(s.topic(protocol.KindSettings, ""),
			encode(t, protocol.Settings{V: 1, Agent: name, HeartbeatSeconds: 60, ActivationServer: &protocol.ActivationServer{URL: "https://x", Keys: []byte("{}")}}), false)
		s.pass(10 * time.Second)
		refusals := s.logged()[before:]
		require.Equal(t, 4, strings.Count(refusals, "is not followed"), "once a minute and kind:\n%s", refusals)

		s.pass(time.Minute)
		before = len(s.logged())
		s.broker.Send(s.topic(protocol.KindDesired, "host-1"), []byte("{"), false)
		s.pass(time.Second)
		require.Contains(t, s.logged()[before:], `"count":200,"total":201`)

		d := s.wish("HOST-1", 1, 1)
		s.pass(5 * time.Second)
		s.requireActivated(newest(t, s.take())["host-1"], d)
	})
}

func TestDesiredForAnotherHostUnderThisName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		d := protocol.Desired{
			V: 1, Agent: name, Server: "host-1", Host: "HOST-2", Order: exchange.Order{Epoch: 1, Generation: 1}, Generation: 1,
			Rights:   []protocol.DesiredRight{{Ref: rightRef, Count: 1, ActivationID: right.Reveal()}},
			Carriers: []string{protocol.CarrierDirect},
		}
		s.broker.Send(s.topic(protocol.KindDesired, "host-1"), encode(t, d), true)
		s.pass(time.Minute)
		require.Zero(t, consumed(s))
		require.Contains(t, s.logged(), "for another agent, server or host")
	})
}

func TestHeartbeatFollowsTheSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		settings := s.settings()
		settings.HeartbeatSeconds = 10
		s.broker.Send(s.topic(protocol.KindSettings, ""), encode(t, settings), true)
		stop := s.run()
		s.pass(5 * time.Second)
		s.take()
		s.pass(100 * time.Second)
		require.InDelta(t, 10, len(s.take()), 1)
		stop()
		s.take()
		s.broker.Send(s.topic(protocol.KindSettings, ""), nil, true) // withdrawn: what was set goes on
		s.run()
		s.pass(5 * time.Second)
		s.take()
		s.pass(100 * time.Second)
		require.InDelta(t, 10, len(s.take()), 1, "kept over a restart")
	})
}

func TestTwoSystemsWithOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		clone, err := s.system.Clone(t.TempDir())
		require.NoError(t, err)
		s.options = func(o *Options) { o.Systems = append(o.Systems, System{Name: "copy", Driver: clone}) }
		s.run()
		s.pass(10 * time.Minute)
		require.Equal(t, 1, strings.Count(s.logged(), errTwoSystems.Error()+`","message`), s.logged())
		require.Len(t, newest(t, s.take()), 1)
	})
}

func TestJournalThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, bmstest.Server{HostID: "HOST-1"}, bmstest.Server{HostID: "HOST-2", Parent: "HOST-1"})
		s.sendSettings()
		d := s.wish("HOST-2", 1, 1)
		folder := filepath.Join(s.data, "servers", "host-1")
		require.NoError(t, os.MkdirAll(filepath.Join(folder, "journal.json"), 0o700)) // a folder where a file should be
		s.run()
		s.pass(10 * time.Minute)
		require.Equal(t, 1, strings.Count(s.logged(), "open the activation journal of HOST-1"), "said once")
		s.requireActivated(newest(t, s.take())["host-2"], d)

		require.NoError(t, os.RemoveAll(folder))
		d = s.wish("HOST-1", 1, 1)
		s.pass(2 * time.Minute)
		s.requireActivated(newest(t, s.take())["host-1"], d)
	})
}

func TestDataFolder(t *testing.T) {
	o := func(path string) Options {
		return Options{Name: name, Data: path, Broker: "tcp://127.0.0.1:1", Systems: []System{{Name: "local", Driver: &bmstest.System{}}}}
	}
	path := filepath.Join(t.TempDir(), "new")
	held, err := openData(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	err = Run(t.Context(), o(path))
	require.ErrorIs(t, err, ErrInUse)
	require.EqualError(t, err, "lock the data folder "+path+": another agent uses this folder")
	held.close()
	again, err := openData(path)
	require.NoError(t, err)
	again.close()

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, Run(t.Context(), o(file)), "open the data folder: mkdir "+file)
	require.EqualError(t, Run(t.Context(), o("")), "open the data folder: none is given")
}

func TestOptions(t *testing.T) {
	driver := &bmstest.System{}
	good := Options{Name: name, Data: t.TempDir(), Broker: "tcp://127.0.0.1:1", Systems: []System{{Name: "local", Driver: driver}}}
	for want, change := range map[string]func(*Options){
		`the agent's name "Agent" is not`:            func(o *Options) { o.Name = "Agent" },
		"there is no system":                         func(o *Options) { o.Systems = nil },
		`system "local" has no name of its own`:      func(o *Options) { o.Systems = []System{{"local", driver}, {"local", driver}} },
		`system "x" has no name of its own or no dr`: func(o *Options) { o.Systems = []System{{Name: "x"}} },
		"is not of the form tcp://host:port":         func(o *Options) { o.Broker = "broker" },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, Run(t.Context(), o), want)
	}
}

func TestCauseStaysTheSameWhileTheTroubleDoes(t *testing.T) {
	reset := func(port int) error {
		return &url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Err: os.NewSyscallError("read", syscall.ECONNRESET),
		}}
	}
	for want, err := range map[string]error{
		"read: connection reset by peer":  reset(1),
		"no answer in time":               fmt.Errorf("ask: %w", context.DeadlineExceeded),
		"its name is not known to DNS":    &net.OpError{Op: "dial", Err: &net.DNSError{Name: "x", Server: "127.0.0.1:53"}},
		"write: use of closed connection": &net.OpError{Op: "write", Err: errors.New("use of closed connection")},
		"its certificate has expired or is not yet valid": fmt.Errorf("tls: %w", x509.CertificateInvalidError{
			Cert: &x509.Certificate{NotAfter: time.Now()}, Reason: x509.Expired,
		}),
		"something else": errors.New("something else"),
	} {
		require.Equal(t, want, cause(err))
	}
	require.Equal(t, cause(reset(1)), cause(reset(2)))
	require.Contains(t, cause(fmt.Errorf("x: %w", &exchange.Refusal{Code: exchange.Busy})), "busy")
}

var _ bms.System = (*bmstest.System)(nil)
