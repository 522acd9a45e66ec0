package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

const (
	owner     = "Example Facilities AB"
	stranger  = "Other Owner AB"
	snmp      = "SAMPLE-SNMP"
	essential = "SAMPLE-TIER-ESS"
	advanced  = "SAMPLE-TIER-ADV"
	foreign   = "SAMPLE-WORKSTATION"
)

// world is a real ledger in a real database, with a fleet and a catalog around it. After each step every invariant is asked.
type world struct {
	tb
	d *db.DB
}

// tb is what a world needs of a test, a benchmark or a property.
type tb interface {
	require.TestingT
	Helper()
}

func newWorld(t tb, d *db.DB) *world {
	w := &world{t, d}
	require.NoError(t, d.Update(context.Background(), func(tx *db.Tx) error {
		types := []string{"ES", "AS-P", "EDGE"}
		c := catalog.Catalog{Products: []catalog.Product{
			{PartNumber: snmp, Name: "SNMP", Placement: "each", Scope: "server", AppliesTo: catalog.AppliesTo{Types: types, MinVersion: "7.0"}, Features: []catalog.Feature{{Name: "f", Count: 1}}},
			{PartNumber: essential, Name: "Essential", Placement: "top", Scope: "system", ExclusiveIn: "system", Excludes: []string{advanced}, AppliesTo: catalog.AppliesTo{Types: types, MinVersion: "7.0"}, Features: []catalog.Feature{{Name: "f", Count: 1}}},
			{PartNumber: advanced, Name: "Advanced", Placement: "top", Scope: "system", ExclusiveIn: "system", Excludes: []string{essential}, AppliesTo: catalog.AppliesTo{Types: types, MinVersion: "7.0"}, Features: []catalog.Feature{{Name: "f", Count: 1}}},
			{PartNumber: "SAMPLE-EXTRA", Name: "Extra", Placement: "each", Scope: "server", AppliesTo: catalog.AppliesTo{Types: types, MinVersion: "7.0"}, Features: []catalog.Feature{{Name: "f", Count: 1}}},
			{PartNumber: foreign, Name: "WorkStation", ManagedBy: "license-administrator"},
		}}
		if _, err := catalog.Import(tx, audit.Operator, c); err != nil {
			return err
		}
		for site, of := range map[string]string{"hq": owner, "harbour": owner, "away": stranger} {
			_, err := tx.Exec(`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ($1, $1, $2, 'UTC', '["direct"]')`, site, of)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	return w
}

// clear empties the tables of the ledger and of the servers: a fresh world in the same database.
func (w *world) clear() {
	require.NoError(w, w.d.Update(context.Background(), func(tx *db.Tx) error {
		for _, table := range []string{"assignments", "lines", "entitlements", "ledger_servers", "ledger_state", "servers", "audit", "changes"} {
			if _, err := tx.Exec("DELETE FROM " + table); err != nil {
				return err
			}
		}
		return nil
	}))
}

// node is what a test says of a server; everything has a default.
type node struct{ id, site, serverType, role, parent, version, agent string }

func (w *world) addServers(nodes ...node) {
	w.Helper()
	w.must(func(tx *db.Tx) error {
		for _, n := range nodes {
			n = node{
				n.id, or(n.site, "hq"), or(n.serverType, "ES"), or(n.role, protocol.RoleTop), n.parent, or(n.version, "7.0.2"), or(n.agent, "agent-"+n.id),
			}
			host := hostOf(n.id)
			_, err := tx.Exec(`INSERT INTO servers (id, name, host_id, host_id_type, host_key, topic_name, type, role, version, parent, site, owner, agent)
				VALUES ($1, $2, $3, 'ETHERNET', $4, $4, $5, $6, $7, $8, $9, (SELECT owner FROM sites WHERE id = $9), $10)`,
				n.id, "Server "+n.id, host, strings.ToLower(host), n.serverType, n.role, n.version, null(n.parent), null(noSite(n.site)), null(noAgent(n.agent)))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func noSite(site string) string {
	if site == "none" {
		return ""
	}
	return site
}

func noAgent(agent string) string {
	if agent == "none" {
		return ""
	}
	return agent
}

func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func hostOf(server string) string { return "DEMO-" + server }

// ready adds servers and adopts them: they hold nothing.
func (w *world) ready(ids ...string) {
	w.Helper()
	for _, id := range ids {
		w.addServers(node{id: id})
	}
	w.adoptAll()
}

// adoptAll takes every server into the ledger and adopts it as holding nothing.
func (w *world) adoptAll() {
	w.Helper()
	w.must(func(tx *db.Tx) error {
		if _, err := EnsureServers(tx); err != nil {
			return err
		}
		waiting, err := Adopting(tx)
		if err != nil {
			return err
		}
		for _, a := range waiting {
			done, err := Adopt(tx, a.Server, exchange.Receipt{V: 1, Host: a.HostID, Order: a.Order(), Sequence: 1}, []byte("signed"))
			if err != nil || !done {
				return errors.Join(err, fmt.Errorf("not adopted: %v", done))
			}
		}
		return nil
	})
}

// must does something in one transaction and asks every invariant.
func (w *world) must(fn func(tx *db.Tx) error) {
	w.Helper()
	require.NoError(w, w.try(fn))
}

func (w *world) try(fn func(tx *db.Tx) error) error {
	w.Helper()
	err := w.d.Update(context.Background(), fn)
	w.verify()
	return err
}

func (w *world) verify() {
	w.Helper()
	require.NoError(w, w.d.View(context.Background(), func(tx *db.Tx) error {
		broken, err := Verify(tx)
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("broken: %v", broken)
		}
		return err
	}))
}

// line is a line of a certificate as a test says it.
type line struct {
	part    string
	seats   int
	starts  time.Duration // from now; 0: not said
	expires time.Duration // from now; 0: never
}

// buy imports an entitlement and returns the references of its lines.
func (w *world) buy(id string, lines ...line) []string {
	w.Helper()
	return w.buyFor(owner, id, lines...)
}

func (w *world) buyFor(of, id string, lines ...line) []string {
	w.Helper()
	var refs []string
	w.must(func(tx *db.Tx) error {
		imported, err := ImportEntitlement(tx, audit.Operator, certificate(of, id, lines...), "")
		if err != nil {
			return err
		}
		refs, err = texts(tx, "SELECT ref FROM lines WHERE entitlement = $1 ORDER BY place", imported.Ref)
		return err
	})
	return refs
}

func certificate(of, id string, lines ...line) entitlement.Certificate {
	c := entitlement.Certificate{ID: id, SoldTo: of, OrderNumber: "4500012345", Kind: "Commercial", Digest: exchange.DigestOf([]byte(id))}
	now := time.Now().UTC()
	for i, l := range lines {
		of := entitlement.Line{
			ActivationID: exchange.ActivationID(fmt.Sprintf("%s-ACT-%04d", id, i)), Product: "Product " + l.part, Version: "7.0",
			PartNumber: l.part, OrderLine: fmt.Sprint(i + 1), Count: l.seats, Remaining: l.seats,
		}
		if l.starts != 0 {
			at := now.Add(l.starts)
			of.Start = &at
		}
		if l.expires != 0 {
			at := now.Add(l.expires)
			of.Expires = &at
		}
		c.Lines = append(c.Lines, of)
	}
	raw, _ := json.Marshal(lines)
	c.Content = exchange.DigestOf(fmt.Appendf(raw, "%s %v", id, lines))
	return c
}

func (w *world) assign(part string, count int, servers ...string) (Result, error) {
	w.Helper()
	var result Result
	err := w.try(func(tx *db.Tx) (err error) {
		result, err = Assign(tx, audit.Operator, Request{servers, part, count})
		return err
	})
	return result, err
}

func (w *world) unassign(part string, count int, servers ...string) (Result, error) {
	w.Helper()
	var result Result
	err := w.try(func(tx *db.Tx) (err error) {
		result, err = Unassign(tx, audit.Operator, Request{servers, part, count})
		return err
	})
	return result, err
}

func (w *world) activate(servers ...string) Activation {
	w.Helper()
	var result Activation
	w.must(func(tx *db.Tx) (err error) {
		result, err = Activate(tx, audit.Operator, servers)
		return err
	})
	return result
}

// claim claims the server's document; it must have a new one.
func (w *world) claim(server string) (protocol.Desired, Document) {
	w.Helper()
	var document Document
	w.must(func(tx *db.Tx) error {
		d, ok, err := Claim(tx, server)
		if err == nil && !ok {
			err = errors.New("there is nothing to claim")
		}
		document = d
		return err
	})
	desired, err := protocol.Decode[protocol.Desired](document.Payload)
	require.NoError(w, err)
	return desired, document
}

// view is the server as the ledger sees it.
func (w *world) view(server string) Server {
	w.Helper()
	var all []Server
	require.NoError(w, w.d.View(context.Background(), func(tx *db.Tx) (err error) {
		all, err = View(tx, server)
		return err
	}))
	require.Len(w, all, 1)
	return all[0]
}

// at is the one assignment of the line.
func (s Server) at(line string) Assignment {
	i := slices.IndexFunc(s.Assignments, func(a Assignment) bool { return a.Line == line })
	if i < 0 {
		return Assignment{}
	}
	return s.Assignments[i]
}

func (w *world) phase(server, line string) Phase {
	w.Helper()
	return w.view(server).at(line).Phase
}

// held is what the line has held and bought.
func (w *world) held(line string) (held int) {
	w.Helper()
	require.NoError(w, w.d.View(context.Background(), func(tx *db.Tx) error {
		return tx.QueryRow("SELECT held FROM lines WHERE ref = $1", line).Scan(&held)
	}))
	return held
}

func (w *world) right(line string) exchange.RightID {
	w.Helper()
	var right exchange.RightID
	require.NoError(w, w.d.View(context.Background(), func(tx *db.Tx) error {
		return tx.QueryRow("SELECT right_id FROM lines WHERE ref = $1", line).Scan(&right)
	}))
	return right
}

// counts are seats by line.
type counts map[string]int

// receipt is what the activation server would say.
func (w *world) receipt(server string, o exchange.Order, sequence int64, holds counts) *exchange.Receipt {
	w.Helper()
	r := &exchange.Receipt{V: 1, Host: hostOf(server), Order: o, Sequence: sequence}
	for line, count := range holds {
		r.Rights = append(r.Rights, exchange.ReceiptRight{Right: w.right(line), Count: count})
	}
	return r
}

// report is what an agent would say that has accepted the document.
func (w *world) report(server string, accepted Document, holds counts, change ...func(*protocol.Report)) protocol.Report {
	w.Helper()
	r := protocol.Report{
		Observed: protocol.Observed{Order: accepted.Order, Generation: accepted.Generation, Digest: accepted.Digest, Receipt: []byte("signed")},
		Facts:    protocol.Facts{HostID: hostOf(server), Role: protocol.RoleTop},
	}
	for line, count := range holds {
		r.Rights = append(r.Rights, protocol.HeldRight{Right: w.right(line), Count: count})
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// at returns a change that puts an exchange of the order into a report.
func exchangeAt(step protocol.Step, o exchange.Order, code exchange.Code, rights ...protocol.ExchangeRight) func(*protocol.Report) {
	return func(r *protocol.Report) {
		r.Exchange = &protocol.Exchange{
			Digest: ours, Operation: exchange.OperationRequest, Order: o, Step: step, Rights: rights, Code: code,
		}
		r.Observed.InFlight = step == protocol.StepMade || step == protocol.StepAnswered || step == protocol.StepApplied
	}
}

func (w *world) settle(server string, r protocol.Report, receipt *exchange.Receipt) Settled {
	w.Helper()
	var settled Settled
	w.must(func(tx *db.Tx) (err error) {
		settled, err = Settle(tx, server, r, receipt)
		return err
	})
	return settled
}

// prove claims what is ordered and settles it with a receipt that says exactly that.
func (w *world) prove(server string, sequence int64) Document {
	w.Helper()
	desired, document := w.claim(server)
	holds := counts{}
	for _, right := range desired.Rights {
		holds[right.Ref] = right.Count
	}
	settled := w.settle(server, w.report(server, document, holds), w.receipt(server, document.Order, sequence, holds))
	require.Equal(w, Settles, settled.Verdict)
	return document
}
