package ledger

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// TestLedgerAgainstTheModel lets anything happen to the real ledger: operators, agents that crash, are put back from images
// and report late, an activation server whose answers get lost, restores of the ledger from a backup. After every step every
// invariant holds, the counts are those that a small model predicts, and no host consumes more than the ledger holds for it;
// left alone, everything comes to rest in agreement.
func TestLedgerAgainstTheModel(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		first, seen, run := newWorld(t, d), map[string]int{}, 0
		t.Cleanup(func() { t.Log(seen) })
		rapid.Check(t, func(rt *rapid.T) {
			run++
			if d.Engine() == "postgres" && run%5 != 0 || raceDetector && run%10 != 0 {
				return // where a statement takes many times longer, a part of the runs has to do
			}
			first.clear()
			p := newPlay(rt, &world{rt, d})
			p.seen = seen
			rt.Repeat(map[string]func(*rapid.T){
				"decide": p.decide, "decide more": p.decide, "go on": p.goOn, "go on more": p.goOn, "go far": p.goOn,
				"fault": p.fault, "": p.check,
			})
			p.settleDown()
		})
		if run < 100 || d.Engine() == "postgres" || raceDetector {
			return
		}
		for _, often := range []string{"settles", "adopts", "waits", "released true", "consumption compared", "activated", "returning", "requested", "issued"} {
			require.Positive(t, seen[often], "a play in which this never happens shows nothing: %s", often)
		}
	})
}

// play is one run.
type play struct {
	w       *world
	servers []string
	lines   map[string]string // product -> line
	las     *las
	agents  map[string]*agent
	images  map[string]*agent
	heard   map[string][]heard // every report ever made
	model   *shadow
	due     map[string]DueRelease // releases that were ever posted, by key
	seen    map[string]int        // how often what happened, over all runs

	asked bool // the coordinator can ask the activation server; else adopting servers hold

	backup      map[string][][]any
	backupModel *shadow
}

type heard struct {
	report  protocol.Report
	receipt *exchange.Receipt
}

func newPlay(rt *rapid.T, w *world) *play {
	p := &play{
		w: w, servers: []string{"srv-a", "srv-b", "srv-c"}, lines: map[string]string{}, las: newLAS(),
		agents: map[string]*agent{}, images: map[string]*agent{}, heard: map[string][]heard{}, model: newShadow(), due: map[string]DueRelease{},
	}
	for _, server := range p.servers {
		w.addServers(node{id: server})
		p.agents[server] = newAgent(server)
	}
	w.must(func(tx *db.Tx) error { _, err := EnsureServers(tx); return err })
	seats := []int{rapid.IntRange(1, 3).Draw(rt, "seats"), rapid.IntRange(1, 3).Draw(rt, "seats")}
	before := rapid.Bool().Draw(rt, "a license from before")
	refs := w.buy("ENT-1", line{part: snmp, seats: seats[0]}, line{part: "SAMPLE-EXTRA", seats: seats[1]})
	for i, part := range []string{snmp, "SAMPLE-EXTRA"} {
		p.lines[part] = refs[i]
		p.las.bought[refs[i]] = seats[i]
		p.las.rights[refs[i]] = w.right(refs[i])
		p.model.bought[refs[i]] = seats[i]
	}
	if before { // the certificate says what remains, so the server's seat is beyond what the ledger may give
		p.las.bought[refs[0]]++
		p.las.host("srv-a").holds[refs[0]], p.las.host("srv-a").sequence = 1, 1
		p.agents["srv-a"].installed[refs[0]], p.agents["srv-a"].sequence = 1, 1
	}
	for _, server := range p.servers {
		p.model.servers[server] = &shadowServer{adopting: true}
	}
	p.asked = rapid.IntRange(0, 2).Draw(rt, "the activation server can be asked") > 0
	if rapid.Bool().Draw(rt, "adopted") {
		for _, server := range p.servers {
			p.adoptOne(server)
		}
	}
	return p
}

// decide is what an operator does, usually to the end.
func (p *play) decide(t *rapid.T) {
	rapid.SampledFrom([]func(*rapid.T){p.assign, p.assign, p.assign, p.unassign, p.release}).Draw(t, "decision")(t)
	if rapid.IntRange(0, 2).Draw(t, "activate") > 0 {
		p.activate(t)
	}
}

// goOn is a few steps of the protocol, of one server or of all.
func (p *play) goOn(t *rapid.T) {
	steps := []func(*rapid.T){p.adopt, p.claim, p.deliver, p.agent, p.agent, p.agent, p.report}
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		rapid.SampledFrom(steps).Draw(t, "step")(t)
		p.check(t)
	}
}

