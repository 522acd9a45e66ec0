package api

import (
	"context"
	"errors"

	"github.com/licet-project/licet/coordinator/internal/db"
)

// changed waits until the feed has a row after the cursor that fits, and returns the cursor behind everything that it has
// read. A feed that does not reach back counts as a row that fits: nobody knows what was in it. It ends with Stop.
func (a *API) changed(ctx context.Context, after int64, fits func(db.Change) bool) (int64, error) {
	wake, forget := a.o.DB.Wake() // before the first look, so that nothing falls between
	defer forget()
	for {
		changes, err := a.o.DB.Changes(ctx, after, eventBatch)
		if errors.Is(err, db.ErrCursorTooOld) {
			return a.o.DB.Newest(ctx)
		}
		if err != nil {
			return after, err
		}
		found := false
		for _, c := range changes {
			after = c.ID
			found = found || fits(c)
		}
		switch {
		case found:
			return after, nil
		case len(changes) > 0:
			continue // until nothing is left
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return after, context.Cause(ctx)
		case <-a.stopping:
			return after, db.ErrClosed // what known says of it is right: the coordinator is stopping
		}
	}
}
