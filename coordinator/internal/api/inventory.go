package api

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

func (a *API) registerInventory() {
	handle(a, operation{
		id: "import-servers", method: http.MethodPost, path: "/v1/servers/import", maxBody: maxCSV,
		summary: "Take over the servers of an inventory, or only say what would change",
	},
		func(ctx context.Context, in *struct {
			Check   bool   `query:"check" doc:"Only say what would change."`
			RawBody []byte `contentType:"text/csv"`
		},
		) (client.InventoryResult, error) {
			return a.importServers(ctx, in.RawBody, in.Check)
		})
}

func (a *API) importServers(ctx context.Context, file []byte, check bool) (client.InventoryResult, error) {
	inventory, err := fleet.ParseInventory(file)
	if err != nil {
		return client.InventoryResult{}, err
	}
	var did fleet.Result
	err = a.o.DB.Update(ctx, func(tx *db.Tx) (err error) {
		if did, err = fleet.ImportInventory(tx, audit.Operator, inventory, check); err != nil || check {
			return err
		}
		_, err = ledger.EnsureServers(tx)
		return err
	})
	answer := client.InventoryResult{Checked: check, Added: did.Added, Changed: did.Changed, Unchanged: did.Unchanged, Notes: did.Notes}
	for _, c := range did.Changes {
		answer.Changes = append(answer.Changes, client.InventoryLine{Row: c.Row, Server: c.Server, Change: c.String()})
	}
	return answer, err
}
