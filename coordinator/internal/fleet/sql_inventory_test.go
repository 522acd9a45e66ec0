package fleet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/protocol"
)

// importSites imports the sites hq and harbour of Example, and other of Somebody, or the text.
func importSites(t *testing.T, d *db.DB, text string) (SitesResult, error) {
	t.Helper()
	sites, err := ParseSites([]byte(text))
	require.NoError(t, err)
	var did SitesResult
	err = d.Update(t.Context(), func(tx *db.Tx) (err error) {
		did, err = ImportSites(tx, audit.Operator, sites)
		return err
	})
	return did, err
}

const threeSites = `sites:
  - {id: hq, name: HQ, owner: Example, time_zone: UTC, carriers: [direct]}
  - {id: pier, name: Pier, owner: Example, time_zone: UTC, carriers: [direct]}
  - {id: other, name: Other, owner: Somebody, time_zone: UTC, carriers: [direct]}
`

func importServers(t *testing.T, d *db.DB, text string, check bool) (Result, error) {
	t.Helper()
	inventory, err := ParseInventory([]byte(text))
	require.NoError(t, err)
	var did Result
	err = d.Update(t.Context(), func(tx *db.Tx) (err error) {
		did, err = ImportInventory(tx, audit.Operator, inventory, check)
		return err
	})
	return did, err
}

// rows is an inventory with the usual columns.
func rows(lines ...string) string {
	return "name,type,role,parent,site,host_id,host_id_type,agent,labels\n" + strings.Join(lines, "\n") + "\n"
}

// shown are the changes as a person reads them.
func shown(r Result) []string {
	var all []string
	for _, c := range r.Changes {
		all = append(all, fmt.Sprintf("%d %s: %s", c.Row, c.Server, c))
	}
	return all
}

func find(t *testing.T, d *db.DB, selector string) Server {
	t.Helper()
	var servers []Server
	require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
		parsed, err := ParseSelector(selector)
		require.NoError(t, err)
		servers, err = Select(tx, parsed)
		return err
	}))
	require.Len(t, servers, 1, selector)
	return servers[0]
}

func TestImportSites(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		did, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		require.Equal(t, SitesResult{Added: 3}, did)
		before := dbtest.Dump(t, d)
		did, err = importSites(t, d, threeSites)
		require.NoError(t, err)
		require.Equal(t, SitesResult{Unchanged: 3}, did)
		require.Equal(t, before, dbtest.Dump(t, d), "the same again is nothing at all")

		did, err = importSites(t, d, strings.Replace(threeSites, "name: Pier", "name: New pier", 1))
		require.NoError(t, err)
		require.Equal(t, SitesResult{Changed: 1, Unchanged: 2}, did)
		_, err = importServers(t, d, rows("A,ES,top,,hq,,,,", "B,ES,top,,hq,,,,"), false)
		require.NoError(t, err)
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			sites, err := ListSites(tx)
			require.NoError(t, err)
			require.Equal(t, Site{ID: "hq", Name: "HQ", Owner: "Example", TimeZone: "UTC", Carriers: []string{"direct"}, Servers: 2}, sites[0])
			pier, found, err := GetSite(tx, "pier")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, "New pier", pier.Name)
			_, found, err = GetSite(tx, "nowhere")
			require.False(t, found)
			return err
		}))
	})
}

// seats stands for a table above fleet that refers to servers with their owners, as assignments do.
func seats(t *testing.T, d *db.DB, server string) {
	t.Helper()
	update(t, d, func(tx *db.Tx) {
		_, err := tx.Exec(`CREATE TABLE seats (server TEXT, owner TEXT, FOREIGN KEY (server, owner) REFERENCES servers (id, owner))`)
		require.NoError(t, err)
		_, err = tx.Exec(`INSERT INTO seats SELECT id, owner FROM servers WHERE id = $1`, server)
		require.NoError(t, err)
	})
}

