package api

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

func (a *API) registerStatus() {
	handle(a, operation{id: "get-status", method: http.MethodGet, path: "/v1/status", summary: "The fleet at a glance"},
		func(ctx context.Context, _ *struct{}) (client.Status, error) { return a.status(ctx) })
}

func (a *API) status(ctx context.Context) (client.Status, error) {
	newest, err := a.o.DB.Newest(ctx)
	if err != nil {
		return client.Status{}, err
	}
	var status client.Status
	err = a.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		status, err = a.statusAt(tx, newest)
		return err
	})
	return status, err
}

// statusAt is the status of one instant.
func (a *API) statusAt(tx *db.Tx, newest int64) (client.Status, error) {
	servers, err := selectServers(tx, "")
	if err != nil {
		return client.Status{}, err
	}
	p, err := a.picture(tx, servers, newest)
	if err != nil {
		return client.Status{}, err
	}
	entitlements, err := ledger.Entitlements(tx)
	return a.statusOf(p, entitlements), err
}

// statusOf counts a picture of the whole fleet.
func (a *API) statusOf(p picture, entitlements []ledger.Entitlement) client.Status {
	status := client.Status{
		At: p.at, Version: a.o.Version, Newest: p.newest, Servers: len(p.servers),
		Presence: map[client.Presence]int{}, Phases: map[client.Phase]int{}, Conditions: map[string]int{},
	}
	sites := map[string]bool{}
	for _, server := range p.servers {
		status.Presence[server.Presence]++
		if server.Site != "" {
			sites[server.Site] = true
		}
		for _, c := range server.Conditions {
			status.Conditions[c]++
		}
		switch {
		case server.Reported == nil:
			status.Unreported++
		case status.Oldest == nil || server.Reported.Before(*status.Oldest):
			status.Oldest = server.Reported
		}
		for _, assignment := range p.assignments[server.ID] {
			if assignment.Want > 0 {
				status.Assignments++
			}
			if assignment.Phase != client.Freed {
				status.Phases[assignment.Phase]++
			}
			for _, c := range assignment.Conditions {
				status.Conditions[c]++
			}
		}
	}
	status.Sites = len(sites)
	for _, e := range entitlements {
		for _, l := range e.Lines {
			status.Seats.Bought += l.Bought
			status.Seats.Held += l.Held
			status.Seats.Left += max(l.Left(), 0)
		}
	}
	return status
}
