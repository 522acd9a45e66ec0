package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

// conditionUnknown is a server of which no fresh fact is known: what is shown of it may be long over.
const conditionUnknown = "unknown"

// sourceOwn is how a report names a license of the server's own.
const sourceOwn = "own"

// picture is a selection of servers with everything about them, of one instant.
type picture struct {
	at          time.Time
	newest      int64 // of the change feed, taken before anything else
	servers     []client.Server
	assignments map[string][]client.Assignment // by server; what is freed and as it should be is left out
}

// look takes a picture of the selected servers.
func (a *API) look(ctx context.Context, selector string) (picture, error) {
	var p picture
	var err error
	if p.newest, err = a.o.DB.Newest(ctx); err != nil {
		return p, err
	}
	err = a.o.DB.View(ctx, func(tx *db.Tx) error {
		servers, err := selectServers(tx, selector)
		if err != nil {
			return err
		}
		p, err = a.picture(tx, servers, p.newest)
		return err
	})
	return p, err
}

// selectServers is fleet.Select over the text of a selector.
func selectServers(tx *db.Tx, selector string) ([]fleet.Server, error) {
	parsed, err := fleet.ParseSelector(selector)
	if err != nil {
		return nil, err
	}
	return fleet.Select(tx, parsed)
}

func (a *API) picture(tx *db.Tx, servers []fleet.Server, newest int64) (picture, error) {
	p := picture{at: tx.Now(), newest: newest, servers: []client.Server{}, assignments: map[string][]client.Assignment{}}
	agents, err := fleet.Agents(tx)
	if err != nil {
		return p, err
	}
	ids := make([]string, len(servers))
	for i, server := range servers {
		ids[i] = server.ID
	}
	seen := map[string]ledger.Server{}
	if len(ids) > 0 { // to the ledger, none named means all
		known, err := ledger.View(tx, ids...)
		if err != nil {
			return p, err
		}
		for _, server := range known {
			seen[server.ID] = server
		}
	}
	for _, server := range servers {
		shown := a.serverOf(server, agents[server.Agent], seen[server.ID], p.at)
		p.servers = append(p.servers, shown)
		for _, assignment := range seen[server.ID].Assignments {
			if assignment.Phase != ledger.Freed || len(assignment.Conditions) > 0 {
				p.assignments[server.ID] = append(p.assignments[server.ID], assignmentOf(shown, seen[server.ID], assignment))
			}
		}
	}
	return p, nil
}

// all is every assignment, in the order of the servers.
func (p picture) all() []client.Assignment {
	all := []client.Assignment{}
	for _, server := range p.servers {
		all = append(all, p.assignments[server.ID]...)
	}
	return all
}

// serverOf is a server as it travels. The zero ledger.Server is one that the ledger does not know.
func (a *API) serverOf(s fleet.Server, agent fleet.Agent, known ledger.Server, now time.Time) client.Server {
	shown := client.Server{
		ID: s.ID, HostID: s.HostID, HostIDType: s.HostIDType, Name: s.Name, Type: s.Type, Role: s.Role, Parent: s.ParentName,
		Site: s.Site, Owner: s.Owner, Version: s.Version, Labels: s.Labels, Agent: s.Agent,
		Presence: client.Presence(agent.Presence(now, a.o.Heartbeat)), Heard: moment(agent.Seen), Reported: moment(s.LastSeen),
		Adopting: slices.Contains(known.Conditions, ledger.IsAdopting),
	}
	for _, c := range known.Conditions {
		shown.Conditions = append(shown.Conditions, string(c))
	}
	clone := string(ledger.CloneSuspected)
	if (s.CloneSuspected || agent.CloneSuspected) && !slices.Contains(shown.Conditions, clone) {
		shown.Conditions = append(shown.Conditions, clone)
	}
	if fresh := shown.Presence == client.Connected || shown.Presence == client.Suspect; !fresh || s.LastSeen.IsZero() {
		shown.Conditions = append(shown.Conditions, conditionUnknown)
	}
	return shown
}

// assignmentOf is an assignment as it travels.
func assignmentOf(s client.Server, known ledger.Server, l ledger.Assignment) client.Assignment {
	shown := client.Assignment{
		Server: s.ID, HostID: s.HostID, Name: s.Name, Site: s.Site, Line: l.Line, ActivationID: l.Masked, PartNumber: l.PartNumber,
		Want: l.Want, Ordered: l.Ordered, Exposed: l.Exposed, Proved: l.Proved, Held: l.Held(), Phase: client.Phase(l.Phase),
	}
	if l.Phase == ledger.Failed {
		meaning := l.Code.Meaning()
		shown.Code, shown.Reason, shown.Hint = string(l.Code), meaning.Text, meaning.Hint
	}
	for _, c := range l.Conditions {
		shown.Conditions = append(shown.Conditions, string(c))
	}
	if l.Proved > 0 {
		shown.Proof = "signed"
	}
	if l.ProvedBy == known.Order {
		shown.ProvedAt = moment(known.SettledAt)
	}
	return shown
}

// addDetails adds what was last reported of a server to how it is shown, and returns its License Information.
func addDetails(tx *db.Tx, shown *client.Server) ([]client.License, error) {
	licenses := []client.License{}
	details, found, err := fleet.GetDetails(tx, shown.ID)
	if err != nil || !found {
		return licenses, err
	}
	shown.Unanswered = details.Facts.Unanswered
	for _, l := range details.Licenses {
		license := client.License{
			Feature: l.Feature, Required: l.Required, Used: l.Used, Available: l.Available, Activated: l.Activated, Expires: l.Expires,
			Violation: slices.Contains(details.Facts.Violations, l.Feature),
		}
		if l.Source != sourceOwn && l.Source != shown.HostID {
			license.Source = l.Source
		}
		licenses = append(licenses, license)
	}
	return licenses, nil
}

// moment is a time that may be unknown.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// findServer is the server with the host ID, or with the ID that Licet gave it.
func findServer(tx *db.Tx, name string) (fleet.Server, error) {
	server, found, err := fleet.Get(tx, name)
	if err == nil && !found {
		server, found, err = fleet.ByHost(tx, name)
	}
	if err == nil && !found {
		err = notFound(fmt.Sprintf("no server has the host ID %q", name), "licet server list shows all")
	}
	return server, err
}
