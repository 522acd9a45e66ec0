package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/protocol"
)

// update runs the function in a transaction that must succeed.
func update(t *testing.T, d *db.DB, fn func(tx *db.Tx)) {
	t.Helper()
	require.NoError(t, d.Update(t.Context(), func(tx *db.Tx) error { fn(tx); return nil }))
}

// names are the servers' names, in their order.
func names(servers []Server) []string {
	var all []string
	for _, server := range servers {
		all = append(all, server.Name)
	}
	return all
}

func TestSelectAndGet(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		update(t, d, func(tx *db.Tx) {
			for _, statement := range []string{
				`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ('hq', 'HQ', 'Example', 'UTC', '["direct"]')`,
				`INSERT INTO servers (id, name, type, role, version, site, owner, host_id, host_id_type, host_key, topic_name, agent, labels)
					VALUES ('srv-1', 'Central', 'EC', 'top', '7.0.2', 'hq', 'Example', 'H1', 'ETHERNET', 'h1', 'h1', 'hq-es', '{"building":"a"}')`,
				`INSERT INTO servers (id, name, type, role, version, site, owner, parent) VALUES ('srv-2', 'Enterprise', 'ES', 'field', '', 'hq', 'Example', 'srv-1')`,
				`INSERT INTO servers (id, name, type, role, version, site, owner, parent, last_seen) VALUES ('srv-3', 'Floor', 'AS-P', 'field', '', 'hq', 'Example', 'srv-2', 1000)`,
				`INSERT INTO servers (id, name, type, role, version) VALUES ('srv-4', 'Stray', 'AS-P', 'top', '6.0')`,
			} {
				_, err := tx.Exec(statement)
				require.NoError(t, err)
			}
			for selector, want := range map[string][]string{
				"":                             {"Stray", "Central", "Enterprise", "Floor"},
				"site=hq":                      {"Central", "Enterprise", "Floor"},
				"site!=hq":                     {"Stray"},
				"system=Central,role!=top":     {"Enterprise", "Floor"},
				"parent=Enterprise":            {"Floor"},
				"building":                     {"Central"},
				"host=H1,type=EC":              {"Central"},
				"host=h1":                      nil,
				"type in (EC, ES), owner":      {"Central", "Enterprise"},
				"agent=hq-es,name=Central":     {"Central"},
				"version=6.0":                  {"Stray"},
				"site=hq,site=harbour":         nil,
				"name=Floor,role=field,site=x": nil,
			} {
				parsed, err := ParseSelector(selector)
				require.NoError(t, err)
				selected, err := Select(tx, parsed)
				require.NoError(t, err)
				require.Equal(t, want, names(selected), selector)
			}

			server, found, err := Get(tx, "srv-3")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, Server{
				ID: "srv-3", Name: "Floor", Type: "AS-P", Role: protocol.RoleField, Parent: "srv-2", ParentName: "Enterprise",
				System: "Central", Site: "hq", Owner: "Example", Labels: map[string]string{}, LastSeen: time.UnixMilli(1000).UTC(),
			}, server)

			byHost, found, err := ByHost(tx, "h1")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, "srv-1", byHost.ID)
			byTopic, found, err := ByTopic(tx, "hq-es", "h1")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, byHost, byTopic)

			_, found, err = Get(tx, "srv-9")
			require.NoError(t, err)
			require.False(t, found)
			_, found, err = GetDetails(tx, "srv-1")
			require.NoError(t, err)
			require.False(t, found, "nothing was reported")

			_, err = tx.Exec(`INSERT INTO servers (id, name, type, role, version, host_id, host_id_type, host_key, topic_name)
				VALUES ('srv-5', 'Twin', 'EDGE', 'top', '', 'H1', 'VM_UUID', 'h1', 'h1')`)
			require.NoError(t, err)
			_, _, err = ByHost(tx, "H1")
			require.ErrorIs(t, err, ErrTwoHosts)
		})
	})
}

// TestServersAreTheirSites proves what the schema alone must refuse: an owner that is not the site's, a host ID twice.
func TestServersAreTheirSites(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		update(t, d, func(tx *db.Tx) {
			_, err := tx.Exec(`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ('hq', 'HQ', 'Example', 'UTC', '[]')`)
			require.NoError(t, err)
			_, err = tx.Exec(`INSERT INTO servers (id, name, type, role, version, site, owner, host_id, host_id_type, host_key, topic_name)
				VALUES ('srv-1', 'A', 'ES', 'top', '', 'hq', 'Example', 'H1', 'ETHERNET', 'h1', 'h1')`)
			require.NoError(t, err)
		})
		for what, statement := range map[string]string{
			"another owner":       `UPDATE servers SET owner = 'Somebody' WHERE id = 'srv-1'`,
			"an owner, no site":   `UPDATE servers SET site = NULL WHERE id = 'srv-1'`,
			"an unknown site":     `INSERT INTO servers (id, name, type, role, version, site, owner) VALUES ('srv-2', 'B', 'ES', 'top', '', 'x', 'Example')`,
			"a name twice":        `INSERT INTO servers (id, name, type, role, version, site, owner) VALUES ('srv-2', 'A', 'ES', 'top', '', 'hq', 'Example')`,
			"a host ID twice":     `INSERT INTO servers (id, name, type, role, version, host_id, host_id_type, host_key, topic_name) VALUES ('srv-2', 'B', 'ES', 'top', '', 'h1', 'ETHERNET', 'h1', 'h1')`,
			"a host without type": `INSERT INTO servers (id, name, type, role, version, host_id) VALUES ('srv-2', 'B', 'ES', 'top', '', 'H2')`,
			"a role unheard of":   `INSERT INTO servers (id, name, type, role, version) VALUES ('srv-2', 'B', 'ES', 'king', '')`,
		} {
			err := d.Update(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(statement); return err })
			require.Error(t, err, what)
		}
		// A site's owner takes its servers along.
		update(t, d, func(tx *db.Tx) {
			_, err := tx.Exec(`UPDATE sites SET owner = 'Somebody' WHERE id = 'hq'`)
			require.NoError(t, err)
			server, _, err := Get(tx, "srv-1")
			require.NoError(t, err)
			require.Equal(t, "Somebody", server.Owner)
		})
	})
}