func TestOwnersChangeOnlyWithoutSeats(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		_, err = importServers(t, d, rows("A,ES,top,,hq,H1,ETHERNET,,"), false)
		require.NoError(t, err)
		sold := strings.Replace(threeSites, "HQ, owner: Example", "HQ, owner: Somebody", 1)
		_, err = importSites(t, d, sold)
		require.NoError(t, err)
		require.Equal(t, "Somebody", find(t, d, "host=H1").Owner, "its servers follow")
		_, err = importSites(t, d, threeSites)
		require.NoError(t, err)

		seats(t, d, find(t, d, "host=H1").ID)
		before := dbtest.Dump(t, d)
		var problems Problems
		_, err = importSites(t, d, sold)
		require.ErrorAs(t, err, &problems)
		require.EqualError(t, err, "owner: site hq: its servers hold seats of Example: return them before the site becomes Somebody's")
		for _, check := range []bool{true, false} {
			_, err = importServers(t, d, rows("A,ES,top,,other,H1,ETHERNET,,"), check)
			require.ErrorAs(t, err, &problems)
			require.EqualError(t, err, "row 2, site: A holds seats of Example: return them before it moves to a site of Somebody")
		}
		require.Equal(t, before, dbtest.Dump(t, d))
		did, err := importServers(t, d, rows("A,ES,top,,pier,H1,ETHERNET,,"), false)
		require.NoError(t, err, "to another site of the same owner it may move")
		require.Equal(t, []string{"2 A: changed site: hq -> pier"}, shown(did))
	})
}

func TestImportSampleInventories(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, sample := range []struct {
			name  string
			added int
		}{{"servers-demo.csv", 12}, {"servers.csv", 5}} {
			d := dbtest.Open(t, dbtest.DSN(t, dbtest.Engine(d.Engine())), db.Options{})
			_, err := importSites(t, d, string(file(t, "sites.yaml")))
			require.NoError(t, err)
			text := string(file(t, sample.name))

			empty := dbtest.Dump(t, d)
			did, err := importServers(t, d, text, true)
			require.NoError(t, err)
			require.True(t, did.Checked)
			require.Equal(t, sample.added, did.Added)
			require.Len(t, did.Changes, sample.added)
			require.Equal(t, empty, dbtest.Dump(t, d), "a check changes nothing")

			did, err = importServers(t, d, text, false)
			require.NoError(t, err)
			require.Equal(t, sample.added, did.Added)
			full := dbtest.Dump(t, d)
			for _, check := range []bool{true, false} {
				did, err = importServers(t, d, text, check)
				require.NoError(t, err)
				require.Equal(t, Result{Checked: check, Unchanged: sample.added}, did)
			}
			require.Equal(t, full, dbtest.Dump(t, d), "the same again is nothing at all")
			require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
				entries, err := audit.List(tx, 0, 10)
				require.NoError(t, err)
				require.Len(t, entries, 2)
				require.Equal(t, "inventory", entries[1].Subject)
				require.EqualValues(t, sample.added, entries[1].Detail["added"])
				return err
			}))
		}
	})
}

func TestImportChanges(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		_, err = importServers(t, d, rows(
			"Central,EC,top,,hq,H0,ETHERNET,agent-a,", "Enterprise,ES,field,Central,hq,H1,ETHERNET,agent-a,",
			"Floor,AS-P,field,Enterprise,hq,H2,ETHERNET,agent-a,floor=1", "Lone,EDGE,top,,pier,,,,"), false)
		require.NoError(t, err)
		floor := find(t, d, "name=Floor")
		require.Equal(t, "Central", floor.System)
		require.Equal(t, "Enterprise", floor.ParentName)
		require.Equal(t, "h2", floor.TopicName)
		require.True(t, floor.AgentNamed)

		// Two swap their names, one learns its host ID and gets another label, one is at another site's system, one is new.
		newest, err := d.Newest(t.Context())
		require.NoError(t, err)
		did, err := importServers(t, d, rows(
			"Floor,ES,field,Central,hq,h1,ETHERNET,agent-a,", "Enterprise,AS-P,field,Central,hq,H2,ETHERNET,agent-a,floor=2",
			"Lone,EDGE,field,hq/Central,pier,H3,VM_UUID,,", "New,AS-B,field,Floor,hq,,,,"), false)
		require.NoError(t, err)
		require.Equal(t, []string{
			"2 Floor: changed name: Enterprise -> Floor, host_id: H1 -> h1",
			"3 Enterprise: changed name: Floor -> Enterprise, parent: Enterprise -> Central, labels: floor=1 -> floor=2",
			"4 Lone: changed role: top -> field, parent: (none) -> Central, host_id: (none) -> H3",
			"5 New: added",
		}, shown(did))
		require.Equal(t, floor.ID, find(t, d, "name=Enterprise").ID, "a server keeps its ID")
		require.Equal(t, "Central", find(t, d, "name=Lone").System)
		changes, err := d.Changes(t.Context(), newest, 10)
		require.NoError(t, err)
		require.Len(t, changes, 5, "four servers and an audit entry")

		// What a file has no column for, it says nothing about.
		did, err = importServers(t, d, "name,type,role,parent,site\nFloor,ES,field,Central,hq\n", false)
		require.NoError(t, err)
		require.Equal(t, 1, did.Unchanged)
	})
}

