package ledger

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

func (w *world) nothingToClaim(server string) {
	w.Helper()
	w.must(func(tx *db.Tx) error {
		_, ok, err := Claim(tx, server)
		require.False(w, ok)
		return err
	})
}

func TestClaimComposesTheWholeDocument(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9}, line{part: essential, seats: 9}, line{part: advanced, seats: 9})
		epoch := w.view("srv-a").Order.Epoch

		desired, document := w.claim("srv-a")
		require.Equal(t, exchange.Order{Epoch: epoch, Generation: 1}, desired.Order, "the first document after the adoption")
		require.Empty(t, desired.Rights)
		require.False(t, desired.Hold)
		require.Equal(t, protocol.Topic{Agent: "agent-srv-a", Server: "demo-srv-a", Kind: protocol.KindDesired}, document.Topic)
		require.Equal(t, exchange.DigestOf(document.Payload), document.Digest)
		w.nothingToClaim("srv-a")

		_, err := w.assign(snmp, 2, "srv-a")
		require.NoError(t, err)
		w.nothingToClaim("srv-a") // decided is not ordered
		require.Zero(t, w.view("srv-a").at(refs[0]).Exposed)
		w.activate("srv-a")
		require.Zero(t, w.view("srv-a").at(refs[0]).Exposed)
		_, err = w.assign(essential, 1, "srv-a")
		require.NoError(t, err)
		desired, document = w.claim("srv-a")
		require.Equal(t, protocol.Desired{
			V: 1, Agent: "agent-srv-a", Server: "demo-srv-a", Host: "DEMO-srv-a",
			Order: exchange.Order{Epoch: epoch, Generation: 2}, Generation: 2, Carriers: []string{"direct"},
			Rights: sorted(
				protocol.DesiredRight{Ref: refs[0], PartNumber: snmp, Count: 2, ActivationID: "ENT-1-ACT-0000"},
				protocol.DesiredRight{Ref: refs[1], PartNumber: essential, Count: 0, ActivationID: "ENT-1-ACT-0001"},
			),
		}, desired, "a line that is only decided is named with 0: it must not be held yet")
		require.Equal(t, 2, w.view("srv-a").at(refs[0]).Exposed)
		require.Nil(t, document.Left)

		_, err = w.unassign(snmp, 0, "srv-a")
		require.NoError(t, err)
		desired, _ = w.claim("srv-a")
		require.Len(t, desired.Rights, 2, "what was ever assigned stays named")
		require.Equal(t, 2, w.view("srv-a").at(refs[0]).Exposed, "exposed does not fall")
	})
}

func sorted(a, b protocol.DesiredRight) []protocol.DesiredRight {
	if a.Ref > b.Ref {
		a, b = b, a
	}
	return []protocol.DesiredRight{a, b}
}

func TestClaimFollowsTheAgentAndTheSite(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a")
		refs := w.buy("ENT-1", line{part: snmp, seats: 9})
		_, err := w.assign(snmp, 1, "srv-a")
		require.NoError(t, err)
		w.activate("srv-a")
		w.prove("srv-a", 5)
		before := w.view("srv-a")

		w.must(func(tx *db.Tx) error {
			_, err := tx.Exec("UPDATE servers SET agent = 'agent-new' WHERE id = 'srv-a'")
			return err
		})
		desired, document := w.claim("srv-a")
		require.Equal(t, before.Order, desired.Order, "the license list is the same")
		require.Equal(t, before.Generation+1, desired.Generation)
		require.Equal(t, "agent-new", desired.Agent)
		require.Equal(t, &protocol.Topic{Agent: "agent-srv-a", Server: "demo-srv-a", Kind: protocol.KindDesired}, document.Left)
		require.Equal(t, Activated, w.phase("srv-a", refs[0]))

		w.must(func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE sites SET carriers = '["relay","direct"]'`)
			return err
		})
		desired, document = w.claim("srv-a")
		require.Equal(t, []string{"relay", "direct"}, desired.Carriers)
		require.Nil(t, document.Left)
		w.nothingToClaim("srv-a")

		for _, change := range []string{"clone_suspected = 1", "clone_suspected = 0, agent = NULL"} {
			w.must(func(tx *db.Tx) error {
				_, err := tx.Exec("UPDATE servers SET " + change)
				return err
			})
			_, err := w.unassign(snmp, 0, "srv-a")
			require.NoError(t, err)
			w.nothingToClaim("srv-a")
		}
	})
}

func TestClaimedDocumentsCanBePublishedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.ready("srv-a", "srv-b", "srv-c")
		_, a := w.claim("srv-a")
		_, c := w.claim("srv-c")
		require.NoError(t, d.View(context.Background(), func(tx *db.Tx) error {
			all, err := ClaimedDocuments(tx, "", 9)
			require.Equal(t, []Document{a, c}, all)
			if err == nil {
				all, err = ClaimedDocuments(tx, "", 1)
				require.Equal(t, []Document{a}, all)
			}
			if err == nil {
				all, err = ClaimedDocuments(tx, "srv-a", 9)
				require.Equal(t, []Document{c}, all)
			}
			return err
		}))
	})
}
