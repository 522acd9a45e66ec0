package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

func (s *session) serverCommand() *cobra.Command {
	return noun("server", "the BMS servers", s.serverImport(), s.serverList(), s.serverShow())
}

func (s *session) serverImport() *cobra.Command {
	check := false
	command := &cobra.Command{
		Use: "import FILE", Short: "take over the servers of a CSV file", Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			content, err := s.read(args[0])
			if err != nil {
				return err
			}
			c, err := s.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), callTime)
			defer cancel()
			answer, err := c.ImportServers(ctx, content, check)
			if err != nil {
				return s.failed("import the servers", err)
			}
			return s.show(answer, func(wide bool) string { return inventoryText(answer, wide) })
		},
	}
	command.Flags().BoolVar(&check, "check", false, "only say what would change")
	return command
}

func inventoryText(answer client.InventoryResult, wide bool) string {
	var out strings.Builder
	if len(answer.Changes) > 0 && (answer.Checked || wide) {
		g := &grid{columns: []column{{title: "LINE", right: true}, {title: "SERVER"}, {title: "CHANGE"}}}
		for _, line := range answer.Changes {
			g.add(number(line.Row), text(line.Server), text(line.Change))
		}
		out.WriteString(g.render(wide))
	}
	notes(&out, answer.Notes)
	verb := "imported"
	if answer.Checked {
		verb = "checked, nothing changed:"
	}
	all := answer.Added + answer.Changed + answer.Unchanged
	fmt.Fprintf(&out, "%s %s: %d added, %d changed, %d unchanged\n", verb, plural(all, "server"), answer.Added, answer.Changed, answer.Unchanged)
	return out.String()
}

func (s *session) serverList() *cobra.Command {
	selector := ""
	command := &cobra.Command{
		Use: "list", Short: "list servers and the presence of their agents", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listed(command.Context(), s, "list the servers", func(c *client.Client, ctx context.Context) (client.Servers, error) {
				return c.Servers(ctx, selector)
			}, serverTable)
		},
	}
	selectFlag(command, &selector)
	return command
}

func serverTable(answer client.Servers) *grid {
	g := &grid{empty: "no servers", columns: []column{
		{title: "NAME"},
		{title: "HOST ID"},
		{title: "TYPE"},
		{title: "ROLE"},
		{title: "SITE"},
		{title: "VERSION"},
		{title: "PARENT", wide: true},
		{title: "OWNER", wide: true},
		{title: "LABELS", wide: true},
		{title: "AGENT", wide: true},
		{title: "PRESENCE"},
		{title: "HEARD", right: true},
		{title: "REPORTED", right: true},
		{title: "CONDITIONS"},
		{title: "ID", wide: true},
	}}
	for _, server := range answer.Servers {
		g.add(text(server.Name), hostID(server.HostID), text(server.Type), text(server.Role), text(server.Site), text(server.Version),
			text(server.Parent), text(server.Owner), text(labels(server.Labels)), text(server.Agent), presence(server.Presence),
			age(answer.At, server.Heard), age(answer.At, server.Reported), conditions(server.Conditions), text(server.ID))
	}
	return g
}

func (s *session) serverShow() *cobra.Command {
	return &cobra.Command{
		Use: "show HOST-ID", Short: "show a server with its licenses", Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			c, err := s.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), callTime)
			defer cancel()
			answer, err := c.Server(ctx, args[0])
			if err != nil {
				return s.failed("show "+clean(args[0]), err)
			}
			return s.show(answer, func(wide bool) string { return serverText(answer, wide) })
		},
	}
}

func serverText(answer client.ServerDetail, wide bool) string {
	server := answer.Server
	facts := &grid{columns: []column{{title: "SERVER"}, {title: server.Name}}}
	fact := func(name string, value cell) {
		if value.text != "" {
			facts.add(cell{name, faint}, value)
		}
	}
	fact("host ID", hostID(server.HostID))
	fact("host ID type", text(server.HostIDType))
	fact("type", text(server.Type))
	fact("version", text(server.Version))
	fact("role", text(server.Role))
	fact("parent", text(server.Parent))
	fact("site", text(server.Site))
	fact("owner", text(server.Owner))
	fact("labels", text(labels(server.Labels)))
	fact("agent", text(server.Agent))
	fact("presence", presence(server.Presence))
	fact("heard", ago(answer.At, server.Heard))
	fact("reported", ago(answer.At, server.Reported))
	fact("unanswered", toned(server.Unanswered, bad))
	fact("conditions", conditions(server.Conditions))
	fact("ID", text(server.ID))
	parts := []string{facts.render(wide), licenseTable(answer).render(wide), assignmentTable(answer.Assignments, false).render(wide)}
	return strings.Join(parts, "\n")
}

func licenseTable(answer client.ServerDetail) *grid {
	g := &grid{empty: "no license information was reported yet", columns: []column{
		{title: "FEATURE"},
		{title: "REQUIRED", right: true},
		{title: "USED", right: true},
		{title: "AVAILABLE", right: true},
		{title: "ACTIVATED", right: true},
		{title: "EXPIRES"},
		{title: "SOURCE"},
		{title: "VIOLATION"},
	}}
	for _, l := range answer.Licenses {
		violation := cell{"no", faint}
		if l.Violation {
			violation = cell{"yes", bad}
		}
		g.add(text(l.Feature), number(l.Required), number(l.Used), number(l.Available), number(l.Activated),
			day(l.Expires, "permanent"), text(l.Source), violation)
	}
	return g
}

// ago is an age in a sentence.
func ago(at time.Time, fact *time.Time) cell {
	c := age(at, fact)
	if fact != nil && !fact.IsZero() {
		c.text += " ago"
	}
	return c
}

func hostID(id string) cell {
	if id == "" {
		return cell{"not met yet", faint}
	}
	return text(id)
}

func presence(p client.Presence) cell {
	switch p {
	case client.Connected:
		return toned(string(p), good)
	case client.Suspect, client.Stopped:
		return toned(string(p), busy)
	case client.Silent:
		return toned(string(p), bad)
	}
	return toned(string(p), faint)
}

func conditions(all []string) cell {
	if len(all) == 0 {
		return cell{"-", faint}
	}
	return toned(strings.Join(all, " "), busy)
}

func labels(all map[string]string) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		texts = append(texts, key+"="+all[key])
	}
	return strings.Join(texts, ";")
}

// selectFlag adds --select with its language.
func selectFlag(command *cobra.Command, into *string) {
	command.Flags().StringVar(into, "select", "", `which servers: key=value, key!=value, key in (a, b), key; joined by commas; "" selects all`)
}