// fault is what goes wrong, and what does not happen every day.
func (p *play) fault(t *rapid.T) {
	rapid.SampledFrom([]func(*rapid.T){
		p.lateReport, p.lateReport, p.lie, p.hold, p.strand, p.image, p.image, p.crash, p.backUp, p.restore, p.newEpoch,
	}).Draw(t, "fault")(t)
}

func (p *play) one(t *rapid.T) string { return rapid.SampledFrom(p.servers).Draw(t, "server") }

func (p *play) some(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(p.servers), 1, 2, rapid.ID).Draw(t, "servers")
}

func (p *play) part(t *rapid.T) string {
	return rapid.SampledFrom([]string{snmp, "SAMPLE-EXTRA"}).Draw(t, "product")
}

func (p *play) assign(t *rapid.T) {
	servers, part, count := p.some(t), p.part(t), rapid.IntRange(1, 3).Draw(t, "count")
	ok := p.model.assign(servers, p.lines[part], count)
	_, err := p.w.assign(part, count, servers...)
	p.agree(ok, err)
}

func (p *play) unassign(t *rapid.T) {
	servers, part := p.some(t), p.part(t)
	ok := p.model.unassign(servers, p.lines[part])
	_, err := p.w.unassign(part, 0, servers...)
	p.agree(ok, err)
}

func (p *play) activate(t *rapid.T) {
	servers := p.some(t)
	failed := map[string]bool{}
	for _, server := range servers {
		for _, a := range p.w.view(server).Assignments {
			failed[server] = failed[server] || a.Phase == Failed
		}
	}
	ok := p.model.activate(servers, failed)
	err := p.w.try(func(tx *db.Tx) error {
		_, err := Activate(tx, audit.Operator, servers)
		return err
	})
	p.agree(ok, err)
}

// agree compares a prediction with what happened: a refusal is the only thing that may go wrong.
func (p *play) agree(ok bool, err error) {
	p.w.Helper()
	if ok {
		require.NoError(p.w, err)
		return
	}
	require.ErrorIs(p.w, err, ErrRefused)
}

func (p *play) claim(t *rapid.T) { p.claimOne(p.one(t)) }

func (p *play) claimOne(server string) bool {
	var document Document
	var claimed bool
	p.w.must(func(tx *db.Tx) (err error) {
		document, claimed, err = Claim(tx, server)
		return err
	})
	if !claimed {
		return false
	}
	a := p.agents[server]
	require.NoError(p.w, a.retain(document))
	p.model.claim(server, a.retained[len(a.retained)-1])
	p.w.must(func(tx *db.Tx) error { return ReleasePublished(tx, server, document.Generation) })
	return true
}

func (p *play) deliver(t *rapid.T) {
	a := p.agents[p.one(t)]
	if len(a.retained) == 0 {
		return
	}
	if at := rapid.IntRange(0, 3).Draw(t, "how late"); at > 0 && at < len(a.retained) {
		a.accept(a.retained[len(a.retained)-1-at])
		return
	}
	a.accept(a.retained[len(a.retained)-1])
	a.fresh = true
}

func (p *play) agent(t *rapid.T) {
	server := p.one(t)
	luck := rapid.IntRange(0, 5).Draw(t, "luck")
	p.las.denies = luck == 0
	p.stepAgent(server, luck == 1)
	p.las.denies = false
	if rapid.Bool().Draw(t, "report") {
		p.reportOne(server)
	}
}

func (p *play) stepAgent(server string, refuse bool) bool {
	a := p.agents[server]
	asked := a.inFlight
	did := a.step(p.las, refuse)
	if asked == nil || p.model.adoptingAny() {
		return did
	}
	for line, code := range asked.answer.refused {
		if code == exchange.RightExhausted {
			require.Less(p.w, p.model.at(server, line).Held(), asked.want[line], "exhausted at the activation server, though the ledger holds the seat")
		}
	}
	return did
}

func (p *play) crash(t *rapid.T) { p.agents[p.one(t)].fresh = false }

func (p *play) image(t *rapid.T) {
	server := p.one(t)
	if p.images[server] == nil {
		p.images[server] = p.agents[server].image()
		return
	}
	back := p.images[server].image()
	back.retained = p.agents[server].retained // the broker's, not the image's
	p.agents[server], p.images[server] = back, nil
}

func (p *play) report(t *rapid.T) { p.reportOne(p.one(t)) }

func (p *play) reportOne(server string) {
	r, receipt := p.agents[server].report(p.las.rights)
	p.heard[server] = append(p.heard[server], heard{r, receipt})
	p.settle(server, r, receipt)
}

