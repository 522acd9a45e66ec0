package api

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

func (a *API) registerEntitlements() {
	handle(a, operation{
		id: "import-entitlement", method: http.MethodPost, path: "/v1/entitlements", maxBody: client.MaxEntitlement + 1, // what is larger by one byte is refused by its own rule
		summary: "Import an entitlement certificate; the same one again changes nothing",
	},
		func(ctx context.Context, in *struct {
			Owner   string `query:"owner" maxLength:"255" doc:"Whose seats they are; without it, whom the certificate was sold to."`
			RawBody []byte `contentType:"text/html"`
		},
		) (client.EntitlementImported, error) {
			return a.importEntitlement(ctx, in.RawBody, in.Owner)
		})
	handle(a, operation{id: "list-entitlements", method: http.MethodGet, path: "/v1/entitlements", summary: "The entitlements with what is held and left"},
		func(ctx context.Context, _ *struct{}) (client.Entitlements, error) { return a.entitlements(ctx) })
}

func (a *API) importEntitlement(ctx context.Context, file []byte, owner string) (client.EntitlementImported, error) {
	certificate, err := entitlement.Parse(bytes.NewReader(file), entitlement.Options{Now: time.Now()})
	if err != nil {
		return client.EntitlementImported{}, err
	}
	var imported ledger.Imported
	err = a.o.DB.Update(ctx, func(tx *db.Tx) (err error) {
		imported, err = ledger.ImportEntitlement(tx, audit.Operator, certificate, owner)
		return err
	})
	return client.EntitlementImported{
		Ref: imported.Ref, EntitlementID: certificate.ID, Owner: imported.Owner, Lines: imported.Lines, Seats: imported.Seats,
		Unchanged: imported.Unchanged, Notes: certificate.Notes,
	}, err
}

func (a *API) entitlements(ctx context.Context) (client.Entitlements, error) {
	answer := client.Entitlements{Entitlements: []client.Entitlement{}}
	err := a.o.DB.View(ctx, func(tx *db.Tx) error {
		answer.At = tx.Now()
		all, err := ledger.Entitlements(tx)
		for _, e := range all {
			answer.Entitlements = append(answer.Entitlements, entitlementOf(e))
		}
		return err
	})
	return answer, err
}

func entitlementOf(e ledger.Entitlement) client.Entitlement {
	shown := client.Entitlement{
		Ref: e.Ref, EntitlementID: e.ID, Owner: e.Owner, SoldTo: e.SoldTo, OrderNumber: e.OrderNumber, Kind: e.Kind,
		Issued: moment(e.Issued), ImportedAt: e.ImportedAt, Lines: []client.EntitlementLine{},
	}
	for _, l := range e.Lines {
		shown.Lines = append(shown.Lines, client.EntitlementLine{
			Ref: l.Ref, ActivationID: l.Masked, PartNumber: l.PartNumber, Product: l.Product, Version: l.Version,
			Bought: l.Bought, Held: l.Held, Left: l.Left(), Starts: moment(l.Starts), Expires: lastDay(l.Expires),
		})
	}
	return shown
}

// lastDay is the last day of a line as its certificate says it; the ledger keeps the first instant of no use.
func lastDay(expires time.Time) *time.Time {
	if expires.IsZero() {
		return nil
	}
	return moment(expires.AddDate(0, 0, -1))
}
