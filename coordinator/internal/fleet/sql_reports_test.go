package fleet

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

func commit(t *testing.T, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	require.NoError(t, d.Update(t.Context(), fn))
}

func online(t *testing.T, d *db.DB, agent, boot string) {
	t.Helper()
	commit(t, d, func(tx *db.Tx) error {
		taken, err := HearPresence(tx, protocol.Presence{V: 1, Agent: agent, Session: at(boot, 1, 1), State: protocol.Online, Version: "1.0"})
		require.True(t, taken)
		return err
	})
}

// said is a report of a host, and its envelope.
func said(t *testing.T, agent, host string, change func(*protocol.Report)) (protocol.Reported, protocol.Report) {
	t.Helper()
	report := protocol.Report{
		Facts:    protocol.Facts{HostID: host, HostIDType: "ETHERNET", Name: "Name of " + host, Type: "AS-P", Version: "7.0.2", Role: protocol.RoleTop, System: "local"},
		Licenses: []protocol.License{{Feature: "snmp", Required: 1, Used: 1, Activated: 1, Source: host}},
		Rights:   []protocol.HeldRight{{Right: exchange.ActivationID("A").RightID(), Count: 1}},
	}
	if change != nil {
		change(&report)
	}
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	return protocol.Reported{
		V: 1, Agent: agent, Server: protocol.ServerName(host), Session: at("boot", 1, 2),
		At: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), Report: raw,
	}, report
}

func apply(t *testing.T, d *db.DB, r protocol.Reported, report protocol.Report) (applied Applied) {
	t.Helper()
	commit(t, d, func(tx *db.Tx) (err error) {
		applied, err = Apply(tx, r, report)
		return err
	})
	return applied
}

func TestApplyANewServer(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r, report := said(t, "agent-a", "H-1", nil)
		applied := apply(t, d, r, report)
		require.True(t, applied.New)
		require.Empty(t, applied.Server.Site, "what is not in the inventory is observed alone")
		require.Equal(t, "agent-a", applied.Server.Agent)
		require.Equal(t, r.Digest(), applied.Server.ReportDigest)

		again := apply(t, d, r, report)
		require.False(t, again.New)
		require.Equal(t, applied.Server.ID, again.Server.ID)
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			details, found, err := GetDetails(tx, applied.Server.ID)
			require.True(t, found)
			require.Equal(t, report.Facts, details.Facts)
			require.Equal(t, report.Licenses, details.Licenses)
			require.Equal(t, report.Rights, details.Rights)
			return err
		}))
	})
}

func TestApplyLearnsAHostIDOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		insert := func(id, name, site string) {
			commit(t, d, func(tx *db.Tx) error {
				_, err := tx.Exec(`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ($1, $1, 'o', 'UTC', '[]') ON CONFLICT DO NOTHING`, site)
				require.NoError(t, err)
				_, err = tx.Exec(`INSERT INTO servers (id, name, type, role, version, site, owner, listed) VALUES ($1, $2, 'AS-P', 'top', '', $3, 'o', 1)`, id, name, site)
				return err
			})
		}
		insert("srv-1", "Name of H-1", "hq")
		r, report := said(t, "agent-a", "H-1", nil)
		applied := apply(t, d, r, report)
		require.True(t, applied.Learned)
		require.Equal(t, "srv-1", applied.Server.ID)
		require.Equal(t, "H-1", applied.Server.HostID)
		require.Equal(t, "hq", applied.Server.Site)

		// Two of a name are a guess that nobody makes.
		insert("srv-2", "Name of H-2", "hq")
		insert("srv-3", "Name of H-2", "harbour")
		r, report = said(t, "agent-a", "H-2", nil)
		require.True(t, apply(t, d, r, report).New)
	})
}

func TestApplyOfAnotherAgent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r, report := said(t, "agent-a", "H-1", nil)
		apply(t, d, r, report)
		before := dbtest.Dump(t, d)
		other, report := said(t, "agent-b", "H-1", nil)
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			_, err := Apply(tx, other, report)
			return err
		})
		require.ErrorIs(t, err, ErrOtherAgent)
		require.Equal(t, before, dbtest.Dump(t, d))

		commit(t, d, func(tx *db.Tx) error {
			marked, err := SuspectClone(tx, report.Facts)
			require.True(t, marked)
			return err
		})
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			server, _, err := ByHost(tx, "h-1")
			require.True(t, server.CloneSuspected)
			return err
		}))
	})
}

