package api

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// maxYAML bounds a catalog or a file of sites, in bytes; maxCSV an inventory.
const (
	maxYAML = 4 << 20
	maxCSV  = 16 << 20
)

func (a *API) registerCatalog() {
	handle(a, operation{id: "import-catalog", method: http.MethodPost, path: "/v1/catalog", maxBody: maxYAML, summary: "Take over the products of a catalog file"},
		func(ctx context.Context, in *struct {
			RawBody []byte `contentType:"application/yaml"`
		},
		) (client.Imported, error) {
			return a.importCatalog(ctx, in.RawBody)
		})
	handle(a, operation{id: "list-products", method: http.MethodGet, path: "/v1/products", summary: "The products of the catalog"},
		func(ctx context.Context, _ *struct{}) (client.Products, error) { return a.products(ctx) })
}

func (a *API) importCatalog(ctx context.Context, file []byte) (client.Imported, error) {
	parsed, err := catalog.Parse(file)
	if err != nil {
		return client.Imported{}, err
	}
	var summary catalog.Summary
	err = a.o.DB.Update(ctx, func(tx *db.Tx) (err error) {
		summary, err = catalog.Import(tx, audit.Operator, parsed)
		return err
	})
	return client.Imported{Added: summary.Added, Changed: summary.Changed, Unchanged: summary.Unchanged}, err
}

func (a *API) products(ctx context.Context) (client.Products, error) {
	answer := client.Products{Products: []client.Product{}}
	err := a.o.DB.View(ctx, func(tx *db.Tx) error {
		answer.At = tx.Now()
		all, err := catalog.List(tx)
		for _, p := range all {
			answer.Products = append(answer.Products, productOf(p))
		}
		return err
	})
	return answer, err
}

func productOf(p catalog.Product) client.Product {
	shown := client.Product{
		PartNumber: p.PartNumber, Name: p.Name, Types: p.AppliesTo.Types, MinVersion: p.AppliesTo.MinVersion,
		Placement: p.Placement, Scope: p.Scope, ExclusiveIn: p.ExclusiveIn, Excludes: p.Excludes, ManagedBy: p.ManagedBy,
	}
	for _, f := range p.Features {
		shown.Features = append(shown.Features, client.Feature(f))
	}
	if p.Unit != nil {
		unit := client.Unit(*p.Unit)
		shown.Unit = &unit
	}
	return shown
}
