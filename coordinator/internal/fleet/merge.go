package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/licet-project/licet/shared/protocol"
)

// Change is what an import does to one server.
type Change struct {
	Row    int    // line of the file
	ID     string // of the server
	Server string // its name
	Added  bool   // else it is changed
	Fields []FieldChange
}

// FieldChange is one value that becomes another.
type FieldChange struct{ Name, From, To string }

// String is the change in a few words.
func (c Change) String() string {
	if c.Added {
		return "added"
	}
	fields := make([]string, len(c.Fields))
	for i, f := range c.Fields {
		fields[i] = fmt.Sprintf("%s: %s -> %s", f.Name, orNone(f.From), orNone(f.To))
	}
	return "changed " + strings.Join(fields, ", ")
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

// step is one row of an inventory as it meets the fleet.
type step struct {
	listed  Listed
	before  *Server // nil: the server is new
	after   Server
	absorbs *Server // an observed server whose host ID turns out to be this one's
	fields  []FieldChange
}

// merger works out what an inventory means for the fleet as it stands. It is pure.
type merger struct {
	inventory Inventory
	servers   []Server
	sites     map[string]Site
	newID     func() string

	byHost   map[string]*Server // by host ID: topics cannot tell two hosts apart whose ID is the same
	byName   map[string]*Server
	observed map[string][]*Server // reported only, with host ID, by name and type
	problems Problems
	notes    []string
}

// merge is a step for each row, in the order of the file. Its error is Problems.
func (m *merger) merge() ([]step, []string, error) {
	m.index()
	steps := m.match()
	for i := range steps {
		m.compose(&steps[i])
	}
	m.parents(steps)
	for i := range steps {
		steps[i].fields = m.differences(steps[i])
	}
	if err := m.problems.err(); err != nil {
		slices.SortStableFunc(m.problems, func(a, b Problem) int { return order(a) - order(b) })
		return nil, nil, m.problems
	}
	return steps, m.notes, nil
}

func placeKey(site, name string) string          { return site + "\x00" + name }
func nameAndType(name, serverType string) string { return serverType + "\x00" + name }

func (m *merger) index() {
	m.byHost, m.byName, m.observed = map[string]*Server{}, map[string]*Server{}, map[string][]*Server{}
	for i := range m.servers {
		s := &m.servers[i]
		if s.HostID != "" {
			m.byHost[hostKey(s.HostID)] = s
		}
		if s.Site != "" {
			m.byName[placeKey(s.Site, s.Name)] = s
		} else if !s.Listed && s.HostID != "" {
			key := nameAndType(s.Name, s.Type)
			m.observed[key] = append(m.observed[key], s)
		}
	}
}

// match finds the server of each row: by host ID, else by its name at its site. A server whose row says another name has
// left its old name to others.
func (m *merger) match() []step {
	steps := make([]step, len(m.inventory.Servers))
	taken := map[string]bool{}  // servers that a row has by their host ID
	unknown := map[string]int{} // rows that are looked for among the observed servers, by name and type
	for i, listed := range m.inventory.Servers {
		steps[i].listed = listed
		if listed.HostID != "" {
			if s := m.byHost[hostKey(listed.HostID)]; s != nil {
				if s.HostIDType != listed.HostIDType {
					m.problems.add(listed.Row, "host_id_type", "the host is known as %s, not %s", s.HostIDType, listed.HostIDType)
				}
				steps[i].before = s
				taken[s.ID] = true
				continue
			}
		}
		unknown[nameAndType(listed.Name, listed.Type)]++
	}
	for i := range steps {
		st := &steps[i]
		named := m.byName[placeKey(st.listed.Site, st.listed.Name)]
		if named != nil && taken[named.ID] {
			named = nil
		}
		switch {
		case st.before != nil && named == nil:
		case st.before != nil:
			m.join(st, named)
		case named != nil:
			st.before = named
		case st.listed.HostID == "" && unknown[nameAndType(st.listed.Name, st.listed.Type)] == 1:
			if s := m.recognize(st.listed); s != nil && !taken[s.ID] {
				st.before = s
			}
		}
	}
	return steps
}

// join is a row whose host ID and whose name are those of two servers. One that was only reported is the host of the other.
func (m *merger) join(st *step, named *Server) {
	reported := st.before
	if reported.Listed || reported.Site != "" || named.HostID != "" {
		m.problems.add(st.listed.Row, "host_id", "the host ID is that of %q, the name that of another server: %q at %s",
			reported.Name, named.Name, named.Site)
		return
	}
	if named.Agent != "" && named.Agent != reported.Agent {
		m.problems.add(st.listed.Row, "agent", "%s is to be looked after by %s, but %s reports its host", named.Name, named.Agent, reported.Agent)
		return
	}
	st.before, st.absorbs = named, reported
}

// recognize is the only observed server with the name and type, if it is the only one and the agent fits.
func (m *merger) recognize(listed Listed) *Server {
	found := m.observed[nameAndType(listed.Name, listed.Type)]
	for _, s := range m.servers {
		if s.Listed && s.HostID == "" && s.Name == listed.Name && s.Type == listed.Type {
			return nil // it may be that one's
		}
	}
	if len(found) != 1 || listed.Agent != "" && listed.Agent != found[0].Agent {
		return nil
	}
	return found[0]
}

// compose is the server after the import.
func (m *merger) compose(st *step) {
	listed, after := st.listed, &st.after
	if st.before == nil {
		st.after = Server{ID: m.newID()}
	} else {
		st.after = *st.before
	}
	site, known := m.sites[listed.Site]
	if !known {
		m.problems.add(listed.Row, "site", "there is no site %q: import the sites first", listed.Site)
	}
	after.Listed, after.Name, after.Role, after.Site, after.Owner = true, listed.Name, listed.Role, listed.Site, site.Owner
	m.host(st)
	m.agent(st)
	if after.ReportDigest == "" {
		after.Type = listed.Type
		if listed.Version != "" {
			after.Version = listed.Version
		}
	} else if after.Type != listed.Type {
		m.notes = append(m.notes, fmt.Sprintf("row %d: %s says of itself that it is %s, not %s", listed.Row, listed.Name, after.Type, listed.Type))
	}
	for _, column := range []struct {
		name  string
		value string
		into  *string
	}{{"address", listed.Address, &after.Address}, {"driver", listed.Driver, &after.Driver}, {"tls_sha256", listed.TLSSHA256, &after.TLSSHA256}} {
		if m.inventory.columns[column.name] {
			*column.into = column.value
		}
	}
	if m.inventory.columns["labels"] || after.Labels == nil {
		after.Labels = maps.Clone(listed.Labels)
	}
}

// host pins the host ID. One that is pinned never changes: another host is other hardware.
func (m *merger) host(st *step) {
	listed, after := st.listed, &st.after
	switch {
	case listed.HostID == "":
	case after.HostID == "":
		after.HostID, after.HostIDType = listed.HostID, listed.HostIDType
		after.TopicName = protocol.ServerName(listed.HostID)
		if r := st.absorbs; r != nil { // all that was reported, as the server itself has it
			after.HostID, after.TopicName, after.Agent, after.Type, after.Version = r.HostID, r.TopicName, r.Agent, r.Type, r.Version
			after.ReportDigest = r.ReportDigest
		}
	case hostKey(after.HostID) != hostKey(listed.HostID):
		m.problems.add(listed.Row, "host_id", "%s has the host ID %s (%s), and a host ID never changes: other hardware is another server",
			listed.Name, after.HostID, after.HostIDType)
	case after.ReportDigest == "":
		after.HostID, after.TopicName = listed.HostID, protocol.ServerName(listed.HostID)
	}
}

// agent names who looks after the server. One that has reported it cannot be replaced by a file: it may be at work.
func (m *merger) agent(st *step) {
	listed, after := st.listed, &st.after
	switch {
	case listed.Agent == "":
	case after.Agent != listed.Agent && after.Agent != "" && after.ReportDigest != "":
		m.problems.add(listed.Row, "agent", "%s is looked after by %s: stop that agent and unassign the server before another one takes over",
			listed.Name, after.Agent)
	default:
		if after.AgentNamed && after.Agent == listed.Agent {
			return
		}
		after.Agent, after.AgentNamed = listed.Agent, true
		after.CloneSuspected = false // the inventory says who is right
	}
}

// differences are what the import changes in the server.
func (m *merger) differences(st step) []FieldChange {
	if st.before == nil {
		return nil
	}
	a, b := *st.before, st.after
	var fields []FieldChange
	for _, f := range []FieldChange{
		{"name", a.Name, b.Name},
		{"type", a.Type, b.Type},
		{"role", a.Role, b.Role},
		{"parent", a.ParentName, b.ParentName},
		{"site", a.Site, b.Site},
		{"version", a.Version, b.Version},
		{"host_id", a.HostID, b.HostID},
		{"agent", a.Agent, b.Agent},
		{"address", a.Address, b.Address},
		{"driver", a.Driver, b.Driver},
		{"tls_sha256", a.TLSSHA256, b.TLSSHA256},
		{"labels", labelText(a.Labels), labelText(b.Labels)},
		{"listed", yes(a.Listed), yes(b.Listed)},
		{"agent_named", yes(a.AgentNamed), yes(b.AgentNamed)},
	} {
		if f.From != f.To {
			fields = append(fields, f)
		}
	}
	if len(fields) == 0 && a.Parent != b.Parent { // another server of the same name
		fields = append(fields, FieldChange{"parent", a.Parent, b.Parent})
	}
	return fields
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
