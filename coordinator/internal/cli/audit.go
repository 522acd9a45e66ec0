package cli

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

func (s *session) audit() *cobra.Command {
	var after int64
	limit := 0
	list := &cobra.Command{
		Use: "list", Short: "list who changed what, oldest first", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := s.connect()
			if err != nil {
				return err
			}
			answer, err := readAudit(command.Context(), c, after, limit)
			if err != nil {
				return s.failed("read the audit record", err)
			}
			return s.show(answer, auditTable(answer).render)
		},
	}
	list.Flags().Int64Var(&after, "after", 0, "begin after the entry with this ID")
	list.Flags().IntVar(&limit, "limit", 0, "at most so many entries (default all)")
	return noun("audit", "the record of every change", list)
}

// readAudit reads page after page until the end or the limit.
func readAudit(ctx context.Context, c *client.Client, after int64, limit int) (client.Audit, error) {
	all := client.Audit{Entries: []client.AuditEntry{}}
	for {
		page := 1000
		if limit > 0 {
			page = min(page, limit-len(all.Entries))
		}
		ctx, cancel := context.WithTimeout(ctx, callTime)
		answer, err := c.Audit(ctx, after, page)
		cancel()
		if err != nil {
			return all, err
		}
		all.At, all.More = answer.At, answer.More
		all.Entries = append(all.Entries, answer.Entries...)
		if !answer.More || len(answer.Entries) == 0 || limit > 0 && len(all.Entries) >= limit {
			return all, nil
		}
		after = answer.Entries[len(answer.Entries)-1].ID
	}
}

func auditTable(answer client.Audit) *grid {
	g := &grid{empty: "no entries", columns: []column{
		{title: "ID", right: true}, {title: "AT"}, {title: "ACTOR"}, {title: "ACTION"}, {title: "SUBJECT"}, {title: "DETAIL"},
	}}
	for _, e := range answer.Entries {
		detail, err := json.Marshal(e.Detail)
		if err != nil || len(e.Detail) == 0 {
			detail = nil
		}
		g.add(number(int(e.ID)), text(e.At.UTC().Format(time.DateTime)), text(e.Actor), text(e.Action), text(e.Subject), toned(string(detail), faint))
	}
	return g
}
