package fleet

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// drawInventory is a file over few names, sites and hosts, so that everything meets everything.
func drawInventory(t *rapid.T) Inventory {
	inventory := Inventory{columns: map[string]bool{"labels": true, "agent": true}}
	names, hosts := map[string]bool{}, map[string]bool{}
	for i := range rapid.IntRange(1, 5).Draw(t, "rows") {
		listed := Listed{
			Row: i + 2, Name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), Site: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "site"),
			Type: rapid.SampledFrom([]string{"EC", "ES", "AS-P"}).Draw(t, "type"), Role: protocol.RoleTop,
			HostID: rapid.SampledFrom([]string{"", "", "h1", "H1", "h2", "h3"}).Draw(t, "host"), Agent: rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "agent"),
			Labels: map[string]string{"l": rapid.SampledFrom([]string{"1", "2"}).Draw(t, "label")},
		}
		if rapid.Bool().Draw(t, "field") {
			listed.Role, listed.Parent = protocol.RoleField, rapid.SampledFrom([]string{"a", "b", "c", "y/a"}).Draw(t, "parent")
		}
		if listed.HostID != "" {
			listed.HostIDType = "ETHERNET"
		}
		if names[placeKey(listed.Site, listed.Name)] || listed.HostID != "" && hosts[hostKey(listed.HostID)] {
			continue // ParseInventory refuses it
		}
		names[placeKey(listed.Site, listed.Name)], hosts[hostKey(listed.HostID)] = true, true
		inventory.Servers = append(inventory.Servers, listed)
	}
	return inventory
}

// TestMergeProperties imports random files into a fleet that also hears random reports. Whatever is accepted keeps every
// ID, gives no name and no host twice, and leaves every field server below a top; importing it again changes nothing.
func TestMergeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fleet []Server
		next := 0
		newID := func() string { next++; return fmt.Sprintf("srv-%d", next) }
		sites := map[string]Site{"x": {ID: "x", Owner: "o"}, "y": {ID: "y", Owner: "p"}}
		for range rapid.IntRange(1, 6).Draw(t, "imports") {
			if rapid.Bool().Draw(t, "a report first") {
				fleet = hear(t, fleet, newID)
			}
			inventory := drawInventory(t)
			merge := func() ([]step, error) {
				m := merger{inventory: inventory, servers: slices.Clone(fleet), sites: sites, newID: newID}
				steps, _, err := m.merge()
				return steps, err
			}
			steps, err := merge()
			if err != nil {
				require.IsType(t, Problems{}, err)
				continue
			}
			before := slices.Clone(fleet)
			fleet = applySteps(fleet, steps)
			requireSound(t, before, fleet)
			again, err := merge()
			require.NoError(t, err)
			for _, st := range again {
				require.NotNil(t, st.before)
				require.Nil(t, st.absorbs)
				require.Empty(t, st.fields)
			}
		}
	})
}

// hear is what Apply does with a report of a host that was not heard before, or was.
func hear(t *rapid.T, fleet []Server, newID func() string) []Server {
	host := rapid.SampledFrom([]string{"h1", "h2", "h3"}).Draw(t, "heard host")
	for i := range fleet {
		if hostKey(fleet[i].HostID) == host {
			if fleet[i].Agent == "" {
				fleet[i].Agent = "p"
			}
			fleet[i].ReportDigest = exchange.DigestOf([]byte(host))
			return fleet
		}
	}
	return append(fleet, Server{
		ID: newID(), Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "heard name"), Type: "AS-P", Role: protocol.RoleTop,
		HostID: host, HostIDType: "ETHERNET", TopicName: host, Agent: "p", ReportDigest: exchange.DigestOf([]byte(host)),
	})
}

func applySteps(fleet []Server, steps []step) []Server {
	for _, st := range steps {
		if st.absorbs != nil {
			fleet = slices.DeleteFunc(fleet, func(s Server) bool { return s.ID == st.absorbs.ID })
		}
		if at := slices.IndexFunc(fleet, func(s Server) bool { return s.ID == st.after.ID }); at >= 0 {
			fleet[at] = st.after
		} else {
			fleet = append(fleet, st.after)
		}
	}
	for i := range fleet {
		for _, s := range fleet {
			if s.ID == fleet[i].Parent {
				fleet[i].ParentName = s.Name
			}
		}
	}
	return fleet
}

func requireSound(t *rapid.T, before, after []Server) {
	names, hosts, byID := map[string]bool{}, map[string]bool{}, map[string]Server{}
	for _, s := range after {
		if s.Site != "" {
			require.False(t, names[placeKey(s.Site, s.Name)], "two servers %s at %s", s.Name, s.Site)
			names[placeKey(s.Site, s.Name)] = true
			require.Equal(t, map[string]string{"x": "o", "y": "p"}[s.Site], s.Owner)
		}
		if s.HostID != "" {
			require.False(t, hosts[hostKey(s.HostID)], "two servers with the host ID %s", s.HostID)
			hosts[hostKey(s.HostID)] = true
			require.Equal(t, protocol.ServerName(s.HostID), s.TopicName)
		}
		byID[s.ID] = s
	}
	for _, s := range after {
		if s.Listed && s.Role == protocol.RoleField {
			above, found := byID[s.Parent]
			require.True(t, found)
			if above.Role == protocol.RoleField {
				above = byID[above.Parent]
			}
			require.Equal(t, protocol.RoleTop, above.Role, "%s has no top", s.Name)
		}
	}
	for _, old := range before {
		now, there := byID[old.ID]
		switch {
		case !there: // only what was merely reported can turn out to be another one
			require.False(t, old.Listed)
			require.True(t, hosts[hostKey(old.HostID)])
		case old.HostID != "":
			require.Equal(t, hostKey(old.HostID), hostKey(now.HostID), "a host ID is pinned")
			require.True(t, old.ReportDigest == "" || old.HostID == now.HostID)
			require.True(t, old.ReportDigest == "" || old.Agent == now.Agent, "an agent at work stays")
		}
	}
}

// TestMergeGivesAServerToOneRow is what the properties found: a server that one row has by its host ID was recognized by
// its name in another row as well.
func TestMergeGivesAServerToOneRow(t *testing.T) {
	reported := Server{ID: "srv-1", Name: "b", Type: "AS-P", Role: protocol.RoleTop, HostID: "h1", HostIDType: "ETHERNET", Agent: "p"}
	m := merger{
		servers: []Server{reported}, sites: map[string]Site{"x": {ID: "x", Owner: "o"}}, newID: func() string { return "srv-2" },
		inventory: Inventory{Servers: []Listed{
			{Row: 2, Name: "b", Type: "AS-P", Role: protocol.RoleTop, Site: "x"},
			{Row: 3, Name: "a", Type: "AS-P", Role: protocol.RoleTop, Site: "x", HostID: "h1", HostIDType: "ETHERNET"},
		}},
	}
	steps, _, err := m.merge()
	require.NoError(t, err)
	require.Nil(t, steps[0].before)
	require.Equal(t, "srv-1", steps[1].before.ID)
}
