package api

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
)

func (a *API) registerHealth() {
	handle(a, operation{
		id: "get-health", method: http.MethodGet, path: "/v1/health",
		summary: "Whether the coordinator serves and reaches its database",
	},
		func(ctx context.Context, _ *struct{}) (client.Health, error) {
			err := a.o.DB.View(ctx, func(tx *db.Tx) error {
				var one int
				return tx.QueryRow(`SELECT 1`).Scan(&one)
			})
			return client.Health{Status: "ok", Version: a.o.Version}, err
		})
}
