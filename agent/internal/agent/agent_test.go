package agent

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/mqttconn/mqtttest"
	"github.com/licet-project/licet/shared/protocol"
)

func TestActivatesTwelveServersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := []bmstest.Server{{HostID: "HOST-1"}}
		for i := 2; i <= 12; i++ {
			servers = append(servers, bmstest.Server{HostID: bms.HostID(fmt.Sprintf("HOST-%d", i)), Parent: "HOST-1"})
		}
		s := newSite(t, servers...)
		s.sendSettings()
		s.run()
		s.pass(5 * time.Second)
		first := s.take()
		require.Equal(t, "presence", kinds(first)[0])
		require.Len(t, newest(t, first), 12)

		wishes := make(map[string]protocol.Desired)
		for _, server := range servers {
			d := s.wish(server.HostID, 1, 2)
			wishes[d.Server] = d
		}
		s.pass(900 * time.Millisecond) // less than changes are joined over: the end of an exchange does not wait
		got := newest(t, s.take())
		require.Len(t, got, 12)
		for server, report := range got {
			s.requireActivated(report, wishes[server])
		}
		taken, _ := s.las.Consumed(right)
		require.Equal(t, 24, taken)
		require.NotContains(t, s.logged(), right.Reveal())
	})
}

func TestBrokerAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = true })
		ready := false
		s.options = func(o *Options) { o.Ready = func() { ready = true } }
		s.run()
		require.True(t, ready, "a first connection is not waited for")
		s.pass(10 * time.Minute)
		require.Empty(t, s.take())

		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = false })
		s.sendSettings()
		d := s.wish("HOST-1", 1, 1)
		s.pass(2 * time.Minute)
		s.requireActivated(newest(t, s.take())["host-1"], d)
	})
}

func TestFinishesAndCatchesUpWhenTheBrokerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		s.pass(time.Minute)
		s.take()
		// The broker dies at the moment when the first step of the exchange is to be told.
		require.NoError(t, s.las.Fault(faultDelay(5_000)))
		d := s.wish("HOST-1", 1, 1)
		s.pass(100 * time.Millisecond)
		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = true })
		s.broker.Drop()
		s.pass(time.Minute)
		taken, _ := s.las.Consumed(right)
		require.Equal(t, 1, taken, "the agent goes on")
		s.take()

		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = false })
		s.pass(2 * time.Minute)
		got := s.take()
		require.Equal(t, protocol.Online, got[0].state(t))
		s.requireActivated(newest(t, got)["host-1"], d)
	})
}

func TestSlowBrokerDelaysNothingButItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		s.pass(time.Minute)
		s.take()
		s.broker.Behave(func(b *mqtttest.Behavior) { b.Acknowledge = func(string, []byte) bool { return false } })
		d := s.wish("HOST-1", 1, 1)
		s.pass(5 * time.Minute)
		taken, _ := s.las.Consumed(right)
		require.Equal(t, 1, taken)
		s.take()
		s.broker.Behave(func(b *mqtttest.Behavior) { b.Acknowledge = nil })
		s.pass(time.Minute)
		s.requireActivated(newest(t, s.take())["host-1"], d)
	})
}

func TestRefusedSubscriptionIsSaidAndReportsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.broker.Behave(func(b *mqtttest.Behavior) { b.Grant = func(string) byte { return 0x80 } })
		s.run()
		require.Equal(t, []string{"presence", "reported host-1"}, kinds(s.take()))
		require.Contains(t, s.logged(), "the broker refuses a subscription")
	})
}

func TestStopsInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		stop := s.run()
		s.take()
		stop()
		last := s.take()
		require.Equal(t, []string{"presence"}, kinds(last))
		require.Equal(t, protocol.Stopping, last[0].state(t))
		require.False(t, last[0].will)

		s.run()
		s.take()
		s.broker.Drop()
		synctest.Wait()
		will := s.take()
		require.True(t, will[0].will)
		require.Equal(t, protocol.Offline, will[0].state(t))
	})
}

func TestStopsInBoundedTimeWithoutABroker(t *testing.T) {
	for name, behave := range map[string]func(*mqtttest.Behavior){
		"away":   func(b *mqtttest.Behavior) { b.Away = true },
		"silent": func(b *mqtttest.Behavior) { b.Silent = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				stop := s.run()
				s.pass(time.Minute)
				s.broker.Behave(behave)
				if name == "away" {
					s.broker.Drop()
				}
				began := time.Now()
				stop()
				require.LessOrEqual(t, time.Since(began), goodbye+time.Second)
			})
		})
	}
}

func TestFinishesAnExchangeAfterAStartWithoutTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		stop := s.run()
		s.pass(time.Minute)
		require.NoError(t, s.las.Fault(faultDelay(600_000)))
		s.wish("HOST-1", 1, 1)
		s.pass(time.Second)
		stop() // the request is in the journal, and under way
		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = true })
		require.Zero(t, consumed(s))

		s.run()
		s.pass(time.Minute)
		require.Equal(t, 1, consumed(s), "with the settings that were kept")
	})
}

func TestServerThatAppearsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, bmstest.Server{HostID: "HOST-1"}, bmstest.Server{HostID: "HOST-2", Parent: "HOST-1"})
		require.NoError(t, s.system.SetUnanswered("HOST-2", "switched off"))
		s.sendSettings()
		d := s.wish("HOST-2", 1, 1)
		s.run()
		s.pass(10 * time.Minute)
		require.NotContains(t, newest(t, s.take()), "host-2", "nothing is known of it yet")
		require.Contains(t, s.logged(), "has never answered yet: switched off")

		require.NoError(t, s.system.SetUnanswered("HOST-2", ""))
		s.pass(2 * time.Minute)
		s.requireActivated(newest(t, s.take())["host-2"], d)
	})
}

func TestNothingBeginsOnTheWordOfALostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, bmstest.Server{HostID: "HOST-1"}, bmstest.Server{HostID: "HOST-2", Parent: "HOST-1"})
		require.NoError(t, s.system.SetUnanswered("HOST-2", "switched off"))
		s.sendSettings()
		s.run()
		first, second := s.wish("HOST-1", 1, 2), s.wish("HOST-2", 1, 1)
		s.pass(5 * time.Second)
		require.Equal(t, 2, consumed(s))

		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = true })
		s.broker.Drop()
		s.pass(time.Second)
		require.NoError(t, s.system.SetUnanswered("HOST-2", ""))
		require.NoError(t, s.system.Tamper("HOST-1", right, 1))
		s.pass(10 * time.Minute)
		require.Equal(t, 2, consumed(s), "what was delivered to nobody is forgotten")
		store, err := s.system.Store("HOST-1")
		require.NoError(t, err)
		require.Equal(t, 1, store.Rights[0].Count, "and what was accepted may be old")

		s.broker.Behave(func(b *mqtttest.Behavior) { b.Away = false })
		s.pass(2 * time.Minute)
		got := newest(t, s.take())
		s.requireActivated(got["host-1"], first)
		s.requireActivated(got["host-2"], second)
	})
}

// gated is a system whose facts are old when they come.
type gated struct {
	*bmstest.System
	gate atomic.Pointer[chan struct{}] // nil: open
}

func (g *gated) Servers(ctx context.Context) ([]bms.Facts, error) {
	facts, err := g.System.Servers(ctx)
	if gate := g.gate.Load(); gate != nil {
		select {
		case <-*gate:
		case <-ctx.Done():
		}
	}
	return facts, err
}

func TestReceiptIsNeverReportedWithFactsFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		driver := &gated{System: s.system}
		s.options = func(o *Options) { o.Systems = []System{{Name: "local", Driver: driver}} }
		s.sendSettings()
		s.run()
		s.pass(5 * time.Second)
		gate := make(chan struct{})
		driver.gate.Store(&gate)
		s.pass(65 * time.Second) // a reading is under way, and not given up yet
		d := s.wish("HOST-1", 1, 1)
		s.pass(500 * time.Millisecond)
		require.Equal(t, 1, consumed(s))
		s.take()
		gate <- struct{}{} // the old facts come; those after the exchange are being read
		s.pass(100 * time.Millisecond)
		require.Empty(t, kinds(s.take()))
		driver.gate.Store(nil)
		close(gate)
		s.pass(500 * time.Millisecond)
		got := s.take()
		require.Len(t, got, 1, kinds(got))
		s.requireActivated(newest(t, got)["host-1"], d)
	})
}

func TestServerThatDoesNotAnswerIsShownAsLastSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, bmstest.Server{HostID: "HOST-1"}, bmstest.Server{HostID: "HOST-2", Parent: "HOST-1", Name: "Roof"})
		s.run()
		s.pass(time.Minute)
		s.take()
		require.NoError(t, s.system.SetUnanswered("HOST-2", "switched off"))
		s.pass(2 * time.Minute)
		got := newest(t, s.take())
		require.Equal(t, "switched off", got["host-2"].Facts.Unanswered)
		require.Equal(t, "Roof", got["host-2"].Facts.Name)
		require.NotContains(t, got, "host-1")

		require.NoError(t, s.system.SetUnanswered("HOST-1", "rebooting")) // the entry: nothing behind it answers
		s.pass(2 * time.Minute)
		got = newest(t, s.take())
		require.Contains(t, got["host-1"].Facts.Unanswered, "rebooting")
		require.Contains(t, got["host-2"].Facts.Unanswered, "rebooting")
		s.pass(10 * time.Minute)
		require.NotContains(t, newest(t, s.take()), "host-2", "the same trouble is the same report")

		require.NoError(t, s.system.SetUnanswered("HOST-1", ""))
		require.NoError(t, s.system.SetUnanswered("HOST-2", ""))
		s.pass(2 * time.Minute)
		got = newest(t, s.take())
		require.Empty(t, got["host-1"].Facts.Unanswered)
		require.Empty(t, got["host-2"].Facts.Unanswered)
		require.Contains(t, s.logged(), "this answers again")
	})
}

func TestOutOfStepAsksForWhatIsDesiredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		s.pass(time.Second)
		image, err := s.system.Image("HOST-1")
		require.NoError(t, err)
		s.wish("HOST-1", 1, 1)
		s.pass(2 * time.Second)
		require.NoError(t, s.system.Restore(image)) // a snapshot from before: an old sequence, no right
		s.pass(2 * time.Second)
		d := s.wish("HOST-1", 2, 2)
		s.pass(5 * time.Minute)
		s.requireActivated(newest(t, s.take())["host-1"], d)
		require.Contains(t, s.logged(), "out-of-step")
		store, err := s.system.Store("HOST-1")
		require.NoError(t, err)
		require.Equal(t, []bms.HeldRight{{ActivationID: right, Count: 2}}, store.Rights)
	})
}

func TestWithdrawnIsForgottenAndNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.sendSettings()
		s.run()
		s.wish("HOST-1", 1, 1)
		s.pass(5 * time.Second)
		s.take()
		s.broker.Send(s.topic(protocol.KindDesired, "host-1"), nil, true)
		s.pass(5 * time.Second)
		report := newest(t, s.take())["host-1"]
		require.Equal(t, exchange.Order{}, report.Observed.Order)
		require.Equal(t, 1, consumed(s))
	})
}
