package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

// outbox records what is published, in order, and can refuse to.
type outbox struct {
	mu       sync.Mutex
	sent     chan message
	retained map[string][]byte
	failures int // how many publishes fail from now on
}

type message struct {
	topic    protocol.Topic
	payload  []byte
	retained bool
}

func newOutbox() *outbox {
	return &outbox{sent: make(chan message, 1_000), retained: map[string][]byte{}}
}

func (o *outbox) Publish(_ context.Context, topic string, payload []byte, retained bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failures > 0 {
		o.failures--
		return errors.New("the broker is away")
	}
	parsed, err := protocol.ParseTopic(topic)
	if err != nil {
		return err
	}
	if retained {
		o.retained[topic] = payload
	}
	o.sent <- message{parsed, payload, retained}
	return nil
}

// world is a fleet, an activation server, and a Dispatch that runs until the test ends.
type world struct {
	*testing.T
	d   *db.DB
	las *exchangetest.Server
	out *outbox
	dis *Dispatch
}

const (
	of   = "Example Facilities AB"
	part = "SAMPLE-SNMP"
)

func newWorld(t *testing.T, d *db.DB, servers ...string) *world {
	las, err := exchangetest.New(exchangetest.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, las.Close()) })
	w := &world{T: t, d: d, las: las, out: newOutbox()}
	w.update(func(tx *db.Tx) error {
		_, err := catalog.Import(tx, audit.Operator, catalog.Catalog{Products: []catalog.Product{{
			PartNumber: part, Name: "SNMP", Placement: "each", Scope: "server",
			AppliesTo: catalog.AppliesTo{Types: []string{"AS-P"}, MinVersion: "7.0"},
		}}})
		require.NoError(t, err)
		_, err = tx.Exec(`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ('hq', 'HQ', $1, 'UTC', '["direct"]')`, of)
		require.NoError(t, err)
		for _, id := range servers {
			host := "HOST-" + id
			_, err := tx.Exec(`INSERT INTO servers (id, name, host_id, host_id_type, host_key, topic_name, type, role, version, site, owner, agent)
				VALUES ($1, $2, $2, 'ETHERNET', $3, $3, 'AS-P', 'top', '7.0.2', 'hq', $4, 'agent-a')`, id, host, strings.ToLower(host), of)
			require.NoError(t, err)
		}
		_, err = ledger.ImportEntitlement(tx, audit.Operator, entitlement.Certificate{
			ID: "ENT", SoldTo: of, Kind: "Commercial", Digest: exchange.DigestOf(nil), Content: exchange.DigestOf(nil),
			Lines: []entitlement.Line{{ActivationID: "DEMO-ACT-7f3a-0004", PartNumber: part, Count: 5, Remaining: 5}},
		}, "")
		return err
	})
	return w
}

func (w *world) update(fn func(tx *db.Tx) error) {
	w.Helper()
	require.NoError(w, w.d.Update(w.Context(), fn))
}

// run starts a Dispatch; the function that it returns stops it and waits.
func (w *world) run(las ActivationServer) (stop func()) {
	w.Helper()
	var err error
	w.dis, err = New(Options{DB: w.d, Outbox: w.out, ActivationServer: las, ActivationURL: "http://las.example", Keys: w.las.Keys()})
	require.NoError(w, err)
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.dis.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w, <-ended)
	})
	w.Cleanup(stop)
	return stop
}

// await is the next message of the kind.
func (w *world) await(kind protocol.Kind) message {
	w.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		select {
		case m := <-w.out.sent:
			if m.topic.Kind == kind {
				return m
			}
		case <-limit.C:
			require.FailNow(w, "nothing of this kind was published", string(kind))
		}
	}
}

func (w *world) awaitDesired() protocol.Desired {
	w.Helper()
	m := w.await(protocol.KindDesired)
	require.True(w, m.retained)
	desired, err := protocol.Decode[protocol.Desired](m.payload)
	require.NoError(w, err)
	return desired
}

func (w *world) activate(server string) {
	w.Helper()
	w.update(func(tx *db.Tx) error {
		if _, err := ledger.Assign(tx, audit.Operator, ledger.Request{Servers: []string{server}, PartNumber: part, Count: 1}); err != nil {
			return err
		}
		_, err := ledger.Activate(tx, audit.Operator, []string{server})
		return err
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAServerIsAdoptedThenToldWhatItShouldHold(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, "one")
		w.run(w.las.Direct())
		first := w.awaitDesired()
		require.Empty(t, first.Rights)
		require.Equal(t, "HOST-one", first.Host)
		state, known := w.las.Host("HOST-one")
		require.True(t, known, "it was fenced")
		require.Equal(t, first.Order.Epoch, state.Fence.Epoch)

		w.activate("one")
		second := w.awaitDesired()
		require.Equal(t, []protocol.DesiredRight{{Ref: second.Rights[0].Ref, PartNumber: part, Count: 1, ActivationID: "DEMO-ACT-7f3a-0004"}}, second.Rights)
		require.True(t, first.Order.Before(second.Order))
	})
}

