package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// machine is an Activation that says what the test wants. Like a real one it has a lock of its own.
type machine struct {
	mu       sync.Mutex
	observed protocol.Observed
	exchange *protocol.Exchange
}

func (m *machine) Observe() (protocol.Observed, *protocol.Exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.observed, m.exchange
}

// desk is a reporter under test and what its broker got.
type desk struct {
	*Reporter
	t   *testing.T
	log bytes.Buffer

	mu   sync.Mutex
	fail error
	slow time.Duration
	sent []sent
}

type sent struct {
	topic    protocol.Topic
	qos      byte
	retained bool
	payload  []byte
	at       time.Time
}

func (s sent) String() string { return strings.Trim(s.topic.Server+" "+string(s.topic.Kind), " ") }

func (s sent) session(t *testing.T) protocol.Session {
	var document struct{ Session protocol.Session }
	require.NoError(t, json.Unmarshal(s.payload, &document))
	return document.Session
}

func (s sent) reported(t *testing.T) (protocol.Reported, protocol.Report) {
	document, err := protocol.Decode[protocol.Reported](s.payload)
	require.NoError(t, err)
	report, err := protocol.DecodeReport(document.Report)
	require.NoError(t, err)
	return document, report
}

func start(t *testing.T) *desk {
	d := &desk{t: t}
	d.Reporter = New(Options{
		Agent: "agent-1", Version: "0.1.0", Logger: zerolog.New(zerolog.SyncWriter(&d.log)),
		Publish: func(ctx context.Context, topic string, qos byte, retained bool, payload []byte) error {
			d.mu.Lock()
			slow := d.slow
			d.mu.Unlock()
			if slow > 0 {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(slow):
				}
			}
			parsed, err := protocol.ParseTopic(topic)
			if err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.fail != nil {
				return d.fail
			}
			d.sent = append(d.sent, sent{parsed, qos, retained, payload, time.Now()})
			return nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return d
}

// take returns what was sent since the last call, once nothing more happens at this instant.
func (d *desk) take() []sent {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.sent
	d.sent = nil
	return out
}

func (d *desk) kinds() []string {
	kinds := []string{}
	for _, s := range d.take() {
		kinds = append(kinds, s.String())
	}
	return kinds
}

func (d *desk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// tell is facts that are read at this instant.
func (d *desk) tell(f bms.Facts, m *machine) { d.Facts("local", f, m, ProgressOf(m)) }

func (d *desk) connect() { d.Will(); d.Up() }

func facts(host string, used int) bms.Facts {
	return bms.Facts{
		HostID: bms.HostID(host), HostIDType: "ETHERNET", Name: "Server " + host, Type: "ES", Version: "7.0.2", Role: protocol.RoleTop,
		Confirms: true, PartialReturn: true, Clock: time.Now(),
		Licenses: []bms.License{{Feature: "server.base", Required: 1, Used: used, Available: 1, Activated: 1, Source: bms.HostID(host)}},
		Rights:   []bms.HeldRight{{ActivationID: "DEMO-ACT-0001", Count: 1}},
	}
}

func TestSaysEverythingAtEachConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		d.tell(facts("HOST-B", 1), &machine{})
		d.tell(facts("HOST-A", 1), &machine{})
		require.Empty(t, d.take(), "nobody is there")

		d.connect()
		first := d.take()
		require.Equal(t, "[presence host-a reported host-b reported]", fmt.Sprint(first), "presence first")
		presence, err := protocol.Decode[protocol.Presence](first[0].payload)
		require.NoError(t, err)
		require.Equal(t, protocol.Online, presence.State)
		require.Equal(t, "0.1.0", presence.Version)
		require.True(t, first[0].retained)
		require.False(t, first[1].retained, "a report is not retained on purpose")
		require.EqualValues(t, 1, first[1].qos)

		d.Down()
		d.connect()
		second := d.take()
		require.ElementsMatch(t, []string{"presence", "host-a reported", "host-b reported"}, []string{second[0].String(), second[1].String(), second[2].String()})

		var last protocol.Session
		for i, s := range append(first, second...) {
			session := s.session(t)
			if i > 0 {
				require.True(t, session.After(last), "%v after %v", session, last)
			}
			last = session
		}
		require.EqualValues(t, 2, last.Connection)
	})
}

func TestWillComesAfterItsConnectionAndBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		d.tell(facts("HOST-A", 1), &machine{})
		topic, payload := d.Will()
		require.Equal(t, "licet/v1/a/agent-1/presence", topic)
		will, err := protocol.Decode[protocol.Presence](payload)
		require.NoError(t, err)
		require.Equal(t, protocol.Offline, will.State)
		d.Up()
		for _, s := range d.take() {
			require.True(t, will.Session.After(s.session(t)))
		}
		d.Down()
		d.connect()
		require.True(t, d.take()[0].session(t).After(will.Session))
	})
}

func TestReportContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		f := facts("HOST-A", 3)
		expires := time.Date(2027, 3, 6, 0, 0, 0, 0, time.FixedZone("", 7200))
		f.Licenses = append(f.Licenses,
			bms.License{Feature: "connected.devices", Required: 300, Available: 200, Activated: 200, Expires: &expires, Source: "HOST-TOP"})
		f.Rights = append(f.Rights, bms.HeldRight{ActivationID: "DEMO-ACT-0001", Count: 2})
		f.Violations = []string{"z", "connected.devices"}
		f.Parent, f.Certificate = "HOST-TOP", "aa"
		m := &machine{observed: protocol.Observed{Order: exchange.Order{Epoch: 5, Generation: 2}, Generation: 3, Receipt: []byte("{}")}}
		m.exchange = &protocol.Exchange{Digest: exchange.DigestOf(nil), Operation: "request", Step: protocol.StepConfirmed}
		d.tell(f, m)
		d.connect()
		s := d.take()[1]
		document, report := s.reported(t)
		require.Equal(t, "agent-1", document.Agent)
		require.Equal(t, "host-a", document.Server)
		require.Equal(t, m.observed, report.Observed)
		require.Equal(t, m.exchange, report.Exchange)
		require.Equal(t, protocol.Facts{
			HostID: "HOST-A", HostIDType: "ETHERNET", Name: "Server HOST-A", Type: "ES", Version: "7.0.2", Role: "top", Parent: "HOST-TOP",
			System: "local", Abilities: []string{"confirmation", "partial-return"}, AgentVersion: "0.1.0",
			Violations: []string{"connected.devices", "z"}, CertificateID: "aa",
		}, report.Facts)
		utc := expires.UTC()
		require.Equal(t, []protocol.License{
			{Feature: "connected.devices", Required: 300, Available: 200, Activated: 200, Expires: &utc, Source: "HOST-TOP"},
			{Feature: "server.base", Required: 1, Used: 3, Available: 1, Activated: 1, Source: "own"},
		}, report.Licenses)
		require.Equal(t, []protocol.HeldRight{{Right: exchange.ActivationID("DEMO-ACT-0001").RightID(), Count: 3}}, report.Rights)
		require.NotContains(t, string(s.payload), "DEMO-ACT", "an activation ID never leaves in a report")
	})
}

func TestChangesJoinOverOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		m := &machine{}
		d.tell(facts("HOST-A", 1), m)
		d.connect()
		d.take()
		began := time.Now()
		for used := range 10 {
			d.tell(facts("HOST-A", used), m)
			time.Sleep(90 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		got := d.take()
		require.Len(t, got, 1)
		require.Equal(t, join, got[0].at.Sub(began), "a second after the first change")
		_, report := got[0].reported(t)
		require.Equal(t, 9, report.Licenses[0].Used, "the newest")
	})
}

func TestUnchangedIsNotSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		m := &machine{}
		d.SetHeartbeat(24 * time.Hour)
		f := facts("HOST-A", 1)
		f.Licenses = append(f.Licenses, bms.License{Feature: "a"}, bms.License{Feature: "b", Version: "2"}, bms.License{Feature: "b", Version: "1"})
		f.Rights = append(f.Rights, bms.HeldRight{ActivationID: "DEMO-ACT-0002", Count: 1}, bms.HeldRight{ActivationID: "DEMO-ACT-0003", Count: 1})
		d.tell(f, m)
		d.connect()
		first, _ := d.take()[1].reported(t)
		for range 20 {
			time.Sleep(time.Minute)
			f.Licenses, f.Rights = slices.Clone(f.Licenses), slices.Clone(f.Rights)
			slices.Reverse(f.Licenses)
			slices.Reverse(f.Rights)
			f.Clock = time.Now()
			d.tell(f, m)
		}
		time.Sleep(time.Minute)
		require.Empty(t, d.take(), "only the order and the clock differ")

		time.Sleep(wholeTime)
		again := d.take()
		require.Len(t, again, 1, "hourly all the same")
		second, _ := again[0].reported(t)
		require.Equal(t, first.Digest(), second.Digest())
	})
}

func TestEndOfAnExchangeGoesAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		facts string
		want  time.Duration
	}{
		"with the facts after it": {"late", 500 * time.Millisecond},
		"without, a second later": {"never", 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := start(t)
				m := &machine{observed: protocol.Observed{InFlight: true}, exchange: &protocol.Exchange{Digest: exchange.DigestOf(nil), Step: protocol.StepMade}}
				d.tell(facts("HOST-A", 1), m)
				d.connect()
				d.take()
				began := time.Now()

				m.mu.Lock()
				m.exchange = &protocol.Exchange{Digest: exchange.DigestOf(nil), Step: protocol.StepApplied}
				d.Changed("host-a") // with the machine's lock held
				m.mu.Unlock()
				require.Empty(t, d.take(), "a step on the way can wait")

				time.Sleep(500 * time.Millisecond)
				m.mu.Lock()
				m.observed, m.exchange = protocol.Observed{Receipt: []byte("{}")}, &protocol.Exchange{Digest: exchange.DigestOf(nil), Step: protocol.StepConfirmed}
				d.Changed("host-a")
				m.mu.Unlock()
				require.Empty(t, d.take(), "the facts after it are to come")
				if c.facts != "never" {
					d.tell(facts("HOST-A", 2), m)
				}
				time.Sleep(2 * time.Second)
				got := d.take()
				require.Len(t, got, 1)
				require.Equal(t, c.want, got[0].at.Sub(began))
				_, report := got[0].reported(t)
				require.Equal(t, protocol.StepConfirmed, report.Exchange.Step)
			})
		})
	}
}

func TestEndOfAnExchangeTakesOnlyTheFactsAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{observed: protocol.Observed{InFlight: true}}
		// The sender is busy while the exchange ends and the facts after it come, in either order.
		r := New(Options{Agent: "agent-1"})
		for i, factsFirst := range []bool{true, false} {
			before := ProgressOf(m)
			r.Facts("local", facts("HOST-A", 1), m, before)
			m.observed = protocol.Observed{Receipt: fmt.Append(nil, i)}
			r.Changed("host-a")
			r.Facts("local", facts("HOST-A", 1), m, before) // read while the exchange went on
			look, _ := r.next(time.Now())
			if factsFirst {
				r.Facts("local", facts("HOST-A", 2), m, ProgressOf(m))
				look(t.Context())
			} else {
				look(t.Context())
				require.Equal(t, time.Now().Add(join), r.servers["host-a"].due, "not with those from before")
				r.Facts("local", facts("HOST-A", 2), m, ProgressOf(m))
			}
			require.Equal(t, time.Now(), r.servers["host-a"].due)
			r.servers["host-a"].due = time.Time{}
			m.observed = protocol.Observed{InFlight: true}
			r.Changed("host-a")
			look, _ = r.next(time.Now())
			look(t.Context())
		}
	})
}

func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		require.ErrorIs(t, d.Answer(t.Context(), "n", []string{"host-a"}), ErrNotConnected)
		d.tell(facts("HOST-A", 1), &machine{})
		d.tell(facts("HOST-B", 1), &machine{})
		d.connect()
		d.take()
		require.NoError(t, d.Answer(t.Context(), "nonce-1", []string{"host-a", "host-b", "nobody"}))
		got := d.take()
		require.Len(t, got, 2, "though nothing changed")
		for _, s := range got {
			document, _ := s.reported(t)
			require.Equal(t, "nonce-1", document.Asked)
		}
		require.NoError(t, d.Answer(t.Context(), "nonce-2", []string{"host-a"}))
		document, _ := d.take()[0].reported(t)
		require.Equal(t, "nonce-2", document.Asked)

		d.set(func() { d.fail = errors.New("no") })
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("too late"))
		defer cancel()
		require.ErrorContains(t, d.Answer(ctx, "nonce-3", []string{"host-a"}), "too late")

		result := make(chan error, 1)
		go func() { result <- d.Answer(t.Context(), "nonce-4", []string{"host-a"}) }()
		synctest.Wait()
		d.Down()
		require.NoError(t, <-result, "who asked has gone")
		d.set(func() { d.fail = nil })
		d.connect()
		for _, s := range d.take() {
			require.NotContains(t, string(s.payload), "nonce-")
		}
	})
}

func TestHeartbeatNamesWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		m := &machine{}
		d.tell(facts("HOST-A", 1), m)
		d.SetHeartbeat(10 * time.Second)
		d.connect()
		document, _ := d.take()[1].reported(t)
		time.Sleep(100 * time.Second)
		beats := d.take()
		require.InDelta(t, 10, len(beats), 1)
		var gaps []time.Duration
		for i, s := range beats {
			beat, err := protocol.Decode[protocol.Heartbeat](s.payload)
			require.NoError(t, err)
			require.Equal(t, map[string]exchange.Digest{"host-a": document.Digest()}, beat.Servers)
			require.Zero(t, beat.Queue)
			require.Zero(t, s.qos)
			if i > 0 {
				gaps = append(gaps, s.at.Sub(beats[i-1].at))
			}
		}
		require.GreaterOrEqual(t, slices.Min(gaps), 9*time.Second)
		require.LessOrEqual(t, slices.Max(gaps), 11*time.Second)
		require.NotEqual(t, slices.Min(gaps), slices.Max(gaps), "with jitter")
	})
}

func TestSlowBrokerGetsTheNewestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		m := &machine{}
		d.SetHeartbeat(24 * time.Hour)
		d.tell(facts("HOST-A", 0), m)
		d.connect()
		d.take()
		d.set(func() { d.slow = 10 * time.Second })
		for used := 1; used <= 60; used++ {
			d.tell(facts("HOST-A", used), m)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		got := d.take()
		require.LessOrEqual(t, len(got), 7)
		_, report := got[len(got)-1].reported(t)
		require.Equal(t, 60, report.Licenses[0].Used)
	})
}

func TestNothingIsLostWhileTheBrokerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		m := &machine{}
		d.set(func() { d.fail = errors.New("no answer") })
		d.SetHeartbeat(24 * time.Hour)
		d.tell(facts("HOST-A", 1), m)
		d.connect()
		time.Sleep(10 * time.Minute)
		require.Empty(t, d.take())
		tries := strings.Count(d.log.String(), "goes again")
		require.Greater(t, tries, 15)
		require.Less(t, tries, 60, "with pauses that grow")

		d.set(func() { d.fail = nil })
		time.Sleep(maxPause)
		require.Equal(t, []string{"presence", "host-a reported"}, d.kinds())

		d.set(func() { d.fail = errors.New("no answer") })
		d.tell(facts("HOST-A", 2), m)
		time.Sleep(5 * time.Second)
		d.set(func() { d.fail = nil })
		time.Sleep(maxPause)
		got := d.take()
		_, report := got[len(got)-1].reported(t)
		require.Equal(t, 2, report.Licenses[0].Used)
	})
}

func TestWhatNobodyCouldReadIsSaidOnceAndNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		bad := facts("HOST-A", 1)
		bad.Role = "neither"
		d.tell(bad, &machine{})
		d.tell(facts("HOST-B", 1), &machine{})
		d.connect()
		require.Equal(t, []string{"presence", "host-b reported"}, d.kinds())
		for range 5 {
			d.tell(bad, &machine{})
			time.Sleep(2 * time.Second)
		}
		require.NoError(t, d.Answer(t.Context(), "n", []string{"host-a"}), "an answer that cannot be given is not waited for")
		synctest.Wait()
		require.Equal(t, 1, strings.Count(d.log.String(), "cannot be reported"), d.log.String())
		require.Contains(t, d.log.String(), "role is not top or field")
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t)
		require.NoError(t, d.Stop(t.Context()))
		require.Empty(t, d.take(), "nobody was told that it runs")
		d.connect()
		d.take()
		require.NoError(t, d.Stop(t.Context()))
		stopping, err := protocol.Decode[protocol.Presence](d.take()[0].payload)
		require.NoError(t, err)
		require.Equal(t, protocol.Stopping, stopping.State)
	})
}

func TestBoots(t *testing.T) {
	a, b := newBoot(), newBoot()
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, a)
	require.NotEqual(t, a, b)
}
