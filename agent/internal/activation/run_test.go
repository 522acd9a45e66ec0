package activation_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

func TestRunNeedsNoTimeAndPollsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		start := time.Now()
		r.facts()
		r.accept(2, 1)
		synctest.Wait()
		r.done(2, 1)
		require.Zero(t, time.Since(start))
		require.Equal(t, 2, r.carrier.posts())
		r.mu.Lock()
		require.GreaterOrEqual(t, r.changed, 5, "accepted, made, answered, applied, settled")
		r.mu.Unlock()
		time.Sleep(48 * time.Hour)
		require.Equal(t, 2, r.carrier.posts(), "while there is nothing to do nobody is asked")
		r.accept(0, 0)
		synctest.Wait()
		r.done(0, 0)
	})
}

func TestRunBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		r.carrier.answer = func(attempt int) error {
			if attempt <= 14 {
				return errCut
			}
			return nil
		}
		r.facts()
		r.accept(1)
		synctest.Wait()
		e := r.machine.Exchange()
		require.Equal(t, protocol.StepMade, e.Step)
		require.Equal(t, 1, e.Attempt)
		require.Equal(t, exchange.Unavailable, e.Code)
		require.NotNil(t, e.NextTry)
		r.facts() // wakes, but does not hurry
		r.accept(2)
		time.Sleep(time.Hour)
		r.done(2)
		pauses := r.carrier.pauses()
		for i, pause := range pauses[:14] {
			least := min(time.Second<<i, 200*time.Second)
			require.GreaterOrEqual(t, pause, least, "pause %d", i)
			require.LessOrEqual(t, pause, least*3/2, "pause %d", i)
			require.LessOrEqual(t, pause, 5*time.Minute)
		}
		require.NotEqual(t, pauses[12], pauses[13], "jitter")
	})
}

func TestRunObeysRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		r.carrier.answer = func(attempt int) error {
			switch attempt {
			case 1:
				return &exchange.Refusal{Code: exchange.RateLimited, RetryAfter: 20 * time.Minute}
			case 2:
				return &exchange.ErrCarried{RetryAfter: time.Hour}
			case 4:
				return &exchange.Refusal{Code: exchange.Unknown, Status: 503} // a gateway's own words
			}
			return nil
		}
		r.facts()
		r.accept(1)
		time.Sleep(24 * time.Hour)
		r.done(1)
		pauses := r.carrier.pauses()
		require.GreaterOrEqual(t, pauses[0], 20*time.Minute)
		require.LessOrEqual(t, pauses[0], 22*time.Minute)
		require.GreaterOrEqual(t, pauses[1], time.Hour, "the second was carried, fetched in vain, and posted again")
		require.LessOrEqual(t, pauses[1], 67*time.Minute)
	})
}

func TestRunWaitsForACarrierAndGoesOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		r.mu.Lock()
		r.there = false
		r.mu.Unlock()
		r.facts()
		r.accept(1)
		time.Sleep(2 * time.Hour)
		require.Zero(t, r.carrier.posts())
		require.True(t, r.machine.Observed().InFlight)
		r.mu.Lock()
		r.there = true
		r.mu.Unlock()
		before := time.Now()
		r.machine.CarriersChanged()
		synctest.Wait()
		r.done(1)
		require.Zero(t, time.Since(before))
	})
}

// A server that refuses every response must not make the activation server answer reports without end.
func TestRunSlowsDownWhenResponsesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		require.NoError(t, r.system.ShiftClock(host, -24*time.Hour))
		for range 200 {
			require.NoError(t, r.system.RefuseNext(host, exchange.KeyUnknown))
		}
		r.facts()
		r.accept(1)
		time.Sleep(6 * time.Hour)
		require.LessOrEqual(t, r.carrier.posts(), 6*60/3+10)
		require.GreaterOrEqual(t, r.carrier.posts(), 6*60/5)
		e := r.machine.Exchange()
		require.Equal(t, exchange.KeyUnknown, e.Code)
		require.Equal(t, protocol.StepRefused, e.Step)
		require.NotNil(t, e.NextTry)
		posts := r.carrier.posts()
		r.accept(2) // a new order is tried at once
		synctest.Wait()
		require.Equal(t, posts+3, r.carrier.posts())
		time.Sleep(24 * time.Hour)
		r.done(2)
	})
}

