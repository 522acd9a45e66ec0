package activation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

func (k *kit) fault(f exchangetest.Fault) {
	k.t.Helper()
	require.NoError(k.t, k.las.Fault(f))
}

// codes are what the report says of the rights, by reference.
func (k *kit) codes() map[string]exchange.Code {
	k.t.Helper()
	codes := make(map[string]exchange.Code)
	e := k.stepper.Report().Exchange
	require.NotNil(k.t, e)
	for _, right := range e.Rights {
		codes[right.Ref] = right.Code
	}
	return codes
}

func TestARefusedRightIsAskedForOncePerOrder(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.deliver(k.want(seats+1, 2))
	k.settle()
	require.Equal(t, 2, k.requests())
	require.Equal(t, map[string]exchange.Code{"ref-a": exchange.RightExhausted, "ref-b": ""}, k.codes())
	require.Equal(t, 2, k.system.Held(host)[rightB], "the other right is granted")

	k.system.Tamper(host, rightB, 1) // a new exchange under the same order leaves the refused right alone
	k.settle()
	require.Equal(t, 2, k.system.Held(host)[rightB])
	require.Equal(t, exchange.RightExhausted, k.codes()["ref-a"], "and does not hide its code")
	k.stepper.Crash()
	require.NoError(t, k.stepper.Reconnect())
	k.settle()
	require.Equal(t, exchange.RightExhausted, k.codes()["ref-a"])

	before := k.requests()
	k.activate(seats, 2) // a new order is a new chance
	require.Equal(t, before+2, k.requests())
	require.Empty(t, k.codes()["ref-a"])
}

func TestARefusedReturnKeepsItsSeats(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(2, 1)
	k.fault(exchangetest.Fault{Fault: exchangetest.FaultRefuse, Code: exchange.ReturnLimitReached, ActivationID: rightA.Reveal()})
	k.deliver(k.want(0, 2))
	k.settle()
	require.Equal(t, exchange.ReturnLimitReached, k.codes()["ref-a"])
	require.Equal(t, 2, k.system.Held(host)[rightA])
	require.Equal(t, 2, k.system.Held(host)[rightB])
	k.activate(0, 2)
}

// A driver that cannot explain still ends: the receipt shows which right was refused.
func TestARefusalThatNobodyExplains(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.system.RefuseExplanation(host, exchange.Malformed)
	k.deliver(k.want(seats+1, 2))
	k.settle()
	require.Equal(t, map[string]exchange.Code{"ref-a": exchange.Unknown, "ref-b": ""}, k.codes())
	require.Equal(t, 2, k.requests())
}

func TestARefusedOrderStopsUntilTheNextOne(t *testing.T) {
	for _, operation := range []string{exchange.OperationRequest, exchange.OperationConfirm} {
		t.Run(operation, func(t *testing.T) {
			k := newKit(t, kitOptions{})
			k.activate(0, 0)
			k.fault(exchangetest.Fault{Fault: exchangetest.FaultRefuse, Code: exchange.HostObsolete, Operation: operation})
			k.deliver(k.want(1, 1))
			did := k.settle()
			require.Contains(t, did, "request refused: host-obsolete")
			require.Contains(t, did[len(did)-1], "the order is refused (host-obsolete)")
			e := k.stepper.Report().Exchange
			require.Equal(t, protocol.StepRefused, e.Step)
			require.Equal(t, exchange.HostObsolete, e.Code)
			if operation == exchange.OperationRequest { // else the server holds what it should
				require.Equal(t, exchange.HostObsolete, k.codes()["ref-a"])
			}
			before := k.requests()
			k.stepper.Crash()
			require.NoError(t, k.stepper.Reconnect())
			k.settle()
			require.Equal(t, before, k.requests(), "nothing is asked again under this order")
			k.deliver(k.document(protocol.Desired{Generation: k.order.Generation + 5}, 1, 1)) // another document, the same order
			k.settle()
			require.Equal(t, before, k.requests())
			k.order.Generation += 5
			k.deliver(k.want(1, 1))
			did = k.settle()
			require.Contains(t, did[0], "created a report", "what was committed is not known")
			k.agree(1, 1)
		})
	}
}

