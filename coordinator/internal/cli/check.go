package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

func (s *session) check() *cobra.Command {
	wait := 15 * time.Second
	command := &cobra.Command{
		Use: "check", Short: "compare ledger, servers and activation server", Args: cobra.NoArgs,
		Long: `check asks every agent for a fresh report, asks the activation server what it thinks every host holds, and compares
both with the ledger. Every disagreement is one mismatch, and makes the exit code 1.`,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := s.connect()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(command.Context(), callTime+wait)
			defer cancel()
			answer, err := c.Check(ctx, client.CheckRequest{Wait: wait.String()})
			if err != nil {
				return s.failed("check", err)
			}
			if err := s.show(answer, func(wide bool) string { return checkText(answer, wide) }); err != nil {
				return err
			}
			if len(answer.Mismatches) > 0 {
				return errDifferent
			}
			return nil
		},
	}
	command.Flags().DurationVar(&wait, "wait", wait, "how long to wait for fresh reports")
	return command
}

func checkText(answer client.CheckResult, wide bool) string {
	out := ""
	if len(answer.Mismatches) > 0 {
		g := &grid{columns: []column{
			{title: "SERVER"},
			{title: "HOST ID", wide: true},
			{title: "PRODUCT"},
			{title: "RIGHT", wide: true},
			{title: "LEDGER", right: true},
			{title: "SERVER SAYS", right: true},
			{title: "ACTIVATION SERVER", right: true},
			{title: "PHASE"},
			{title: "PROBLEM"},
		}}
		for _, m := range answer.Mismatches {
			product := text(m.PartNumber)
			if m.PartNumber == "" {
				product = text(m.Right)
			}
			g.add(text(m.Name), text(m.HostID), product, text(m.Right), said(m.Ledger), said(m.Reported), said(m.Activation), phase(m.Phase), toned(m.Problem, bad))
		}
		out = g.render(wide)
	}
	if !answer.ActivationServer {
		out += "the activation server was not asked: the coordinator knows none\n"
	}
	return out + fmt.Sprintf("servers=%d assignments=%d mismatches=%d\n", answer.Servers, answer.Assignments, len(answer.Mismatches))
}

// said is what somebody says, or that nobody was heard.
func said(n *int) cell {
	if n == nil {
		return cell{"-", faint}
	}
	return number(*n)
}
