package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

func (s *session) activate() *cobra.Command {
	selector, watch := "", false
	limit := 5 * time.Minute
	command := &cobra.Command{
		Use: "activate --select SELECTOR", Args: cobra.NoArgs,
		Short: "order what is assigned, on every selected server",
		Long: `activate orders what is assigned: the agents of the selected servers are told the new counts and exchange them with the
activation server. What failed is tried again. With --watch it waits until every assignment of the selected servers is
activated or failed, and every return is through.`,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := s.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), 2*callTime)
			defer cancel()
			answer, err := c.Activate(ctx, client.ActivateRequest{Select: selector})
			if err != nil {
				return s.failed("activate", err)
			}
			if watch {
				return s.watchActivation(command.Context(), c, selector, limit)
			}
			return s.show(answer, func(bool) string {
				return fmt.Sprintf("ordered %s on %s\n", plural(answer.Assignments, "assignment"), plural(answer.Servers, "server"))
			})
		},
	}
	selectFlag(command, &selector)
	command.Flags().BoolVar(&watch, "watch", false, "wait until every selected assignment is activated or failed")
	command.Flags().DurationVar(&limit, "timeout", limit, "how long to watch")
	required(command, "select")
	return command
}

// activation is how far the watched assignments have come.
type activation struct {
	Activated   int                 `json:"activated"`
	Failed      int                 `json:"failed"`
	Returned    int                 `json:"returned"`
	Waiting     int                 `json:"waiting"`
	Assignments []client.Assignment `json:"assignments"`

	watched map[string]bool // every assignment that was there when the watch began
}

func key(a client.Assignment) string { return a.Server + " " + a.Line }

// count looks at the newest list. What was watched and is no longer listed is returned; what came later is not watched.
func (w *activation) count(now client.Assignments) {
	if w.watched == nil {
		w.watched = map[string]bool{}
		for _, a := range now.Assignments {
			w.watched[key(a)] = true
		}
	}
	w.Activated, w.Failed, w.Waiting, w.Assignments = 0, 0, 0, w.Assignments[:0]
	for _, a := range now.Assignments {
		if !w.watched[key(a)] {
			continue
		}
		w.Assignments = append(w.Assignments, a)
		switch a.Phase {
		case client.Activated:
			w.Activated++
		case client.Failed:
			w.Failed++
		case client.Freed:
		default:
			w.Waiting++
		}
	}
	w.Returned = len(w.watched) - w.Activated - w.Failed - w.Waiting
}

// watchActivation follows the events until every assignment of the selected servers is settled, or time is up.
func (s *session) watchActivation(ctx context.Context, c *client.Client, selector string, limit time.Duration) error {
	look := func() (client.Assignments, error) {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		return c.Assignments(ctx, selector)
	}
	up := time.NewTimer(limit)
	defer up.Stop()
	w := activation{Assignments: []client.Assignment{}}
	now, err := look()
	if err != nil {
		return s.failed("watch the activation", err)
	}
	w.count(now)
	bar := s.newProgress("activating")
	following, stop := context.WithCancel(ctx)
	changed, ended := changes(following, c, now.Newest)
	var again <-chan time.Time // when to look once more after a look that reached nobody
	for late := false; w.Waiting > 0 && !late && err == nil; {
		bar.set(len(w.watched)-w.Waiting, len(w.watched))
		select {
		case <-changed:
		case <-again:
		case <-bar.due:
			bar.show()
			continue
		case err = <-ended:
			continue
		case <-up.C:
			late = true
			continue
		}
		again = nil
		now, err = look()
		if _, away := errors.AsType[*client.Unreachable](err); away && ctx.Err() == nil {
			again, err = time.After(pause), nil // it may be starting anew; the limit ends the patience
			continue
		}
		if err == nil {
			w.count(now)
		}
	}
	stop()
	for range ended { // it ends because we stopped it
	}
	bar.end(len(w.watched)-w.Waiting, len(w.watched))
	if shown := s.show(w, func(bool) string { return w.text() }); shown != nil {
		return shown
	}
	switch {
	case err != nil:
		return s.failed("watch the activation", err)
	case w.Waiting > 0:
		return &fault{
			doing: "watch the activation", code: exitDifferent,
			err:  fmt.Errorf("%s not settled after %s", plural(w.Waiting, "assignment"), limit),
			hint: "it goes on without being watched: licet status, licet assignment list",
		}
	case w.Failed > 0:
		return errDifferent
	}
	return nil
}

// text is what failed, and the counts as the last line.
func (w *activation) text() string {
	failed := &grid{columns: []column{{title: "SERVER"}, {title: "PRODUCT"}, {title: "CODE"}, {title: "REASON"}, {title: "NEXT"}}}
	for _, a := range w.Assignments {
		if a.Phase == client.Failed {
			failed.add(text(a.Name), text(a.PartNumber), toned(a.Code, bad), text(a.Reason), text(a.Hint))
		}
	}
	out := ""
	if len(failed.rows) > 0 {
		out = failed.render(false)
	}
	if w.Returned > 0 {
		out += fmt.Sprintf("returned %s\n", plural(w.Returned, "assignment"))
	}
	return out + fmt.Sprintf("activated=%d failed=%d\n", w.Activated, w.Failed)
}