func TestAServerThatRefusesToWriteARequest(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.system.RefuseNextRequest(host, exchange.BindingBroken)
	k.deliver(k.want(1))
	did := k.settle()
	require.Equal(t, "the server refused to write a request: binding-broken", did[0])
	e := k.stepper.Report().Exchange
	require.Equal(t, protocol.Exchange{
		Digest: exchange.DigestOf(nil), Operation: exchange.OperationRequest, Order: k.order, Step: protocol.StepRefused,
		Code: exchange.BindingBroken, Rights: []protocol.ExchangeRight{{Ref: "ref-a", Count: 1, Code: exchange.BindingBroken}},
	}, *e)
	require.Empty(t, k.carrier.posted)
	k.activate(1)

	k.system.RefuseNextRequest(host, exchange.Busy) // for now
	k.deliver(k.want(2))
	require.Equal(t, "the server wrote no request", k.steps(1))
	k.settle()
	k.agree(2)
}

// Return-all, and something on the server that is not Licet's: the server must not return that.
func TestWholeServerReturnLeavesForeignRightsAlone(t *testing.T) {
	k := newKit(t, kitOptions{returnAll: true})
	k.activate(1, 1)
	k.deliver(k.want(0)) // the document names A alone, so B is not Licet's
	k.settle()
	require.Equal(t, exchange.WholeServerReturnOnly, k.codes()["ref-a"])
	require.Equal(t, 1, k.system.Held(host)[rightA])
	require.Equal(t, 1, k.system.Held(host)[rightB])
}

func TestTransientRefusalsKeepTheExchangeInFlight(t *testing.T) {
	for _, code := range []exchange.Code{exchange.Busy, exchange.Unavailable, exchange.RateLimited} {
		for _, operation := range []string{exchange.OperationRequest, exchange.OperationConfirm} {
			t.Run(string(code)+" "+operation, func(t *testing.T) {
				k := newKit(t, kitOptions{})
				k.fault(exchangetest.Fault{Fault: exchangetest.FaultRefuse, Code: code, Operation: operation, Count: 2})
				k.deliver(k.want(1))
				did := k.settle()
				require.Equal(t, 2, len(slices.DeleteFunc(did, func(s string) bool { return s != "no answer: "+string(code) })))
				require.Equal(t, 2, k.requests(), "the same bytes went again")
				k.agree(1)
			})
		}
	}
}

func TestRepliesLostAfterTheirCommit(t *testing.T) {
	for _, operation := range []string{exchange.OperationRequest, exchange.OperationConfirm} {
		t.Run(operation, func(t *testing.T) {
			k := newKit(t, kitOptions{})
			k.activate(2)
			k.fault(exchangetest.Fault{Fault: exchangetest.FaultDropReply, Operation: operation, Count: 3})
			k.fault(exchangetest.Fault{Fault: exchangetest.FaultDuplicate, Operation: operation})
			before := k.requests()
			k.activate(1)
			require.Equal(t, before+2, k.requests())
		})
	}
}

func TestAResponseThatTheServerRefuses(t *testing.T) {
	for name, ordered := range map[string]func(k *kit){
		"damaged on the way": func(k *kit) {
			k.fault(exchangetest.Fault{Fault: exchangetest.FaultCorruptSignature, Operation: exchange.OperationRequest})
		},
		"clock":   func(k *kit) { k.system.RefuseNext(host, exchange.ClockSkewed) },
		"expired": func(k *kit) { k.system.RefuseNext(host, exchange.ResponseExpired) },
		"twice": func(k *kit) {
			k.system.RefuseNext(host, exchange.ResponseStale)
			k.system.RefuseNext(host, exchange.KeyUnknown)
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, kitOptions{})
			k.activate(2, 1)
			ordered(k)
			k.deliver(k.want(1, 2))
			did := strings.Join(k.settle(), "\n")
			require.Contains(t, did, "request refused: ")
			require.Contains(t, did, "created a report: server and activation server may be out of step")
			k.agree(1, 2)
		})
	}
}