func TestSystemsAreHeardInAnyOrder(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r, report := said(t, "agent-a", "H-2", func(r *protocol.Report) { r.Facts.Role, r.Facts.Parent = protocol.RoleField, "H-1" })
		child := apply(t, d, r, report).Server
		require.Empty(t, child.Parent)
		r, report = said(t, "agent-a", "H-1", nil)
		top := apply(t, d, r, report).Server
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			child, _, err := Get(tx, child.ID)
			require.Equal(t, top.ID, child.Parent)
			return err
		}))
	})
}

func TestSeenAgainIsNoNews(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r, report := said(t, "agent-a", "H-1", nil)
		apply(t, d, r, report)
		newest, err := d.Newest(t.Context())
		require.NoError(t, err)
		seen := func(r protocol.Reported, digest exchange.Digest) (same bool) {
			commit(t, d, func(tx *db.Tx) (err error) {
				same, err = SeenAgain(tx, r, digest)
				return err
			})
			return same
		}
		require.True(t, seen(r, r.Digest()))
		require.False(t, seen(r, exchange.DigestOf([]byte("other"))))
		now, err := d.Newest(t.Context())
		require.NoError(t, err)
		require.Equal(t, newest, now, "nothing was new")

		r.Asked = "nonce"
		require.True(t, seen(r, r.Digest()))
		now, err = d.Newest(t.Context())
		require.NoError(t, err)
		require.Greater(t, now, newest, "somebody waits for the answer")
	})
}

func TestAgents(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		online(t, d, "agent-a", "one")
		require.ErrorIs(t, d.Update(t.Context(), func(tx *db.Tx) error { return Hear(tx, "agent-a", at("one", 1, 1)) }), ErrStale)
		require.ErrorIs(t, d.Update(t.Context(), func(tx *db.Tx) error { return Hear(tx, "agent-b", at("one", 1, 1)) }), ErrUnknownBoot)
		commit(t, d, func(tx *db.Tx) error { return Hear(tx, "agent-a", at("one", 1, 2)) })

		r, report := said(t, "agent-a", "H-1", nil)
		applied := apply(t, d, r, report)
		for _, c := range []struct {
			digest exchange.Digest
			behind bool
		}{{r.Digest(), false}, {exchange.DigestOf([]byte("newer")), true}} {
			commit(t, d, func(tx *db.Tx) error {
				sequence := int64(3)
				if c.behind {
					sequence = 4
				}
				behind, err := Beat(tx, protocol.Heartbeat{V: 1, Agent: "agent-a", Session: at("one", 1, sequence), Servers: map[string]exchange.Digest{r.Server: c.digest}})
				require.Equal(t, c.behind, behind)
				return err
			})
		}

		online(t, d, "agent-a", "two")
		commit(t, d, func(tx *db.Tx) error { // the first process comes back
			taken, err := HearPresence(tx, protocol.Presence{V: 1, Agent: "agent-a", Session: at("one", 2, 1), State: protocol.Online})
			require.False(t, taken)
			return err
		})
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			agents, err := Agents(tx)
			require.NoError(t, err)
			require.True(t, agents["agent-a"].CloneSuspected)
			require.Equal(t, "1.0", agents["agent-a"].Version)
			server, _, err := Get(tx, applied.Server.ID)
			require.True(t, server.CloneSuspected, "frozen for changes")
			return err
		}))
	})
}

// TestApplyPrefersTheAgentsOwn is an inventory with servers of one name: the agent that it names settles which is meant.
func TestApplyPrefersTheAgentsOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		_, err = importServers(t, d, rows("Same,AS-P,top,,hq,,,agent-a,", "Same,AS-P,top,,pier,,,agent-b,", "Same,AS-P,top,,other,,,,"), false)
		require.NoError(t, err)
		report := func(agent, host string) Applied {
			r, report := said(t, agent, host, func(r *protocol.Report) { r.Facts.Name = "Same" })
			return apply(t, d, r, report)
		}
		for agent, site := range map[string]string{"agent-a": "hq", "agent-b": "pier"} {
			applied := report(agent, "host of "+agent)
			require.True(t, applied.Learned)
			require.Equal(t, site, applied.Server.Site)
		}
		require.Equal(t, "other", report("agent-c", "H-3").Server.Site)
		require.True(t, report("agent-a", "H-4").New, "nothing is left that it could be")
	})
}

