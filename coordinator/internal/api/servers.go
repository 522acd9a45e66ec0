package api

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
)

// selection is a query that selects servers.
type selection struct {
	Select string `query:"select" maxLength:"4096" doc:"Which servers: key=value, key!=value, key in (a, b), key; joined by commas. Empty selects all."`
}

func (a *API) registerServers() {
	handle(a, operation{id: "list-servers", method: http.MethodGet, path: "/v1/servers", summary: "The servers and the presence of their agents"},
		func(ctx context.Context, in *selection) (client.Servers, error) {
			p, err := a.look(ctx, in.Select)
			return client.Servers{At: p.at, Servers: p.servers}, err
		})
	handle(a, operation{id: "get-server", method: http.MethodGet, path: "/v1/servers/{host_id}", summary: "Everything about one server"},
		func(ctx context.Context, in *struct {
			HostID string `path:"host_id" maxLength:"255" doc:"Its host ID, or the ID that Licet gave it."`
		},
		) (client.ServerDetail, error) {
			return a.server(ctx, in.HostID)
		})
}

func (a *API) server(ctx context.Context, name string) (client.ServerDetail, error) {
	var detail client.ServerDetail
	err := a.o.DB.View(ctx, func(tx *db.Tx) error {
		server, err := findServer(tx, name)
		if err != nil {
			return err
		}
		p, err := a.picture(tx, []fleet.Server{server}, 0)
		if err != nil {
			return err
		}
		detail = client.ServerDetail{At: p.at, Server: p.servers[0], Assignments: p.all()}
		detail.Licenses, err = addDetails(tx, &detail.Server)
		return err
	})
	return detail, err
}
