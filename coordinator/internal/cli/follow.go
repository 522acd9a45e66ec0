package cli

import (
	"context"
	"errors"
	"time"

	"github.com/licet-project/licet/coordinator/client"
)

// pause is how soon a watch tries again that reached nobody.
const pause = 250 * time.Millisecond

// changes tells when to look again: after every change since the given event, joined while nobody looks. Whoever calls it
// has reached the coordinator, so while nobody is there it goes on trying. The channel of errors gets one value when
// following ends, which it does with ctx, and is closed then. The caller waits for it.
func changes(ctx context.Context, c *client.Client, after int64) (<-chan struct{}, <-chan error) {
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	follow := func() error {
		return c.Follow(ctx, after, func(e client.Event) error {
			after = e.ID
			select {
			case changed <- struct{}{}:
			default: // one waits there already
			}
			return nil
		})
	}
	go func() {
		defer close(ended)
		for {
			err := follow()
			if _, away := errors.AsType[*client.Unreachable](err); !away || ctx.Err() != nil {
				ended <- err
				return
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}()
	return changed, ended
}