func TestApplyTakesTheServersOwnSpelling(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := importSites(t, d, threeSites)
		require.NoError(t, err)
		_, err = importServers(t, d, rows("A,AS-P,top,,hq,HOST.1,ETHERNET,,"), false)
		require.NoError(t, err)
		r, report := said(t, "agent-a", "host.1", nil)
		server := apply(t, d, r, report).Server
		require.Equal(t, "A", server.Name)
		require.Equal(t, "host.1", server.HostID, "the activation server knows it by this")
		require.Equal(t, r.Server, server.TopicName, "and the agent by this")

		r, report = said(t, "agent-a", "HOST.1", func(r *protocol.Report) { r.Facts.HostIDType = "VM_UUID" })
		before := dbtest.Dump(t, d)
		err = d.Update(t.Context(), func(tx *db.Tx) error { _, err := Apply(tx, r, report); return err })
		require.ErrorIs(t, err, ErrHostIDType)
		require.ErrorIs(t, err, protocol.ErrInvalid)
		require.Equal(t, before, dbtest.Dump(t, d))
	})
}

// TestObservedServersFollowTheirReports is what the inventory says nothing about: it is as last reported.
func TestObservedServersFollowTheirReports(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, host := range []string{"H-1", "H-2"} {
			r, report := said(t, "agent-a", host, nil)
			apply(t, d, r, report)
		}
		below := func(name, parent string) Server {
			r, report := said(t, "agent-a", "H-3", func(r *protocol.Report) {
				r.Facts.Name, r.Facts.Role, r.Facts.Parent = name, protocol.RoleField, parent
			})
			server := apply(t, d, r, report).Server
			return server
		}
		require.Equal(t, "Name of H-1", below("one", "h-1").ParentName)
		require.Equal(t, "Name of H-2", below("two", "H-2").ParentName)
		moved := below("two", "H-9")
		require.Empty(t, moved.ParentName)
		require.Equal(t, "two", moved.Name)
		require.Equal(t, protocol.RoleField, moved.Role)
	})
}

// TestHostileTextsAreHarmless gives every text that an agent can send what no screen and no database should meet.
func TestHostileTextsAreHarmless(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const hostile = "a\x00\x1b[31m\u202eb"
		const harmless = "a[31mb"
		presence := protocol.Presence{V: 1, Agent: "agent-a", Session: at("one", 1, 1), State: protocol.Online, Version: hostile}
		commit(t, d, func(tx *db.Tx) error { _, err := HearPresence(tx, presence); return err })
		presence.Session.Boot = hostile
		require.ErrorIs(t, d.Update(t.Context(), func(tx *db.Tx) error { _, err := HearPresence(tx, presence); return err }), protocol.ErrInvalid)
		require.ErrorIs(t, d.Update(t.Context(), func(tx *db.Tx) error { return Hear(tx, "agent-a", presence.Session) }), protocol.ErrInvalid)

		r, report := said(t, "agent-a", "H-1", func(r *protocol.Report) {
			f := &r.Facts
			f.Name, f.Type, f.Version, f.System, f.Unanswered, f.Violations = hostile, hostile, hostile, hostile, hostile, []string{hostile}
			r.Licenses[0].Feature, r.Licenses[0].Source = hostile, hostile
		})
		r.Asked = hostile
		server := apply(t, d, r, report).Server
		require.Equal(t, []string{harmless, harmless, harmless, harmless}, []string{server.Name, server.Type, server.Version, server.Asked})
		require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
			details, _, err := GetDetails(tx, server.ID)
			require.Equal(t, harmless, details.Facts.Unanswered)
			require.Equal(t, []string{harmless}, details.Facts.Violations)
			require.Equal(t, harmless, details.Licenses[0].Feature)
			agents, err2 := Agents(tx)
			require.NoError(t, err2)
			require.Equal(t, harmless, agents["agent-a"].Version)
			return err
		}))
		commit(t, d, func(tx *db.Tx) error { _, err := SeenAgain(tx, r, r.Digest()); return err })

		r, report = said(t, "agent-a", hostile, nil)
		require.ErrorIs(t, d.Update(t.Context(), func(tx *db.Tx) error { _, err := Apply(tx, r, report); return err }), protocol.ErrInvalid)
	})
}