func TestABusyServerAppliesLater(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.system.RefuseNext(host, exchange.Busy)
	k.deliver(k.want(1))
	require.Equal(t, "no answer: busy", k.steps(3))
	k.settle()
	require.Equal(t, 2, k.requests())
	k.agree(1)
}

func TestASilentServerIsWaitedFor(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.system.SetUnanswered(host, "no route")
	k.deliver(k.want(1))
	require.Equal(t, []string{"the server's facts are not known"}, k.settle())
	k.system.SetUnanswered(host, "")
	k.steps(2)
	k.system.SetUnanswered(host, "no route")
	k.steps(5)
	require.ErrorContains(t, k.stepper.Err(), "no route")
	k.system.SetUnanswered(host, "")
	k.settle()
	k.agree(1)
}

// A receipt that does not fit is a carrier's doing: the confirmation goes again.
func TestAReceiptThatDoesNotFit(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(1)
	old := k.stepper.Report().Observed.Receipt
	stranger, err := signed.NewKey()
	require.NoError(t, err)
	forged, err := stranger.Sign(signed.Purpose{Kind: exchange.ReceiptKind, Audience: host}, []byte("{}"))
	require.NoError(t, err)
	for name, row := range map[string]struct {
		answer []byte
		code   exchange.Code
	}{
		"another's": {old, exchange.ResponseForAnother}, "nothing": {nil, exchange.Unavailable},
		"no receipt":   {[]byte("<html>log in to the guest network</html>"), exchange.Malformed},
		"a stranger's": {forged, exchange.KeyUnknown}, "too much": {make([]byte, exchange.MaxMessage+1), exchange.Unavailable},
	} {
		k.deliver(k.want(k.system.Held(host)[rightA]%2 + 1))
		require.Equal(t, "applied a response", k.steps(3))
		k.carrier.after = func([]byte) ([]byte, error) { return row.answer, nil }
		require.Equal(t, "no answer: "+string(row.code), k.steps(1), name)
		require.Error(t, k.stepper.Err(), name)
		require.True(t, k.stepper.Report().Observed.InFlight)
		k.carrier.after = nil
		require.Equal(t, "settled with a receipt", k.steps(1), name)
		k.settle()
	}
}

func TestAPersonCarriesTheMessage(t *testing.T) {
	k := newKit(t, kitOptions{})
	person := &byHand{kit: k}
	k.carrier.Carrier = person
	k.deliver(k.want(2))
	require.Equal(t, "a person carries the message", k.steps(2))
	require.NoError(t, k.stepper.Err())
	require.Equal(t, "a person carries the message", k.steps(3), "it is asked for, not posted again")
	require.Equal(t, 1, person.posts)
	person.forgets = true
	require.Equal(t, "a person carries the message", k.steps(1), "it is posted again where it is not known any more")
	require.Equal(t, 2, person.posts)
	person.carry()
	require.Equal(t, "received a response", k.steps(1))
	require.Equal(t, "a person carries the message", k.steps(2))
	person.carry()
	k.settle()
	k.agree(2)
	require.Equal(t, 3, person.posts)
}

// byHand is a carrier that answers when a person has been there and back.
type byHand struct {
	*kit
	waiting []byte
	answer  []byte
	forgets bool
	posts   int
}

func (b *byHand) Post(_ context.Context, message []byte) ([]byte, error) {
	b.posts++
	b.waiting, b.answer, b.forgets = message, nil, false
	return nil, &exchange.ErrCarried{}
}

func (b *byHand) Fetch(_ context.Context, message exchange.Digest) ([]byte, error) {
	switch {
	case b.forgets || exchange.DigestOf(b.waiting) != message:
		return nil, &exchange.Refusal{Code: exchange.Unknown, Status: 404}
	case b.answer == nil:
		return nil, &exchange.ErrCarried{}
	}
	return b.answer, nil
}

func (b *byHand) carry() {
	b.t.Helper()
	answer, err := b.las.Process(b.waiting)
	require.NoError(b.t, err)
	b.answer = answer
}

