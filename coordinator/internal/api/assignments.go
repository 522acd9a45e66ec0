package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

// adoptionTime is how long an operation waits for servers that are being adopted, unless its caller says otherwise.
const adoptionTime = 30 * time.Second

func (a *API) registerAssignments() {
	handle(a, operation{
		id: "assign", method: http.MethodPost, path: "/v1/assignments", wait: maxWait,
		summary: "Hold seats of a product for every selected server; all or nothing",
	},
		func(ctx context.Context, in *struct{ Body client.AssignRequest }) (client.AssignResult, error) {
			return a.assign(ctx, in.Body)
		})
	handle(a, operation{
		id: "unassign", method: http.MethodPost, path: "/v1/unassignments", wait: maxWait,
		summary: "Want nothing of a product any more; what was ordered already is a return",
	},
		func(ctx context.Context, in *struct{ Body client.UnassignRequest }) (client.UnassignResult, error) {
			return a.unassign(ctx, in.Body)
		})
	handle(a, operation{
		id: "activate", method: http.MethodPost, path: "/v1/activations", wait: maxWait,
		summary: "Order what is assigned on every selected server; what failed is tried again",
	},
		func(ctx context.Context, in *struct{ Body client.ActivateRequest }) (client.ActivateResult, error) {
			return a.activate(ctx, in.Body)
		})
	handle(a, operation{id: "list-assignments", method: http.MethodGet, path: "/v1/assignments", summary: "The assignments with their phases and conditions"},
		func(ctx context.Context, in *selection) (client.Assignments, error) {
			p, err := a.look(ctx, in.Select)
			return client.Assignments{At: p.at, Newest: p.newest, Assignments: p.all()}, err
		})
}

func (a *API) assign(ctx context.Context, r client.AssignRequest) (client.AssignResult, error) {
	wait, err := waitOf(r.Wait, adoptionTime)
	if err != nil {
		return client.AssignResult{}, err
	}
	var result ledger.Result
	err = a.whenAdopted(ctx, wait, func(tx *db.Tx) error {
		servers, err := meant(tx, r.Select)
		if err == nil {
			result, err = ledger.Assign(tx, audit.Operator, ledger.Request{Servers: servers, PartNumber: r.Product, Count: r.Count})
		}
		return err
	})
	return client.AssignResult{
		Servers: result.Servers, SeatsHeld: result.Held, Changed: result.Servers - result.Unchanged, Left: result.Left, Product: r.Product,
	}, err
}

func (a *API) unassign(ctx context.Context, r client.UnassignRequest) (client.UnassignResult, error) {
	var result ledger.Result
	err := a.whenAdopted(ctx, adoptionTime, func(tx *db.Tx) error {
		servers, err := meant(tx, r.Select)
		if err == nil {
			result, err = ledger.Unassign(tx, audit.Operator, ledger.Request{Servers: servers, PartNumber: r.Product, Count: r.Count})
		}
		return err
	})
	return client.UnassignResult{
		Servers: result.Servers, Changed: result.Servers - result.Unchanged, Freed: result.Freed, Returning: result.Returns, Product: r.Product,
	}, err
}

func (a *API) activate(ctx context.Context, r client.ActivateRequest) (client.ActivateResult, error) {
	var result ledger.Activation
	err := a.whenAdopted(ctx, adoptionTime, func(tx *db.Tx) error {
		servers, err := meant(tx, r.Select)
		if err == nil {
			result, err = ledger.Activate(tx, audit.Operator, servers)
		}
		return err
	})
	return client.ActivateResult{Servers: result.Servers, Assignments: result.Assignments, Retried: result.Retried, Returns: result.Returns}, err
}

// meant is the IDs of the servers that a change is for. None is a mistake, not a change of nothing.
func meant(tx *db.Tx, selector string) ([]string, error) {
	servers, err := selectServers(tx, selector)
	if err != nil {
		return nil, err
	}
	if len(servers) == 0 {
		return nil, notFound(fmt.Sprintf("no server is selected by %q", selector), "licet server list --select ... shows what a selector selects")
	}
	ids := make([]string, len(servers))
	for i, server := range servers {
		ids[i] = server.ID
	}
	return ids, nil
}

// whenAdopted changes something, and while servers are in the way of it that are being adopted, waits for them and tries
// again, woken by the change feed. When the time is up, the refusal stands.
func (a *API) whenAdopted(ctx context.Context, wait time.Duration, change func(tx *db.Tx) error) error {
	after, err := a.o.DB.Newest(ctx)
	if err != nil {
		return err
	}
	patience, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := a.o.DB.Update(ctx, change)
		adopting, ok := errors.AsType[*ledger.AdoptingError](err)
		if !ok {
			return err
		}
		waitedFor := make(map[string]bool, len(adopting.Servers))
		for _, id := range adopting.Servers {
			waitedFor[id] = true
		}
		var waited error
		after, waited = a.changed(patience, after, func(c db.Change) bool { return c.Kind == ledger.FeedKind && waitedFor[c.Key] })
		switch {
		case waited == nil:
		case ctx.Err() == nil && patience.Err() != nil:
			return err
		default:
			return waited
		}
	}
}

// waitOf reads how long a caller wants to wait.
func waitOf(text string, usual time.Duration) (time.Duration, error) {
	if text == "" {
		return usual, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, invalid("body.wait", fmt.Sprintf("wait is not a duration between 0s and %s", maxWait), `write for example "30s"`)
	}
	return wait, nil
}