func TestImportRefuses(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		_, err = importServers(t, d, rows(
			"Top,ES,top,,hq,H1,ETHERNET,agent-a,", "Floor,AS-P,field,Top,hq,H2,ETHERNET,agent-a,", "Twin,AS-P,field,Top,hq,,,agent-b,"), false)
		require.NoError(t, err)
		r, report := said(t, "agent-a", "H2", nil)
		apply(t, d, r, report)
		r, report = said(t, "agent-a", "H9", nil)
		apply(t, d, r, report)
		before := dbtest.Dump(t, d)
		for want, text := range map[string]string{
			`row 2, site: there is no site "x": import the sites first`:                                                             rows("A,ES,top,,x,,,,"),
			"row 2, host_id: Floor has the host ID H2 (ETHERNET), and a host ID never changes: other hardware is another server":    rows("Floor,AS-P,field,Top,hq,H7,ETHERNET,,"),
			`row 2, host_id: the host ID is that of "Floor", the name that of another server: "Top" at hq`:                          rows("Top,ES,top,,hq,H2,ETHERNET,,"),
			"row 2, host_id_type: the host is known as ETHERNET, not VM_UUID":                                                       rows("Floor,AS-P,field,Top,hq,H2,VM_UUID,,"),
			"row 2, agent: Floor is looked after by agent-a: stop that agent and unassign the server before another one takes over": rows("Floor,AS-P,field,Top,hq,H2,ETHERNET,agent-b,"),
			"row 2, agent: Twin is to be looked after by agent-b, but agent-a reports its host":                                     rows("Twin,AS-P,field,Top,hq,H9,ETHERNET,,"),
			`row 2, parent: there is no server "Tpo" at the site hq; at another site it is written site/name`:                       rows("A,AS-P,field,Tpo,hq,,,,"),
			`row 2, parent: there is no server "Top" at the site pier; at another site it is written site/name`:                     rows("A,AS-P,field,Top,pier,,,,"),
			"row 2, parent: it is missing: a field server stands below a top server":                                                rows("A,AS-P,field,,hq,,,,"),
			"row 2, parent: a top server has none: leave it empty, or write the role field":                                         rows("A,ES,top,Top,hq,,,,"),
			"row 2, parent: Floor is not a top server (an ES below an EC would do)":                                                 rows("A,AS-P,field,Floor,hq,,,,"),
			"row 2, parent: it stands below itself":                                                                                 rows("A,AS-P,field,A,hq,,,,"),
			"row 2, parent: B stands below it: this is a circle\nrow 3, parent: A stands below it: this is a circle":                rows("A,ES,field,B,hq,,,,", "B,ES,field,A,hq,,,,"),
			"row 2, role: Floor stands below it: Top is not a top server (an ES below an EC would do)\n" +
				"row 2, role: Twin stands below it: Top is not a top server (an ES below an EC would do)": rows("Top,ES,field,Roof,hq,H1,ETHERNET,,", "Roof,ES,top,,hq,,,,"),
		} {
			for _, check := range []bool{true, false} {
				_, err := importServers(t, d, text, check)
				var problems Problems
				require.ErrorAs(t, err, &problems, want)
				require.EqualError(t, err, want)
			}
		}
		require.Equal(t, before, dbtest.Dump(t, d))
	})
}