func TestEverythingIsPublishedAgainAfterAStart(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, "one")
		stop := w.run(w.las.Direct())
		w.awaitDesired()
		w.activate("one")
		last := w.awaitDesired()
		stop()
		w.update(func(tx *db.Tx) error {
			_, err := fleet.HearPresence(tx, protocol.Presence{V: 1, Agent: "agent-a", Session: protocol.Session{Boot: "b", Connection: 1, Sequence: 1}, State: protocol.Online})
			return err
		})

		w.out = newOutbox()
		w.run(w.las.Direct())
		settings, err := protocol.Decode[protocol.Settings](w.await(protocol.KindSettings).payload)
		require.NoError(t, err)
		require.Equal(t, "http://las.example", settings.ActivationServer.URL)
		require.Equal(t, last, w.awaitDesired())
	})
}

func TestADocumentThatCouldNotBePublishedIsNotForgotten(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, "one")
		w.run(w.las.Direct())
		w.awaitDesired()
		w.out.mu.Lock()
		w.out.failures = 2
		w.out.mu.Unlock()
		w.activate("one")
		require.Len(t, w.awaitDesired().Rights, 1)
	})
}

// away is an activation server that cannot be reached.
type away struct{}

var errAway = errors.New("no route to host")

func (away) Release(context.Context, string, exchange.Release) ([]byte, error) { return nil, errAway }

func (away) HostState(context.Context, string) (exchange.HostState, error) {
	return exchange.HostState{}, errAway
}

func TestAServerIsToldToHoldWhereTheActivationServerCannotBeAsked(t *testing.T) {
	for name, las := range map[string]ActivationServer{"unreachable": away{}, "not configured": nil} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				w := newWorld(t, d, "one")
				w.run(las)
				hold := w.awaitDesired()
				require.True(t, hold.Hold)
				require.Empty(t, hold.Rights)
			})
		})
	}
}

// deaf cannot be reached for one host, and keeps the callers of all others waiting.
type deaf struct{ away }

func (deaf) Release(ctx context.Context, host string, _ exchange.Release) ([]byte, error) {
	if host != "HOST-one" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errAway
}

func TestOneUnansweredCallLetsEveryServerHold(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, "one", "two", "three")
		w.run(deaf{})
		for range 3 {
			require.True(t, w.awaitDesired().Hold)
		}
	})
}

func TestAReleaseIsPostedAfterItsDocumentIsRetained(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, "one")
		w.run(w.las.Direct())
		w.awaitDesired()
		w.activate("one")
		require.Equal(t, 1, w.awaitDesired().Rights[0].Count)

		wake, forget := d.Wake()
		defer forget()
		w.update(func(tx *db.Tx) error {
			if err := ledger.Strand(tx, audit.Operator, "one", "burned down"); err != nil {
				return err
			}
			return ledger.Release(tx, audit.Operator, "one", "seen by the fire brigade")
		})
		zero := w.awaitDesired()
		require.Zero(t, zero.Rights[0].Count)
		for held := 1; held > 0; {
			select {
			case <-wake:
			case <-t.Context().Done():
				require.FailNow(t, "the seat was never free")
			}
			require.NoError(t, d.View(t.Context(), func(tx *db.Tx) error {
				return tx.QueryRow(`SELECT SUM(held) FROM lines`).Scan(&held)
			}))
		}
		state, _ := w.las.Host("HOST-one")
		require.Equal(t, zero.Order, state.Fence)
	})
}

// Two hosts that were fenced by a later ledger begin one new epoch, above what the activation server has seen.
func TestALedgerThatWasRolledBackBeginsANewEpoch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d, "one", "two")
		later := time.Now().Add(time.Hour).Unix()
		for i, host := range []string{"HOST-one", "HOST-two"} {
			_, err := w.las.Release(host, exchange.Release{Key: fmt.Sprint("earlier life ", i), Order: exchange.Order{Epoch: later, Generation: 3}})
			require.NoError(t, err)
		}
		w.run(w.las.Direct())
		one, two := w.awaitDesired(), w.awaitDesired()
		require.Equal(t, later+1, one.Order.Epoch)
		require.Equal(t, later+1, two.Order.Epoch)
	})
}

func TestAskNamesANonceAndAnEnd(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.run(nil)
		nonce, err := w.dis.AskNow(t.Context(), "agent-a")
		require.NoError(t, err)
		m := w.await(protocol.KindAsk)
		require.False(t, m.retained, "an ask is never retained")
		ask, err := protocol.Decode[protocol.Ask](m.payload)
		require.NoError(t, err)
		require.Equal(t, nonce, ask.Nonce)
		require.WithinDuration(t, time.Now().Add(askLife), ask.Expires, time.Minute)

		w.dis.Ask("agent-a")
		require.Equal(t, "agent-a", w.await(protocol.KindAsk).topic.Agent)
	})
}
