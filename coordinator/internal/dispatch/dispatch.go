// Package dispatch tells agents what they should do. It is the only composer of desired documents: it follows the change
// feed, claims what is new, commits, and only then publishes, retained. It also asks the activation server about servers
// that are being adopted, and posts releases.
//
// Everything here is level-triggered: what is not published, adopted or released yet is found again after any crash.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"github.com/licet-project/licet/coordinator/internal/broker"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// ActivationServer is what dispatch asks of one; *exchange.Client is one.
type ActivationServer interface {
	Release(ctx context.Context, host string, r exchange.Release) ([]byte, error)
	HostState(ctx context.Context, host string) (exchange.HostState, error)
}

// Options of New.
type Options struct {
	DB     *db.DB        // required
	Outbox broker.Outbox // required

	ActivationServer ActivationServer // nil: servers are adopted by their own report, and nothing can be released
	ActivationURL    string           // for agents: where the direct carrier leads; empty: they have none
	Keys             signed.KeySet    // of the activation server
	Heartbeat        time.Duration    // of agents; 0: one minute
	Logger           zerolog.Logger
}

// Dispatch is made by New and lives in Run.
type Dispatch struct {
	o        Options
	settings settings
	asks     chan string // agents that ingest wants to hear from; Run publishes

	calls   chan struct{} // one place for each call to the activation server at a time
	workers sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]bool // keys of adoptions and releases that a worker looks after; owned by mu
}

const (
	feedBatch   = 1_000
	claimBatch  = 100 // documents of one commit
	callsAtOnce = 8   // to the activation server
	askQueue    = 1_024
)

// New makes a Dispatch; it starts nothing.
func New(o Options) (*Dispatch, error) {
	if o.DB == nil || o.Outbox == nil {
		return nil, errors.New("dispatch needs a database and an outbox")
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = time.Minute
	}
	d := &Dispatch{o: o, asks: make(chan string, askQueue), calls: make(chan struct{}, callsAtOnce), busy: map[string]bool{}}
	var err error
	d.settings, err = newSettings(o, time.Now())
	return d, err
}

// Run works until ctx ends, and returns after every worker has ended.
func (d *Dispatch) Run(ctx context.Context) error {
	defer d.workers.Wait()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 30*time.Second
	for {
		err := d.follow(ctx, pause.Reset)
		if ctx.Err() != nil {
			return nil
		}
		wait := pause.NextBackOff()
		d.o.Logger.Error().Err(err).Dur("again_in", wait).Msg("documents are not dispatched")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// follow publishes everything once, then what changes. It returns an error, and the next follow begins anew: nothing that
// was claimed and not published is forgotten.
func (d *Dispatch) follow(ctx context.Context, working func()) error {
	wake, forget := d.o.DB.Wake() // before the first look, so that nothing falls between
	defer forget()
	cursor, err := d.everything(ctx)
	if err != nil {
		return err
	}
	working()
	for {
		changes, err := d.o.DB.Changes(ctx, cursor, feedBatch)
		switch {
		case errors.Is(err, db.ErrCursorTooOld):
			if cursor, err = d.everything(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("read the change feed: %w", err)
		case len(changes) > 0:
			if err := d.react(ctx, changes); err != nil {
				return err
			}
			cursor = changes[len(changes)-1].ID
			continue
		}
		select {
		case <-wake:
		case agent := <-d.asks:
			if _, err := d.AskNow(ctx, agent); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// everything publishes settings and claimed documents again, since the broker may have kept nothing, claims what is new, and
// returns the feed's cursor from before.
func (d *Dispatch) everything(ctx context.Context) (int64, error) {
	cursor, err := d.o.DB.Newest(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the change feed: %w", err)
	}
	var agents map[string]fleet.Agent
	var servers []fleet.Server
	err = d.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		if agents, err = fleet.Agents(tx); err == nil {
			servers, err = fleet.Select(tx, fleet.Selector{})
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read the fleet: %w", err)
	}
	for agent := range agents {
		if err := d.publishSettings(ctx, agent); err != nil {
			return 0, err
		}
	}
	if err := d.republish(ctx); err != nil {
		return 0, err
	}
	ids := make([]string, len(servers))
	for i, server := range servers {
		ids[i] = server.ID
	}
	return cursor, d.claim(ctx, ids)
}

// react does what rows of the feed ask for.
func (d *Dispatch) react(ctx context.Context, changes []db.Change) error {
	servers, agents := map[string]bool{}, map[string]bool{}
	for _, c := range changes {
		switch c.Kind {
		case fleet.KindServer, ledger.FeedKind:
			servers[c.Key] = true
		case fleet.KindAgent:
			agents[c.Key] = true
		case fleet.KindSite: // carriers are the site's
			if err := d.siteChanged(ctx, c.Key, servers); err != nil {
				return err
			}
		}
	}
	for agent := range agents {
		if err := d.publishSettings(ctx, agent); err != nil {
			return err
		}
	}
	ids := make([]string, 0, len(servers))
	for id := range servers {
		ids = append(ids, id)
	}
	return d.claim(ctx, ids)
}

func (d *Dispatch) siteChanged(ctx context.Context, site string, servers map[string]bool) error {
	selector, err := fleet.ParseSelector("site=" + site)
	if err != nil {
		return fmt.Errorf("select the servers of a site: %w", err)
	}
	err = d.o.DB.View(ctx, func(tx *db.Tx) error {
		selected, err := fleet.Select(tx, selector)
		for _, server := range selected {
			servers[server.ID] = true
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("select the servers of a site: %w", err)
	}
	return nil
}