// A driver whose facts do not follow must not make us ask without end.
func TestRunSlowsDownWhenTheFactsDoNotFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		r.mu.Lock()
		r.stuck = true
		r.mu.Unlock()
		r.facts()
		r.accept(1)
		time.Sleep(6 * time.Hour)
		require.LessOrEqual(t, r.carrier.posts(), 2*(6*60/3+10))
		r.mu.Lock()
		r.stuck = false
		r.mu.Unlock()
		time.Sleep(5 * time.Minute)
		r.done(1)
		posts := r.carrier.posts()
		time.Sleep(24 * time.Hour)
		require.Equal(t, posts, r.carrier.posts())
	})
}

func TestRunReadsTheFactsAgainAfterTheServerWasSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		r.carrier.answer = func(attempt int) error {
			if attempt == 2 { // after the server has applied
				return errors.Join(r.system.SetUnanswered(host, "gone"), nil)
			}
			return nil
		}
		r.facts()
		r.accept(1)
		time.Sleep(10 * time.Minute)
		require.NoError(t, r.system.SetUnanswered(host, ""))
		time.Sleep(5 * time.Minute)
		r.done(1)
		r.machine.FactsChanged(bms.Facts{HostID: "HOST-2"}) // not ours: not looked at
		synctest.Wait()
		r.accept(2)
		synctest.Wait()
		r.done(2)
	})
}

// Without Refetch the document of this connection goes on to count when the server was out of step.
func TestRunGetsBackIntoStepByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t)
		defer stop()
		image, err := r.system.Image(host)
		require.NoError(t, err)
		r.facts()
		r.accept(1)
		synctest.Wait()
		r.done(1)
		require.NoError(t, r.system.Restore(image))
		start := time.Now()
		r.accept(3)
		r.facts()
		synctest.Wait()
		r.done(3)
		require.Zero(t, time.Since(start), "request, report, request: at once")
	})
}

func TestRunWithADriverThatConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := run(t, func(r *running, o *activation.Options) { o.System, o.Refresh = mute{r.system}, nil })
		defer stop()
		all, err := mute{r.system}.Servers(t.Context())
		require.NoError(t, err)
		r.machine.FactsChanged(all[0])
		r.accept(2)
		synctest.Wait()
		r.done(2)
		require.Equal(t, 1, r.carrier.posts())
		require.Empty(t, r.machine.Observed().Receipt)
		require.Equal(t, protocol.StepConfirmed, r.machine.Exchange().Step)
		r.accept(seats + 1)
		time.Sleep(6 * time.Hour)
		require.LessOrEqual(t, r.carrier.posts(), 130, "refused, and nobody says so: asked again, but slowly")
	})
}

func TestRunTakesTheNextCarrierInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := &timed{}
		r, stop := run(t, func(r *running, o *activation.Options) {
			relay.Direct = r.las.Direct()
			o.Carriers = func() map[string]activation.Carrier {
				return map[string]activation.Carrier{
					protocol.CarrierDirect: r.carrier, protocol.CarrierRelay: relay, protocol.CarrierFile: &timed{Direct: r.las.Direct()},
				}
			}
		})
		defer stop()
		r.carrier.answer = func(int) error { return errCut }
		r.facts()
		require.NoError(t, r.machine.Accept(r.altered(r.want(1), func(d *protocol.Desired) {
			d.Carriers = []string{protocol.CarrierDirect, protocol.CarrierRelay}
		})))
		synctest.Wait()
		require.Equal(t, protocol.CarrierDirect, r.machine.Exchange().Carrier)
		time.Sleep(4 * time.Second)
		r.done(1)
		require.Equal(t, 2, r.carrier.posts(), "the first one first, for each message")
		require.Equal(t, 2, relay.posts())
		require.Equal(t, protocol.CarrierRelay, r.machine.Exchange().Carrier)
	})
}

// TestTalkedToFromEverywhere is for the race detector.
func TestTalkedToFromEverywhere(t *testing.T) {
	defer goleak.VerifyNone(t)
	r, stop := run(t)
	r.facts()
	documents := make([][]byte, 12)
	for i := range documents {
		documents[i] = r.want(i%3, (i+1)%3)
	}
	var talkers sync.WaitGroup
	for _, talk := range []func(i int){
		func(i int) { _ = r.machine.Accept(documents[i]) },
		func(int) { r.facts() },
		func(int) { r.machine.Observe() },
		func(i int) {
			if i%4 == 0 {
				r.machine.Disconnected()
			}
		},
		func(int) { r.machine.CarriersChanged() },
	} {
		talkers.Go(func() {
			for i := range documents {
				talk(i)
			}
		})
	}
	talkers.Wait()
	require.NoError(t, r.machine.Accept(r.newest))
	r.facts()
	for !r.settled() {
		<-r.news
	}
	stop()
	r.done(2, 0)
}
