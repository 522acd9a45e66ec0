package api

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

func (a *API) registerAudit() {
	handle(a, operation{id: "list-audit", method: http.MethodGet, path: "/v1/audit", summary: "Who changed what, oldest first"},
		func(ctx context.Context, in *struct {
			After int64 `query:"after" minimum:"0" doc:"Begin after the entry with this ID."`
			Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many entries."`
		},
		) (client.Audit, error) {
			answer := client.Audit{Entries: []client.AuditEntry{}}
			err := a.o.DB.View(ctx, func(tx *db.Tx) error {
				answer.At = tx.Now()
				rows, err := audit.List(tx, in.After, in.Limit+1)
				answer.More = len(rows) > in.Limit
				for _, row := range rows[:min(len(rows), in.Limit)] {
					answer.Entries = append(answer.Entries, client.AuditEntry{
						ID: row.ID, At: row.At, Actor: string(row.Actor), Action: row.Action, Subject: row.Subject, Detail: row.Detail,
					})
				}
				return err
			})
			return answer, err
		})
}
