// Package fleet knows what is out there: sites and whose they are, agents and their sessions, BMS servers with what was
// last reported of them, and the language that selects servers.
//
// Rules are pure and stand in files that know no database; rows are in sql*.go, functions over *db.Tx that never open a
// transaction of their own.
package fleet

import (
	"maps"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Server is a BMS server: from the inventory, from an agent's report, or from both.
type Server struct {
	ID         string // "srv-" and 12 characters; never changes
	Name       string
	HostID     string // empty until imported or learned at first contact; then pinned
	HostIDType string
	TopicName  string // what it is called in topics; empty like HostID
	Type       string // EC, ES, AS-P, ...
	Role       string // protocol.RoleTop or RoleField
	Version    string // empty if the inventory does not say and nobody reported it
	Parent     string // ID of the server above; empty for a top server
	ParentName string
	System     string // name of the top server of its system; its own if it is one
	Site       string // empty: observed, and nothing can be assigned to it
	Owner      string // its site's
	Agent      string // who looks after it; empty until named or learned
	AgentNamed bool   // the inventory named the agent; else it is the first that reported the server
	Listed     bool   // it is in the inventory
	Address    string
	Driver     string
	TLSSHA256  string
	Labels     map[string]string

	CloneSuspected bool // two agents reported it, and the inventory names neither: frozen for changes

	ReportDigest exchange.Digest // of the newest report; empty: never reported
	ReportAt     time.Time       // the agent's own time of it
	ChangedAt    time.Time       // when a report last said something new
	LastSeen     time.Time       // when the newest report was last confirmed; zero: never
	Asked        string          // nonce of the newest question that was answered

	parentHost string // as reported, for servers that are not in the inventory
}

// attributeNames are what a Selector sees of a server besides its labels. A label cannot have one of these names.
var attributeNames = map[string]bool{
	"name": true, "host": true, "type": true, "role": true, "site": true, "owner": true, "version": true,
	"parent": true, "system": true, "agent": true,
}

// Attributes is what a Selector sees: the attributes that have a value, and the labels.
func (s Server) Attributes() map[string]string {
	attributes := make(map[string]string, len(s.Labels)+len(attributeNames))
	maps.Copy(attributes, s.Labels)
	for name, value := range map[string]string{
		"name": s.Name, "host": s.HostID, "type": s.Type, "role": s.Role, "site": s.Site, "owner": s.Owner,
		"version": s.Version, "parent": s.ParentName, "system": s.System, "agent": s.Agent,
	} {
		if value == "" {
			delete(attributes, name)
			continue
		}
		attributes[name] = value
	}
	return attributes
}
