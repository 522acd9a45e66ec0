package activation_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
func run(t *testing.T, changes ...func(r *running, o *activation.Options)) (r *running, stop func()) {
	t.Helper()
	r = &running{kit: newKit(t, kitOptions{}), there: true, news: make(chan struct{}, 1)}
	r.carrier = &timed{Direct: r.las.Direct()}
	var err error
	r.system, err = bmstest.New(bmstest.Options{Dir: scratch(t), Servers: []bmstest.Server{{HostID: host}}, Keys: r.las.Keys()})
	require.NoError(t, err)
	o := activation.Options{
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
	}
	for _, change := range changes {
		change(r, &o)
	}
	r.machine, err = activation.Open(o)
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

func (r *running) settled() bool {
	o := r.machine.Observed()
	receipt, err := exchange.VerifyReceipt(r.las.Keys(), host, o.Receipt)
	return err == nil && !o.InFlight && receipt.Order == r.order
}

// mute is a system whose driver neither confirms nor explains.
type mute struct{ system *bmstest.System }

func (m mute) Servers(ctx context.Context) ([]bms.Facts, error) {
	all, err := m.system.Servers(ctx)
	for i := range all {
		all[i].Confirms = false
	}
	return all, err
}

func (m mute) CreateRequest(ctx context.Context, host bms.HostID, order exchange.Order, want []exchange.Right) ([]byte, error) {
	return m.system.CreateRequest(ctx, host, order, want)
}

func (m mute) CreateReport(ctx context.Context, host bms.HostID, order exchange.Order) ([]byte, error) {
	return m.system.CreateReport(ctx, host, order)
}

func (m mute) ApplyResponse(ctx context.Context, host bms.HostID, response []byte) ([]byte, error) {
	_, err := m.system.ApplyResponse(ctx, host, response)
	return nil, err
}