// TestImportMeetsWhatWasReported is the inventory that comes after the agents.
func TestImportMeetsWhatWasReported(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		report := func(agent, host, name string) Server {
			r, report := said(t, agent, host, func(r *protocol.Report) { r.Facts.Name = name })
			return apply(t, d, r, report).Server
		}
		byHost, byName := report("agent-a", "H1", "one"), report("agent-b", "H2", "Two")

		did, err := importServers(t, d, rows("One,ES,top,,hq,h1,ETHERNET,,", "Two,AS-P,top,,hq,,,,"), false)
		require.NoError(t, err)
		require.Equal(t, []string{
			"2 One: changed name: one -> One, site: (none) -> hq, listed: no -> yes",
			"3 Two: changed site: (none) -> hq, listed: no -> yes",
		}, shown(did))
		require.Equal(t, []string{"row 2: One says of itself that it is AS-P, not ES"}, did.Notes)
		one := find(t, d, "name=One")
		require.Equal(t, byHost.ID, one.ID)
		require.Equal(t, "H1", one.HostID, "as the server itself spells it")
		require.Equal(t, "AS-P", one.Type, "the server knows best")
		require.Equal(t, "agent-a", one.Agent)
		require.Equal(t, byName.ID, find(t, d, "host=H2").ID)

		// Two of a name are a guess that nobody makes; once the host IDs are filled in, all is clear.
		_, err = importServers(t, d, rows("Same,AS-P,top,,hq,,,,", "Same,AS-P,top,,pier,,,,"), false)
		require.NoError(t, err)
		listed := find(t, d, "name=Same,site=pier")
		stray := report("agent-c", "H3", "Same")
		require.Empty(t, stray.Site)
		r, said := said(t, "agent-c", "H4", func(r *protocol.Report) { r.Facts.Role, r.Facts.Parent = protocol.RoleField, "H3" })
		below := apply(t, d, r, said).Server
		require.Equal(t, stray.ID, below.Parent)
		did, err = importServers(t, d, rows("Same,AS-P,top,,pier,h3,ETHERNET,,"), false)
		require.NoError(t, err)
		require.Equal(t, []string{"2 Same: changed version: (none) -> 7.0.2, host_id: (none) -> H3, agent: (none) -> agent-c"}, shown(did))
		joined := find(t, d, "host=H3")
		require.Equal(t, listed.ID, joined.ID)
		require.Equal(t, stray.ReportDigest, joined.ReportDigest, "with all that was reported")
		require.Equal(t, listed.ID, find(t, d, "host=H4").Parent)
		_, err = importServers(t, d, rows("Same,AS-P,top,,pier,h3,ETHERNET,,"), false)
		require.NoError(t, err)
		again := report("agent-c", "H3", "Same")
		require.Equal(t, listed.ID, again.ID, "the next report finds it")
		require.Equal(t, "pier", again.Site)
	})
}

// TestNamingTheAgentEndsTheSuspicion is how a person says who is right where two agents report one host.
func TestNamingTheAgentEndsTheSuspicion(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		r, report := said(t, "agent-a", "H1", nil)
		apply(t, d, r, report)
		suspect := func() (marked bool) {
			update(t, d, func(tx *db.Tx) {
				var err error
				marked, err = SuspectClone(tx, report.Facts)
				require.NoError(t, err)
			})
			return marked
		}
		require.True(t, suspect())
		_, err = importServers(t, d, rows("A,AS-P,top,,hq,H1,ETHERNET,,"), false)
		require.NoError(t, err)
		require.True(t, find(t, d, "host=H1").CloneSuspected)
		_, err = importServers(t, d, rows("A,AS-P,top,,hq,H1,ETHERNET,agent-a,"), false)
		require.NoError(t, err)
		require.False(t, find(t, d, "host=H1").CloneSuspected)
		require.False(t, suspect(), "the inventory has said who is right")
	})
}

// TestImportOfMany proves that an inventory of some size is a matter of moments: statements are for many servers.
func TestImportOfMany(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		lines := make([]string, 2_511) // one Enterprise Central, ten Enterprise Servers, 250 below each
		for i := range lines {
			switch {
			case i == 0:
				lines[i] = "EC,EC,top,,hq,,,,"
			case i <= 10:
				lines[i] = fmt.Sprintf("ES-%d,ES,field,EC,hq,,,,", i)
			default:
				lines[i] = fmt.Sprintf("AS-%d,AS-P,field,ES-%d,hq,H%d,ETHERNET,,a=b", i, i%10+1, i)
			}
		}
		lines[0], lines[2_510] = lines[2_510], lines[0] // the highest last
		did, err := importServers(t, d, rows(lines...), false)
		require.NoError(t, err)
		require.Equal(t, 2_511, did.Added)
		require.Equal(t, "EC", find(t, d, "name=AS-77").System)
	})
}
