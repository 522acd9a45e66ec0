package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

// callTime is how long the coordinator may take to answer, waiting on behalf of the operator left out.
const callTime = time.Minute

func (s *session) assign() *cobra.Command {
	var r client.AssignRequest
	wait := 30 * time.Second
	command := &cobra.Command{
		Use: "assign --select SELECTOR --product PART-NUMBER --count N", Args: cobra.NoArgs,
		Short: "hold seats of a product for every selected server",
		Long: `assign holds seats: nobody else gets them, and nothing is sent to a server before "licet activate". The count is
absolute for each server, and may be changed by assigning again. If anything does not fit, nothing is held at all.`,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := s.connect()
			if err != nil {
				return err
			}
			r.Wait = wait.String()
			ctx, cancel := context.WithTimeout(command.Context(), callTime+wait)
			defer cancel()
			answer, err := c.Assign(ctx, r)
			if err != nil {
				return s.failed("assign "+clean(r.Product), err)
			}
			return s.show(answer, func(bool) string {
				return fmt.Sprintf("assigned %s, %s held, %d left\n", plural(answer.Servers, "server"), plural(answer.SeatsHeld, "seat"), answer.Left)
			})
		},
	}
	selectFlag(command, &r.Select)
	command.Flags().StringVar(&r.Product, "product", "", "part number of the product")
	command.Flags().IntVar(&r.Count, "count", 1, "how many licenses each server holds")
	command.Flags().DurationVar(&wait, "wait", wait, "how long to wait for servers that are being taken over")
	required(command, "select", "product")
	return command
}

func (s *session) unassign() *cobra.Command {
	var r client.UnassignRequest
	all := false
	command := &cobra.Command{
		Use: "unassign --select SELECTOR --product PART-NUMBER", Args: cobra.NoArgs,
		Short: "give back what is held; what was ordered already is a return",
		Long: `unassign takes a product away from every selected server, or lowers it to a count. Seats for which nothing was ordered
are free at once. What was ordered already is a return: the servers' agents are told at once, and the seats stay held
until the activation server's receipt is here.`,
		RunE: func(command *cobra.Command, _ []string) error {
			if all == (r.Product != "") {
				return errors.New("say what to take away: either --product or --all")
			}
			c, err := s.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), 2*callTime)
			defer cancel()
			answer, err := c.Unassign(ctx, r)
			if err != nil {
				return s.failed("unassign "+clean(cmp.Or(r.Product, "every product")), err)
			}
			return s.show(answer, func(bool) string { return unassignText(answer) })
		},
	}
	selectFlag(command, &r.Select)
	command.Flags().StringVar(&r.Product, "product", "", "part number of the product")
	command.Flags().IntVar(&r.Count, "count", 0, "how many licenses of it each server keeps")
	command.Flags().BoolVar(&all, "all", false, "every product")
	required(command, "select")
	return command
}

func unassignText(answer client.UnassignResult) string {
	out := ""
	if answer.Returning > 0 {
		out = fmt.Sprintf("a return has begun: %s held until the activation server's receipt; licet status shows how far it is\n",
			plural(answer.Returning, "seat"))
	}
	return out + fmt.Sprintf("unassigned %s, %s freed, %d returning\n", plural(answer.Changed, "server"), plural(answer.Freed, "seat"), answer.Returning)
}

func (s *session) assignment() *cobra.Command {
	selector := ""
	list := &cobra.Command{
		Use: "list", Short: "list assignments with their phases", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listed(command.Context(), s, "list the assignments", func(c *client.Client, ctx context.Context) (client.Assignments, error) {
				return c.Assignments(ctx, selector)
			}, func(answer client.Assignments) *grid { return assignmentTable(answer.Assignments, true) })
		},
	}
	selectFlag(list, &selector)
	return noun("assignment", "who holds which seats", list)
}

// assignmentTable shows assignments; of one server, its name needs no column.
func assignmentTable(all []client.Assignment, names bool) *grid {
	g := &grid{empty: "no assignments", columns: []column{
		{title: "SERVER"},
		{title: "SITE"},
		{title: "PRODUCT"},
		{title: "ACTIVATION ID", wide: true},
		{title: "LINE", wide: true},
		{title: "WANT", right: true},
		{title: "ORDERED", right: true, wide: true},
		{title: "EXPOSED", right: true, wide: true},
		{title: "PROVED", right: true},
		{title: "HELD", right: true, wide: true},
		{title: "PHASE"},
		{title: "CONDITIONS"},
		{title: "REASON"},
	}}
	for _, a := range all {
		g.add(text(a.Name), text(a.Site), text(a.PartNumber), text(a.ActivationID), text(a.Line), number(a.Want), number(a.Ordered),
			number(a.Exposed), number(a.Proved), number(a.Held), phase(a.Phase), conditions(a.Conditions), toned(a.Reason, bad))
	}
	if !names {
		g.columns = g.columns[2:]
		for i := range g.rows {
			g.rows[i] = g.rows[i][2:]
		}
	}
	return g
}

func phase(p client.Phase) cell {
	switch p {
	case client.Activated:
		return toned(string(p), good)
	case client.Failed:
		return toned(string(p), bad)
	case client.Assigned, client.Freed:
		return text(string(p))
	}
	return toned(string(p), busy)
}

// required marks flags that must be given, though their value may be empty.
func required(command *cobra.Command, names ...string) {
	for _, name := range names {
		_ = command.MarkFlagRequired(name) // it fails for a flag that was not declared; tests show that each is required
	}
}