func TestASecretInSomebodyElsesWordsIsMasked(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.deliver(k.want(1))
	k.carrier.before = func([]byte) error { return errors.New("cannot send " + rightA.Reveal()) }
	k.steps(2)
	require.ErrorContains(t, k.stepper.Err(), "cannot send ****et-A")
	require.NotContains(t, k.stepper.Err().Error(), "secret-A")
	k.carrier.before = func([]byte) error {
		return &exchange.Refusal{Code: exchange.Busy, Detail: "no seat of " + rightA.Reveal()}
	}
	k.steps(1)
	require.NotContains(t, k.stepper.Err().Error(), "secret-A")
	var refusal *exchange.Refusal
	require.ErrorAs(t, k.stepper.Err(), &refusal)
	k.deliver(k.want(0, 1)) // no longer named, still a secret
	k.steps(1)
	require.NotContains(t, k.stepper.Err().Error(), "secret-A")
}

func TestAcceptTakesOnlyWhatIsNewerAndMeantForIt(t *testing.T) {
	k := newKit(t, kitOptions{})
	first := k.want(1)
	k.order = exchange.Order{Epoch: 1, Generation: 9}
	second := k.want(1)
	sameGeneration := k.document(protocol.Desired{Generation: k.order.Generation}, 2)
	k.order = exchange.Order{Epoch: 2}
	newEpoch := k.want(1)

	k.deliver(first)
	k.deliver(second)
	observed := k.stepper.Report().Observed
	require.Equal(t, exchange.DigestOf(second), observed.Digest)
	require.EqualValues(t, 10, observed.Generation)
	k.stepper.Disconnect()
	for name, payload := range map[string][]byte{"older": first, "the same generation, other content": sameGeneration} {
		require.ErrorIs(t, k.stepper.Deliver(payload), activation.ErrStale, name)
		require.Equal(t, "the desired document of this connection is not here yet", k.stepper.Step(), name)
	}
	for name, change := range map[string]func(*protocol.Desired){
		"another agent":  func(d *protocol.Desired) { d.Agent = "agent-2" },
		"another server": func(d *protocol.Desired) { d.Server = "host-2" },
		"another host":   func(d *protocol.Desired) { d.Host = "HOST-2" },
	} {
		require.ErrorIs(t, k.stepper.Deliver(k.altered(newEpoch, change)), activation.ErrMisaddressed, name)
	}
	require.ErrorIs(t, k.stepper.Deliver([]byte("{")), protocol.ErrNotJSON)
	require.ErrorIs(t, k.stepper.Deliver(make([]byte, protocol.MaxPayload+1)), protocol.ErrTooLarge)
	require.ErrorIs(t, k.stepper.Deliver(k.altered(newEpoch, func(d *protocol.Desired) { d.Rights[0].Count = -1 })), protocol.ErrInvalid)
	require.Equal(t, exchange.DigestOf(second), k.stepper.Report().Observed.Digest, "nothing of that changed anything")

	k.deliver(second)
	require.Contains(t, k.stepper.Step(), "created a request", "the same document again says that it is the newest")
	k.deliver(newEpoch)
	require.Equal(t, exchange.DigestOf(newEpoch), k.stepper.Report().Observed.Digest, "an epoch comes before every generation")
	require.Equal(t, activation.Counts{Accepted: 3, Repeated: 1, Stale: 2, Misaddressed: 3, Invalid: 3}, k.stepper.Counts())
}

func TestWithdrawForgetsAndChangesNothing(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.activate(2)
	receipt := k.stepper.Report().Observed.Receipt
	k.deliver(k.want(1))
	k.steps(1)
	require.NoError(t, k.stepper.Deliver(nil))
	did := k.settle()
	require.Equal(t, "received a response", did[0], "what is begun is finished")
	require.Equal(t, "there is no desired document", did[len(did)-1])
	require.Equal(t, 1, k.system.Held(host)[rightA])
	observed := k.stepper.Report().Observed
	require.Zero(t, observed.Order)
	require.Empty(t, observed.Digest)
	require.NotEqual(t, receipt, observed.Receipt, "the newest receipt stays")
	require.Nil(t, k.stepper.Report().Exchange)
	k.system.Tamper(host, rightA, 0)
	require.Equal(t, []string{"there is no desired document"}, k.settle())
	k.stepper.Crash()
	require.Equal(t, []string{"there is no desired document"}, k.settle())
	k.activate(2)
}
