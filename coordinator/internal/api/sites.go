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

func (a *API) registerSites() {
	handle(a, operation{id: "import-sites", method: http.MethodPost, path: "/v1/sites", maxBody: maxYAML, summary: "Take over the sites of a file"},
		func(ctx context.Context, in *struct {
			RawBody []byte `contentType:"application/yaml"`
		},
		) (client.Imported, error) {
			return a.importSites(ctx, in.RawBody)
		})
	handle(a, operation{id: "list-sites", method: http.MethodGet, path: "/v1/sites", summary: "The sites and whose they are"},
		func(ctx context.Context, _ *struct{}) (client.Sites, error) { return a.sites(ctx) })
}

func (a *API) importSites(ctx context.Context, file []byte) (client.Imported, error) {
	parsed, err := fleet.ParseSites(file)
	if err != nil {
		return client.Imported{}, err
	}
	var did fleet.SitesResult
	err = a.o.DB.Update(ctx, func(tx *db.Tx) (err error) {
		if did, err = fleet.ImportSites(tx, audit.Operator, parsed); err != nil {
			return err
		}
		_, err = ledger.EnsureServers(tx)
		return err
	})
	return client.Imported{Added: did.Added, Changed: did.Changed, Unchanged: did.Unchanged}, err
}

func (a *API) sites(ctx context.Context) (client.Sites, error) {
	answer := client.Sites{Sites: []client.Site{}}
	err := a.o.DB.View(ctx, func(tx *db.Tx) error {
		answer.At = tx.Now()
		all, err := fleet.ListSites(tx)
		for _, s := range all {
			answer.Sites = append(answer.Sites, client.Site{
				ID: s.ID, Name: s.Name, Owner: s.Owner, TimeZone: s.TimeZone, Carriers: s.Carriers, Servers: s.Servers,
			})
		}
		return err
	})
	return answer, err
}
