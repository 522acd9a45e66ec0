package activation_test

import (
	"errors"
	"flag"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/agent/agenttest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
)

// TestWhateverHappensItConverges lets rapid choose: documents, holds, crashes at every point, lost and refused replies,
// images of the server, of the agent and of both, releases, a broker that is away, foreign hands. After every step:
//
//   - nothing is reported that would free a seat which is taken (truthful);
//   - no new request is posted while another is unanswered: what is posted is the message in flight.
//
// At the end, with the newest document here and nothing broken any more, server, activation server and receipt are as the
// document says, or the right carries a code.
func TestWhateverHappensItConverges(t *testing.T) {
	if given := flag.Lookup("rapid.checks"); given.Value.String() == given.DefValue {
		require.NoError(t, given.Value.Set(chaosChecks))
		t.Cleanup(func() { require.NoError(t, given.Value.Set(given.DefValue)) })
	}
	names := points(t)
	rapid.Check(t, func(rt *rapid.T) {
		c := &chaos{kit: newKit(t, kitOptions{returnAll: rapid.Bool().Draw(rt, "return all")}), rt: rt, points: names}
		c.t = rt
		c.carrier.before, c.carrier.ended = c.onPost, c.onEnd
		c.deliverNew()
		actions := map[string]func(*rapid.T){
			"step": c.stepOnce, "steps": c.stepOnce, "more steps": c.stepOnce, "settle": func(*rapid.T) { c.stepMany() },
			"new document": func(*rapid.T) { c.deliverNew() }, "hold": c.hold, "crash": c.crash, "crash point": c.crashPoint,
			"broker": c.broker, "lost reply": c.loseReply, "refuse": c.refuse, "server refuses": c.serverRefuses,
			"image": c.image, "restore": c.restore, "foreign hand": c.tamper, "release": c.release, "line": c.cut,
		}
		rt.Repeat(actions)
		c.heal()
	})
}

type chaos struct {
	*kit
	rt      *rapid.T
	points  []string // where to crash
	server  *agenttest.ServerImage
	journal *agenttest.JournalImage
	broken  bool            // the line to the activation server
	silent  exchange.Digest // of a request that was posted and neither answered nor refused
}

// onPost looks at what leaves: it must be in the journal as it leaves.
func (c *chaos) onPost(message []byte) error {
	e := c.stepper.Report().Exchange
	if e == nil || !c.stepper.Report().Observed.InFlight {
		c.rt.Fatal("something was posted while nothing is in flight")
	}
	if e.Step == protocol.StepMade && e.Digest != exchange.DigestOf(message) {
		c.rt.Fatal("a request was posted that is not the one in flight")
	}
	if digest := exchange.DigestOf(message); e.Step == protocol.StepMade {
		if c.silent != "" && c.silent != digest {
			c.rt.Fatal("a second request was posted while the first was not answered")
		}
		c.silent = digest
	}
	if c.broken {
		return errCut
	}
	return nil
}

func (c *chaos) onEnd(message []byte, err error) {
	refusal := (*exchange.Refusal)(nil)
	if err == nil || errors.As(err, &refusal) && !refusal.Code.Transient() {
		if c.silent == exchange.DigestOf(message) {
			c.silent = ""
		}
	}
}

func (c *chaos) stepOnce(*rapid.T) {
	c.stepper.Step()
	c.truthful()
}

func (c *chaos) stepMany() {
	for range 12 {
		if c.stepOnce(nil); c.stepper.Idle() {
			return
		}
	}
}

func (c *chaos) counts() []int {
	return rapid.SliceOfN(rapid.IntRange(0, seats), len(rights), len(rights)).Draw(c.rt, "counts")
}

func (c *chaos) deliverNew() { _ = c.stepper.Deliver(c.want(c.counts()...)) }

func (c *chaos) hold(*rapid.T) {
	c.order.Generation++
	_ = c.stepper.Deliver(c.document(protocol.Desired{Hold: true}))
}