func (p *play) lateReport(t *rapid.T) {
	server := p.one(t)
	if len(p.heard[server]) == 0 {
		return
	}
	late := rapid.SampledFrom(p.heard[server]).Draw(t, "report")
	p.settle(server, late.report, late.receipt)
}

// lie is an agent that names a document which never was: a rollback, or an attack.
func (p *play) lie(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "rarely") != 0 {
		return
	}
	server := p.one(t)
	r, receipt := p.agents[server].report(p.las.rights)
	now := p.w.view(server)
	r.Observed.Order = exchange.Order{Epoch: now.Order.Epoch, Generation: now.Claimed.Generation + 1}
	r.Observed.Generation, r.Observed.Digest = r.Observed.Order.Generation, other
	p.settle(server, r, receipt)
}

func (p *play) settle(server string, r protocol.Report, receipt *exchange.Receipt) {
	verdict := p.model.settle(server, r, receipt, p.las.rights)
	require.Equal(p.w, verdict, p.w.settle(server, r, receipt).Verdict)
	p.seen[[]string{"waits", "settles", "adopts", "ahead"}[verdict]]++
}

func (p *play) adopt(t *rapid.T) { p.adoptOne(p.one(t)) }

func (p *play) adoptOne(server string) bool {
	if !p.model.servers[server].adopting {
		return false
	}
	if !p.asked {
		p.hold(nil)
		return false
	}
	var waiting []Adoption
	p.w.must(func(tx *db.Tx) (err error) {
		waiting, err = Adopting(tx)
		return err
	})
	a := waiting[slices.IndexFunc(waiting, func(a Adoption) bool { return a.Server == server })]
	receipt, ok := p.las.release(server, a.Key(), a.Order(), false)
	require.True(p.w, ok, "nobody is ahead of this ledger")
	p.model.adopt(server, receipt, p.las.rights)
	p.w.must(func(tx *db.Tx) error {
		done, err := Adopt(tx, server, receipt, []byte("signed"))
		require.True(p.w, done)
		return err
	})
	return true
}

// hold is when the activation server cannot be asked.
func (p *play) hold(*rapid.T) {
	p.w.must(func(tx *db.Tx) error { _, err := Hold(tx, p.servers...); return err })
}

func (p *play) strand(t *rapid.T) {
	server := p.one(t)
	ok := p.model.strand(server)
	p.agree(ok, p.w.try(func(tx *db.Tx) error { return Strand(tx, audit.Operator, server, "") }))
}

func (p *play) release(t *rapid.T) {
	server := p.one(t)
	if rapid.Bool().Draw(t, "marked") && p.model.strand(server) {
		p.w.must(func(tx *db.Tx) error { return Strand(tx, audit.Operator, server, "") })
	}
	ok := p.model.release(server)
	p.agree(ok, p.w.try(func(tx *db.Tx) error { return Release(tx, audit.Operator, server, "") }))
	p.claimOne(server)
	p.postReleases(rapid.Bool().Draw(t, "the answer gets lost"))
	if len(p.due) > 0 && rapid.Bool().Draw(t, "an old answer comes again") {
		keys := slices.Sorted(maps.Keys(p.due))
		due := p.due[rapid.SampledFrom(keys).Draw(t, "key")]
		if receipt, ok := p.las.keys[due.Key]; ok {
			p.released(due, receipt)
		}
	}
}

func (p *play) postReleases(lost bool) (posted bool) {
	var due []DueRelease
	p.w.must(func(tx *db.Tx) (err error) {
		due, err = ReleaseDue(tx)
		return err
	})
	for _, r := range due {
		p.due[r.Key] = r
		receipt, ok := p.las.release(r.Server, r.Key, r.Order, true)
		require.True(p.w, ok, "nobody is ahead of this ledger")
		if !lost {
			p.released(r, receipt)
			posted = true
		}
	}
	return posted
}

func (p *play) released(r DueRelease, receipt exchange.Receipt) {
	var done bool
	p.w.must(func(tx *db.Tx) (err error) {
		done, err = ReleaseSettled(tx, r, receipt, []byte("signed"))
		return err
	})
	require.Equal(p.w, p.model.released(r, receipt), done)
	p.seen[fmt.Sprint("released ", done)]++
}

func (p *play) newEpoch(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "rarely") != 0 {
		return
	}
	p.w.newEpoch()
	p.model.newEpoch()
}

var ledgerTables = []string{"ledger_state", "ledger_servers", "entitlements", "lines", "assignments"}
