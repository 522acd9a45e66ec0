package activation_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

// running is a Machine with its Run, inside a bubble of testing/synctest.
type running struct {
	*kit
	system  *bmstest.System
	machine *activation.Machine
	carrier *timed
	changed int
	news    chan struct{} // holds one: something has changed
	there   bool          // the carrier is
	stuck   bool          // the facts say that nothing is held, whatever happens
	mu      sync.Mutex
}

// timed is a carrier that answers as a test says and notes when it was asked.
type timed struct {
	exchangetest.Direct
	mu     sync.Mutex
	answer func(attempt int) error // nil, or nil returned: the activation server's answer
	at     []time.Time
}

func (c *timed) Post(ctx context.Context, message []byte) ([]byte, error) {
	c.mu.Lock()
	c.at = append(c.at, time.Now())
	answer, attempt := c.answer, len(c.at)
	c.mu.Unlock()
	if answer != nil {
		if err := answer(attempt); err != nil {
			return nil, err
		}
	}
	return c.Direct.Post(ctx, message)
}

// pauses are the times between the posts.
func (c *timed) pauses() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var pauses []time.Duration
	for i := 1; i < len(c.at); i++ {
		pauses = append(pauses, c.at[i].Sub(c.at[i-1]))
	}
	return pauses
}

func (c *timed) posts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

// run starts a machine; when the returned function is called it has ended.
func run(t *testing.T) (r *running, stop func()) {
	t.Helper()
	r = &running{kit: newKit(t, kitOptions{}), there: true, news: make(chan struct{}, 1)}
	r.carrier = &timed{Direct: r.las.Direct()}
	var err error
	r.system, err = bmstest.New(bmstest.Options{Dir: scratch(t), Servers: []bmstest.Server{{HostID: host}}, Keys: r.las.Keys()})
	require.NoError(t, err)
	r.machine, err = activation.Open(activation.Options{
		Dir: scratch(t), System: r.system, Host: host, Agent: "agent-1", Keys: r.las.Keys,
		Carriers: func() map[string]activation.Carrier {
			r.mu.Lock()
			defer r.mu.Unlock()
			if !r.there {
				return nil
			}
			return map[string]activation.Carrier{protocol.CarrierDirect: r.carrier}
		},
		Refresh: func(ctx context.Context) (bms.Facts, error) {
			all, err := r.system.Servers(ctx)
			if err != nil {
				return bms.Facts{}, err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.stuck {
				all[0].Rights = nil
			}
			return all[0], nil
		},
		Changed: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.changed++
			select {
			case r.news <- struct{}{}:
			default:
			}
			r.machine.Observe() // no lock that it takes is held
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.machine.Run(ctx) }()
	return r, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func (r *running) facts() {
	r.t.Helper()
	all, err := r.system.Servers(context.Background())
	require.NoError(r.t, err)
	r.machine.FactsChanged(all[0])
}

func (r *running) accept(counts ...int) {
	r.t.Helper()
	require.NoError(r.t, r.machine.Accept(r.want(counts...)))
}

func (r *running) done(counts ...int) {
	r.t.Helper()
	require.False(r.t, r.machine.Observed().InFlight)
	store, err := r.system.Store(host)
	require.NoError(r.t, err)
	for i, count := range counts {
		held := 0
		for _, right := range store.Rights {
			if right.ActivationID == rights[i] {
				held = right.Count
			}
		}
		require.Equal(r.t, count, held)
	}
}

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

func (r *running) settled() bool {
	o := r.machine.Observed()
	receipt, err := exchange.VerifyReceipt(r.las.Keys(), host, o.Receipt)
	return err == nil && !o.InFlight && receipt.Order == r.order
}
