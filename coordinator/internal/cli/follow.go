package cli

import (
	"context"

	"github.com/licet-project/licet/coordinator/client"
)

// changes tells when to look again: after every change since the given event, joined while nobody looks. The channel of
// errors gets one value when following ends, which it does with ctx, and is closed then. The caller waits for it.
func changes(ctx context.Context, c *client.Client, after int64) (<-chan struct{}, <-chan error) {
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- c.Follow(ctx, after, func(client.Event) error {
			select {
			case changed <- struct{}{}:
			default: // one waits there already
			}
			return nil
		})
	}()
	return changed, ended
}
