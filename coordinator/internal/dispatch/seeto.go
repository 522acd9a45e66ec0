package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/crash"
	"github.com/licet-project/licet/shared/exchange"
)

const callTime = 30 * time.Second // of one call to the activation server

// seeTo gives every adoption and every release that may be posted a worker, unless it has one.
func (d *Dispatch) seeTo(ctx context.Context) error {
	var adoptions []ledger.Adoption
	var releases []ledger.DueRelease
	err := d.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		if adoptions, err = ledger.Adopting(tx); err == nil {
			releases, err = ledger.ReleaseDue(tx)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for adoptions and releases: %w", err)
	}
	for _, a := range adoptions {
		if a.Hold && d.o.ActivationServer == nil {
			continue // its own report will do
		}
		d.work(ctx, a.Key(), func() error { return d.adopt(ctx, a) })
	}
	if d.o.ActivationServer == nil {
		return nil
	}
	for _, r := range releases {
		d.work(ctx, r.Key, func() error { return d.release(ctx, r) })
	}
	return nil
}

// work tries until it succeeds or ctx ends. One worker looks after one key; the first failure is logged, the others are the
// same one again.
func (d *Dispatch) work(ctx context.Context, key string, try func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[key] {
		return
	}
	d.busy[key] = true
	d.workers.Go(func() {
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.busy, key)
		}()
		pause := backoff.NewExponentialBackOff()
		pause.InitialInterval, pause.MaxInterval = time.Second, 5*time.Minute
		for first := true; ; first = false {
			err := try()
			if err == nil || ctx.Err() != nil {
				return
			}
			wait := pause.NextBackOff()
			if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) {
				wait = max(wait, refusal.RetryAfter)
			}
			if first {
				d.o.Logger.Warn().Err(err).Dur("again_in", wait).Msg("the activation server was asked in vain; it is asked again")
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
	})
}

// adopt asks the activation server what a host holds, which also fences it. Where that fails the server is told to hold and
// report, which does the same; whichever comes first.
func (d *Dispatch) adopt(ctx context.Context, a ledger.Adoption) error {
	var waits bool
	err := d.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		waits, err = waiting(tx, a)
		return err
	})
	if !waits || err != nil {
		return err
	}
	if d.o.ActivationServer == nil {
		return d.hold(ctx, a.Server)
	}
	receipt, document, err := d.post(ctx, a.HostID, exchange.Release{Key: a.Key(), Order: a.Order()})
	if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) && refusal.Code == exchange.Superseded {
		return d.outdated(ctx, a)
	}
	if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) {
		return errors.Join(fmt.Errorf("adopt %s: %w", a.HostID, err), d.hold(ctx, a.Server))
	}
	if err != nil {
		// It cannot be reached: the others need not find that out one after the other, each at the end of its own time.
		return errors.Join(fmt.Errorf("adopt %s: %w", a.HostID, err), d.hold(ctx))
	}
	err = d.o.DB.Update(ctx, func(tx *db.Tx) error {
		_, err := ledger.Adopt(tx, a.Server, receipt, document)
		return err
	})
	if err != nil {
		return fmt.Errorf("adopt %s: %w", a.HostID, err)
	}
	// A crash here: the ledger knows what the host holds, its first document is claimed after the start.
	crash.At("dispatch.adopted")
	return nil
}

// waiting reports whether the adoption is still open: not ended by the server's own report, nor by a newer epoch.
func waiting(tx *db.Tx, a ledger.Adoption) (bool, error) {
	all, err := ledger.Adopting(tx)
	return slices.ContainsFunc(all, func(w ledger.Adoption) bool { return w.Key() == a.Key() }), err
}

// hold lets these servers hold, or every adopting one if none are named.
func (d *Dispatch) hold(ctx context.Context, servers ...string) error {
	return d.o.DB.Update(ctx, func(tx *db.Tx) error {
		told := servers
		if len(told) == 0 {
			all, err := ledger.Adopting(tx)
			if err != nil {
				return err
			}
			for _, a := range all {
				told = append(told, a.Server)
			}
		}
		_, err := ledger.Hold(tx, told...)
		return err
	})
}

// outdated is after the activation server knew an order above all that this ledger can give: it was rolled back, or another
// ledger once had this host.
func (d *Dispatch) outdated(ctx context.Context, a ledger.Adoption) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	state, err := d.o.ActivationServer.HostState(ctx, a.HostID)
	if err != nil {
		return fmt.Errorf("adopt %s: %w", a.HostID, err)
	}
	return d.o.DB.Update(ctx, func(tx *db.Tx) error {
		if waits, err := waiting(tx, a); !waits || err != nil {
			return err // another host has shown the same already
		}
		_, err := ledger.NewEpochAbove(tx, audit.System, state.Fence.Epoch, "the activation server knows orders of "+a.HostID+" above this ledger's epoch")
		return err
	})
}

// release posts a release and settles it.
func (d *Dispatch) release(ctx context.Context, r ledger.DueRelease) error {
	receipt, document, err := d.post(ctx, r.HostID, exchange.Release{Key: r.Key, Order: r.Order, Take: true})
	if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) && refusal.When() != exchange.RetryLater {
		return d.o.DB.Update(ctx, func(tx *db.Tx) error { return ledger.ReleaseRefused(tx, r, refusal.Code) })
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", r.HostID, err)
	}
	err = d.o.DB.Update(ctx, func(tx *db.Tx) error {
		_, err := ledger.ReleaseSettled(tx, r, receipt, document)
		return err
	})
	if err != nil {
		return fmt.Errorf("release %s: %w", r.HostID, err)
	}
	return nil
}

// post orders a fence or a release and verifies its receipt. At most callsAtOnce wait for the activation server.
func (d *Dispatch) post(ctx context.Context, host string, r exchange.Release) (exchange.Receipt, []byte, error) {
	select {
	case d.calls <- struct{}{}:
		defer func() { <-d.calls }()
	case <-ctx.Done():
		return exchange.Receipt{}, nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	document, err := d.o.ActivationServer.Release(ctx, host, r)
	if err != nil {
		return exchange.Receipt{}, nil, err
	}
	receipt, err := exchange.VerifyReceipt(d.o.Keys, host, document)
	return receipt, document, err
}