func (c *chaos) crash(*rapid.T) { c.stepper.Crash() }

func (c *chaos) crashPoint(rt *rapid.T) {
	c.stepper.CrashAt(rapid.SampledFrom(c.points).Draw(rt, "point"))
	c.stepMany()
	c.stepper.CrashAt("")
}

func (c *chaos) broker(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "away") {
		c.stepper.Disconnect()
		return
	}
	_ = c.stepper.Reconnect()
}

func operation(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"", exchange.OperationRequest, exchange.OperationReport, exchange.OperationConfirm}).Draw(rt, "operation")
}

func (c *chaos) loseReply(rt *rapid.T) {
	fault := rapid.SampledFrom([]string{exchangetest.FaultDropReply, exchangetest.FaultDuplicate, exchangetest.FaultCorruptSignature}).Draw(rt, "fault")
	c.fault(exchangetest.Fault{Fault: fault, Operation: operation(rt)})
	c.stepMany()
}

func (c *chaos) refuse(rt *rapid.T) {
	code := rapid.SampledFrom([]exchange.Code{
		exchange.Busy, exchange.RightDenied, exchange.ReturnLimitReached, exchange.OutOfStep, exchange.Superseded, exchange.HostObsolete,
	}).Draw(rt, "code")
	c.fault(exchangetest.Fault{Fault: exchangetest.FaultRefuse, Code: code})
	c.stepMany()
}

func (c *chaos) serverRefuses(rt *rapid.T) {
	c.system.RefuseNext(host, rapid.SampledFrom([]exchange.Code{
		exchange.SignatureInvalid, exchange.ResponseExpired, exchange.KeyUnknown, exchange.ClockSkewed, exchange.Busy,
	}).Draw(rt, "code"))
	c.stepMany()
}

func (c *chaos) image(*rapid.T) {
	server, journal := c.system.Image(host), c.stepper.Image()
	c.server, c.journal = &server, &journal
}

func (c *chaos) restore(rt *rapid.T) {
	if c.server == nil {
		rt.Skip("no image")
	}
	what := rapid.IntRange(1, 3).Draw(rt, "what")
	if what&1 != 0 {
		c.system.Restore(*c.server)
	}
	if what&2 != 0 {
		c.silent = "" // what it was is not remembered
		c.stepper.RestoreImage(*c.journal)
	}
}

func (c *chaos) tamper(rt *rapid.T) {
	c.system.Tamper(host, rapid.SampledFrom(rights).Draw(rt, "right"), rapid.IntRange(0, seats).Draw(rt, "count"))
}

// release is a coordinator's: a document that says 0 is claimed first, then the host is released under its order.
func (c *chaos) release(rt *rapid.T) {
	payload := c.want(0, 0)
	order := exchange.Release{Key: c.order.String(), Order: c.order, Take: rapid.Bool().Draw(rt, "take")}
	for range 3 { // it repeats what was lost or refused
		if _, err := c.las.Release(host, order); err == nil {
			break
		}
	}
	c.stepMany() // the agent does not know yet
	_ = c.stepper.Deliver(payload)
}

func (c *chaos) cut(*rapid.T) {
	c.broken = !c.broken
	c.stepMany()
}

// heal ends every trouble, gives a newest document and looks at the result.
func (c *chaos) heal() {
	c.broken = false
	for range 60 { // uses up the faults that are left
		if c.stepOnce(nil); errors.Is(c.stepper.Err(), errCut) {
			c.rt.Fatal("the line is whole")
		}
	}
	for range 3 {
		_ = c.stepper.Reconnect()
		c.deliverNew()
		c.settle()
	}
	counts := c.counts()
	c.deliver(c.want(counts...))
	c.settle()
	e := c.stepper.Report().Exchange
	if slices.ContainsFunc(e.Rights, func(r protocol.ExchangeRight) bool { return r.Code != "" }) || e.Code != "" {
		return // named
	}
	c.agree(counts...)
}
