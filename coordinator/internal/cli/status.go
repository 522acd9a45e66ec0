package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

func (s *session) status() *cobra.Command {
	watch := false
	command := &cobra.Command{
		Use: "status", Short: "the fleet at a glance: presence, phases, seats, conditions", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := s.connect()
			if err != nil {
				return err
			}
			if watch {
				return s.watchStatus(command.Context(), c)
			}
			now, err := s.glance(command.Context(), c)
			if err != nil {
				return s.failed("read the status", err)
			}
			return s.show(now.Status, now.text)
		},
	}
	command.Flags().BoolVar(&watch, "watch", false, "go on and show every change")
	return command
}

// glance is the status, and for people every server below it.
type glance struct {
	client.Status
	servers     client.Servers
	assignments client.Assignments
}

func (s *session) glance(ctx context.Context, c *client.Client) (glance, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var g glance
	var err error
	if g.Status, err = c.Status(ctx); err != nil || !s.people() {
		return g, err
	}
	if g.servers, err = c.Servers(ctx, ""); err != nil {
		return g, err
	}
	g.assignments, err = c.Assignments(ctx, "")
	return g, err
}

func (g glance) text(wide bool) string {
	summary := &grid{columns: []column{{title: "WHAT"}, {title: "COUNT", right: true}, {title: "OF WHICH"}}}
	summary.add(text("servers"), number(g.Servers), text(tally(g.Presence, []client.Presence{
		client.Connected, client.Suspect, client.Silent, client.Stopped, client.NeverSeen,
	})))
	summary.add(text("assignments"), number(g.Assignments), text(tally(g.Phases, client.Phases())))
	summary.add(text("seats"), number(g.Seats.Bought), text(fmt.Sprintf("%d held, %d left", g.Seats.Held, g.Seats.Left)))
	if len(g.Conditions) > 0 {
		all := 0
		for _, n := range g.Conditions {
			all += n
		}
		summary.add(text("conditions"), number(all), toned(tally(g.Conditions, slices.Sorted(maps.Keys(g.Conditions))), busy))
	}
	return summary.render(wide) + "\n" + g.serverTable().render(wide) + "\n" + g.freshness() + "\n"
}

// freshness says how old the oldest fact above is.
func (g glance) freshness() string {
	switch {
	case g.Servers == 0:
		return "no servers yet: licet server import FILE"
	case g.Oldest == nil:
		return "no server has reported yet"
	case g.Unreported > 0:
		return fmt.Sprintf("the oldest report came %s; %s never reported", ago(g.At, g.Oldest).text, plural(g.Unreported, "server"))
	}
	return "every server was heard of; the longest silence is " + age(g.At, g.Oldest).text
}

// serverTable is every server with what its licenses are at.
func (g glance) serverTable() *grid {
	phases := map[string]map[client.Phase]int{}
	conditionsOf := map[string][]string{}
	for _, a := range g.assignments.Assignments {
		if phases[a.Server] == nil {
			phases[a.Server] = map[client.Phase]int{}
		}
		phases[a.Server][a.Phase]++
		conditionsOf[a.Server] = append(conditionsOf[a.Server], a.Conditions...)
	}
	t := &grid{empty: "no servers", columns: []column{
		{title: "SERVER"},
		{title: "SITE"},
		{title: "TYPE", wide: true},
		{title: "AGENT", wide: true},
		{title: "PRESENCE"},
		{title: "HEARD", right: true},
		{title: "REPORTED", right: true},
		{title: "LICENSES"},
		{title: "CONDITIONS"},
	}}
	for _, server := range g.servers.Servers {
		licenses := cell{tally(phases[server.ID], client.Phases()), good}
		if phases[server.ID][client.Activated] != sum(phases[server.ID]) {
			licenses.tone = busy
		}
		if phases[server.ID][client.Failed] > 0 {
			licenses.tone = bad
		}
		if licenses.text == "" {
			licenses = cell{"none", faint}
		}
		all := append(slices.Clone(server.Conditions), conditionsOf[server.ID]...)
		slices.Sort(all)
		t.add(text(server.Name), text(server.Site), text(server.Type), text(server.Agent), presence(server.Presence),
			age(g.servers.At, server.Heard), age(g.servers.At, server.Reported), licenses, conditions(slices.Compact(all)))
	}
	return t
}

// line is the status in one line, for a log.
func (g glance) line() string {
	parts := []string{fmt.Sprintf("servers=%d", g.Servers), fmt.Sprintf("connected=%d", g.Presence[client.Connected])}
	for _, p := range client.Phases() {
		if n := g.Phases[p]; n > 0 || p == client.Activated || p == client.Failed {
			parts = append(parts, fmt.Sprintf("%s=%d", p, n))
		}
	}
	return strings.Join(parts, " ")
}

// watchStatus shows the status again after every change, until it is interrupted.
func (s *session) watchStatus(ctx context.Context, c *client.Client) error {
	if terminal := s.terminal(); terminal != nil {
		return s.live(ctx, c, terminal)
	}
	last := ""
	err := s.each(ctx, c, func(now glance) error {
		if !s.people() {
			return s.show(now.Status, nil)
		}
		line := now.line()
		if line == last {
			return nil
		}
		last = line
		_, err := io.WriteString(s.out, line+"\n")
		return err
	})
	if errors.Is(err, context.Canceled) {
		return nil // the usual end
	}
	return s.failed("watch the status", err)
}

// refresh is how often a watch looks although nothing was told: facts age, and silence is no event.
const refresh = 10 * time.Second

// each calls show with the status now, after every change and now and then, until ctx ends, show fails or the coordinator
// refuses. While the coordinator cannot be reached, what was shown last stays.
func (s *session) each(ctx context.Context, c *client.Client, show func(glance) error) error {
	now, err := s.glance(ctx, c)
	if err == nil {
		err = show(now)
	}
	if err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	changed, ended := changes(following, c, now.Newest)
	clock := time.NewTicker(refresh)
	defer clock.Stop()
	for {
		select {
		case err := <-ended:
			stop()
			return err
		case <-changed:
		case <-clock.C:
		}
		if now, err = s.glance(ctx, c); err == nil {
			err = show(now)
		}
		if broken := (*client.Unreachable)(nil); err != nil && (ctx.Err() != nil || !errors.As(err, &broken)) {
			stop()
			for range ended { // it ends because we stopped it
			}
			return err
		}
	}
}

func sum[K comparable](counts map[K]int) int {
	all := 0
	for _, n := range counts {
		all += n
	}
	return all
}

// tally is counts in a given order, those above zero.
func tally[K ~string](counts map[K]int, order []K) string {
	var parts []string
	for _, k := range order {
		if counts[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
		}
	}
	return strings.Join(parts, ", ")
}
