package ledger

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

const day = 24 * time.Hour

func TestAssignHoldsSeats(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b")
		lines := w.buy("ENT-1", line{part: snmp, seats: 5})
		result, err := w.assign(snmp, 2, "srv-a", "srv-b", "srv-a")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 2, Held: 4, Left: 1}, result)
		require.Equal(t, Assigned, w.phase("srv-a", lines[0]))
		require.Equal(t, 4, w.held(lines[0]))

		result, err = w.assign(snmp, 2, "srv-a", "srv-b")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 2, Unchanged: 2, Left: 1}, result)

		result, err = w.assign(snmp, 1, "srv-a", "srv-b")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 2, Freed: 2, Left: 3}, result, "nothing was sent, so it is free at once")

		w.activate("srv-a")
		result, err = w.assign(snmp, 3, "srv-a")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 1, Held: 2, Left: 1}, result)
		w.activate("srv-a")
		w.prove("srv-a", 5)
		result, err = w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 1, Lowered: 2, Left: 1}, result, "what is ordered stays held until it is returned")
		require.Equal(t, Activation{Servers: 1, Assignments: 1, Returns: 1}, w.activate("srv-a"))
		require.Equal(t, Returning, w.phase("srv-a", lines[0]))
	})
}

func TestAssignChoosesLines(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b", "srv-c")
		refs := w.buy("ENT-1",
			line{part: snmp, seats: 9},                                // 0: never expires
			line{part: snmp, seats: 2, expires: 30 * day},             // 1: the earliest that can be used
			line{part: snmp, seats: 9, expires: -2 * day},             // 2: expired
			line{part: snmp, seats: 9, starts: day, expires: 9 * day}, // 3: not started
			line{part: snmp, seats: 3, expires: 60 * day},             // 4
			line{part: essential, seats: 9, expires: 10 * day},        // 5: another product
		)
		w.buyFor(stranger, "ENT-2", line{part: snmp, seats: 99, expires: 10 * day})
		for _, c := range []struct {
			server string
			count  int
			want   map[string]int
		}{
			{"srv-a", 1, map[string]int{refs[1]: 1}},             // the earliest expiry
			{"srv-b", 3, map[string]int{refs[4]: 3}},             // the earliest that can serve all of it
			{"srv-a", 2, map[string]int{refs[1]: 2}},             // where it is already
			{"srv-a", 4, map[string]int{refs[1]: 2, refs[0]: 2}}, // the rest where there is room
		} {
			_, err := w.assign(snmp, c.count, c.server)
			require.NoError(t, err)
			got := map[string]int{}
			for _, a := range w.view(c.server).Assignments {
				got[a.Line] = a.Want
			}
			require.Equal(t, c.want, got)
		}
	})
}

func TestAssignRefusesWithNumbersAndHoldsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b", "srv-c")
		refs := w.buy("ENT-1", line{part: snmp, seats: 4}, line{part: snmp, seats: 1, expires: 9 * day})
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		before := dbtest.Dump(t, d)

		_, err = w.assign(snmp, 2, "srv-a", "srv-b", "srv-c")
		var short *ShortError
		require.ErrorAs(t, err, &short)
		require.ErrorIs(t, err, ErrRefused)
		require.Equal(t, 5, short.Asked, "one is there already")
		require.Equal(t, 4, short.Left)
		require.Equal(t, refs[1], short.Lines[0].Line)
		require.Equal(t, []int{0, 4}, []int{short.Lines[0].Left, short.Lines[1].Left})
		require.Contains(t, err.Error(), "SAMPLE-SNMP: 5 seats asked for, 4 left ("+refs[1]+": 0 left, "+refs[0]+": 4 left)")
		require.Equal(t, before, dbtest.Dump(t, d))

		for name, r := range map[string]Request{
			"no server is named":               {nil, snmp, 1},
			"a count of 0 is impossible":       {[]string{"srv-a"}, snmp, 0},
			"a count of -1 is impossible":      {[]string{"srv-a"}, snmp, -1},
			"the catalog does not know it":     {[]string{"srv-a"}, "SAMPLE-NOTHING", 1},
			"managed by license-administrator": {[]string{"srv-a"}, foreign, 1},
			"srv-x: no such server":            {[]string{"srv-a", "srv-x"}, snmp, 1},
		} {
			_, err := w.assign(r.PartNumber, r.Count, r.Servers...)
			require.ErrorContains(t, err, name)
			require.ErrorIs(t, err, ErrRefused)
			require.Equal(t, before, dbtest.Dump(t, d))
		}
	})
}

func TestAssignRefusesServersThatCannotHaveIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.addServers(
			node{id: "srv-top"}, node{id: "srv-field", role: "field", serverType: "AS-P", parent: "srv-top"},
			node{id: "srv-old", version: "6.0.4"}, node{id: "srv-odd", serverType: "FDP"}, node{id: "srv-homeless", site: "none"},
			node{id: "srv-twin"}, node{id: "srv-dead"}, node{id: "srv-nameless"}, node{id: "srv-away", site: "away"},
		)
		w.must(func(tx *db.Tx) error {
			_, err := tx.Exec("UPDATE servers SET host_id = NULL, host_id_type = NULL, host_key = NULL, topic_name = NULL WHERE id = 'srv-nameless'")
			return err
		})
		w.adoptAll()
		w.must(func(tx *db.Tx) error {
			if _, err := tx.Exec("UPDATE servers SET clone_suspected = 1 WHERE id = 'srv-twin'"); err != nil {
				return err
			}
			return Strand(tx, audit.Operator, "srv-dead", "burnt")
		})
		w.buy("ENT-1", line{part: snmp, seats: 99}, line{part: essential, seats: 99}, line{part: advanced, seats: 99})
		for _, c := range []struct{ server, part, want string }{
			{"srv-old", snmp, "Server srv-old: the product does not apply to this server: SAMPLE-SNMP: the server is classic (version 6.0.4)"},
			{"srv-odd", snmp, "Server srv-odd: "},
			{"srv-field", essential, "Server srv-field: "},
			{"srv-homeless", snmp, "Server srv-homeless: it stands at no site"},
			{"srv-nameless", snmp, "Server srv-nameless: its host ID is not known yet"},
			{"srv-twin", snmp, "Server srv-twin: two agents report it"},
			{"srv-dead", snmp, "Server srv-dead: it is stranded"},
			{"srv-away", snmp, "1 seats asked for, 0 left"}, // the other owner has no line
		} {
			_, err := w.assign(c.part, 1, "srv-top", c.server)
			require.ErrorContains(t, err, c.want)
			require.ErrorIs(t, err, ErrRefused)
			require.Empty(t, w.view("srv-top").Assignments, "nothing is held")
		}
		_, err := w.assign(snmp, 1, "srv-old", "srv-odd", "srv-dead")
		var refused *NotAssignableError
		require.ErrorAs(t, err, &refused)
		require.Len(t, refused.Reasons, 3, "every server that stands in the way is named")

		// Another tier in the same system.
		_, err = w.assign(advanced, 1, "srv-top")
		require.NoError(t, err)
		_, err = w.assign(essential, 1, "srv-top")
		require.ErrorContains(t, err, "Server srv-top holds SAMPLE-TIER-ADV, and the two exclude each other")
		_, err = w.unassign(advanced, 0, "srv-top")
		require.NoError(t, err)
		_, err = w.assign(essential, 1, "srv-top")
		require.NoError(t, err)
	})
}

func TestExclusionReachesTheWholeSystem(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.addServers(node{id: "srv-ec"}, node{id: "srv-es", parent: "srv-ec"}, node{id: "srv-es2", parent: "srv-ec"},
			node{id: "srv-as", parent: "srv-es"}, node{id: "srv-alone"})
		w.adoptAll()
		w.buy("ENT-1", line{part: essential, seats: 99}, line{part: advanced, seats: 99})
		_, err := w.assign(advanced, 1, "srv-as")
		require.NoError(t, err)
		for _, server := range []string{"srv-ec", "srv-es", "srv-es2", "srv-as"} {
			_, err := w.assign(essential, 1, server)
			require.ErrorContains(t, err, "Server srv-as holds SAMPLE-TIER-ADV", server)
		}
		_, err = w.assign(essential, 1, "srv-alone")
		require.NoError(t, err)
	})
}

func TestAdoptingServersAreAssignedNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		w.addServers(node{id: "srv-b"})
		w.buy("ENT-1", line{part: snmp, seats: 9})
		var adopting *AdoptingError
		_, err := w.assign(snmp, 1, "srv-a", "srv-b")
		require.ErrorAs(t, err, &adopting, "the ledger has not even met it")
		require.Equal(t, []string{"srv-b"}, adopting.Servers)
		w.must(func(tx *db.Tx) error {
			added, err := EnsureServers(tx, "srv-a", "srv-b")
			require.Equal(t, []string{"srv-b"}, added)
			return err
		})
		_, err = w.assign(snmp, 1, "srv-a", "srv-b")
		require.ErrorAs(t, err, &adopting)
		require.False(t, adopting.Restored)
		_, err = w.unassign(snmp, 0, "srv-b")
		require.ErrorAs(t, err, &adopting)
		require.Equal(t, Activation{}, w.activate("srv-a", "srv-b"), "there is nothing to admit")
		_, err = w.assign(snmp, 1, "srv-a")
		require.NoError(t, err, "a new server does not stand in the way of others")
		w.adoptAll()
		_, err = w.assign(snmp, 1, "srv-b")
		require.NoError(t, err)
	})
}

func TestUnassign(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b", "srv-c")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9})
		_, err := w.assign(snmp, 2, "srv-a", "srv-b")
		require.NoError(t, err)
		_, err = w.assign(essential, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		w.prove("srv-a", 5)

		result, err := w.unassign(snmp, 0, "srv-a", "srv-b", "srv-c")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 3, Unchanged: 1, Freed: 2, Returns: 2}, result)
		require.Equal(t, Returning, w.phase("srv-a", refs[0]))
		require.Equal(t, Freed, w.phase("srv-b", refs[0]))
		require.Equal(t, 2, w.held(refs[0]), "a return frees on proof alone")
		require.Equal(t, Ordered, w.phase("srv-a", refs[1]), "the new order has to prove the others again")
		w.prove("srv-a", 6)
		require.Zero(t, w.held(refs[0]))
		require.Equal(t, Activated, w.phase("srv-a", refs[1]))

		_, err = w.unassign(essential, 2, "srv-a")
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "it should hold 1, and 2 would be more")
		result, err = w.unassign("", 0, "srv-a")
		require.NoError(t, err)
		require.Equal(t, Result{Servers: 1, Returns: 1}, result)
		_, err = w.unassign("", 1, "srv-a")
		require.ErrorContains(t, err, "a count needs a product")
		_, err = w.unassign(snmp, 0, "srv-x")
		require.ErrorContains(t, err, "no such server")
	})
}

func TestActivateOrdersOnlyWhatIsNew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b")
		w.claim("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9})
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		_, err = w.assign(essential, 1, "srv-a")
		require.NoError(t, err)
		require.Equal(t, int64(1), w.view("srv-a").Generation)
		require.Equal(t, Activation{Servers: 1, Assignments: 2}, w.activate("srv-a", "srv-b"))
		require.Equal(t, int64(2), w.view("srv-a").Generation)
		require.Equal(t, Ordered, w.phase("srv-a", refs[0]))
		require.Equal(t, Activation{}, w.activate("srv-a", "srv-b"), "nothing is new")
		require.Equal(t, int64(2), w.view("srv-a").Generation)

		err = w.try(func(tx *db.Tx) error {
			_, err := Activate(tx, audit.Operator, []string{"srv-a", "srv-x"})
			return err
		})
		require.ErrorContains(t, err, "no such server")

		_, err = w.assign(snmp, 2, "srv-a")
		require.NoError(t, err)
		w.must(func(tx *db.Tx) error { return Strand(tx, audit.Operator, "srv-a", "") })
		err = w.try(func(tx *db.Tx) error {
			_, err := Activate(tx, audit.Operator, []string{"srv-a", "srv-b"})
			return err
		})
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "it is stranded")
	})
}

// A seat of one owner cannot be held at a site of another, whatever the code does.
func TestTheDatabaseKeepsOwnersApart(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.addServers(node{id: "srv-away", site: "away"})
		w.adoptAll()
		refs := w.buy("ENT-1", line{part: snmp, seats: 9})
		for _, of := range []string{owner, stranger} {
			err := w.try(func(tx *db.Tx) error {
				b := booking{tx: tx}
				b.put(seat{server: "srv-away", line: refs[0], owner: of, Counts: Counts{Want: 1}}, Counts{})
				return b.close()
			})
			require.Error(t, err, of)
		}
		err := w.d.Update(context.Background(), func(tx *db.Tx) error {
			_, err := tx.Exec("UPDATE lines SET held = bought + 1")
			return err
		})
		require.Error(t, err, "nor can more be held than was bought")
	})
}
