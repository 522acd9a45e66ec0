package bmstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

func TestOrderedRefusalsStrikeOnceEach(t *testing.T) {
	b := newBench(t)
	response := b.answer(b.request(right("A", 1)))
	require.NoError(t, b.RefuseNext(field, exchange.ClockSkewed))
	require.NoError(t, b.RefuseNext(field, exchange.BindingBroken))
	b.refused(response, exchange.ClockSkewed)
	b.refused(response, exchange.BindingBroken)
	b.apply(response)

	require.NoError(t, b.RefuseNextCall(field, CallReport, exchange.Busy))
	b.request(right("A", 2))
	_, err := b.CreateReport(t.Context(), field, order)
	requireCode(t, exchange.Busy, err)
	require.Error(t, b.RefuseNext(field, "no-such-code"))
	require.ErrorIs(t, b.RefuseNext("NOBODY", exchange.Busy), bms.ErrNoSuchServer)
}

func TestASilentServerIsNotARefusal(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.SetUnanswered(field, "no route to host"))
	facts, err := b.Servers(t.Context())
	require.NoError(t, err)
	require.Equal(t, bms.Facts{HostID: field, Parent: top, Unanswered: "no route to host"}, facts[1])
	require.Empty(t, facts[0].Unanswered)
	_, err = b.CreateReport(t.Context(), field, order)
	require.EqualError(t, err, "FIELD-1 does not answer: no route to host")

	require.NoError(t, b.SetUnanswered(top, "switched off"))
	_, err = b.Servers(t.Context())
	require.EqualError(t, err, "TOP-1 does not answer: switched off")
	require.NoError(t, b.SetUnanswered(field, ""))
	_, err = b.CreateReport(t.Context(), field, order)
	require.EqualError(t, err, "TOP-1 does not answer: switched off", "the way leads through the top server")
	require.NoError(t, b.SetUnanswered(top, ""))
	_, err = b.CreateReport(t.Context(), field, order)
	require.NoError(t, err)
}

func TestARestoredImageForgets(t *testing.T) {
	b := newBench(t)
	b.apply(b.answer(b.request(right("A", 1))))
	image, err := b.Image(field)
	require.NoError(t, err)
	before := b.onDisk()
	two := b.answer(b.request(right("A", 2)))
	b.apply(two)
	require.NoError(t, b.Restore(image))
	require.Equal(t, before, b.onDisk())
	b.reopen()
	require.Equal(t, before, b.onDisk())
	b.refused(two, exchange.ResponseForAnother)
	b.apply(b.answer(b.request(right("A", 3))))
}

func TestTamperChangesOneFactOnDisk(t *testing.T) {
	b := newBench(t)
	require.ErrorIs(t, b.Tamper(field, "", 1), ErrNothingHeld)
	b.apply(b.answer(b.request(right("A", 2), right("B", 1)), func(r *exchange.Response) { r.Licenses[0].Count = 200 }))
	before := b.onDisk()
	require.NoError(t, b.Tamper(field, "", 3))
	after := b.onDisk()
	require.Equal(t, []exchange.WireRight{{ActivationID: "A", Count: 3}, {ActivationID: "B", Count: 1}}, after.Rights)
	require.Equal(t, 300, after.Licenses[0].Count)
	after.Rights, after.Licenses = before.Rights, before.Licenses
	require.Equal(t, before, after)

	require.NoError(t, b.Tamper(field, "A", 0))
	require.Equal(t, []exchange.WireRight{{ActivationID: "B", Count: 1}}, b.onDisk().Rights)
	require.Len(t, b.onDisk().Licenses, 1)
	require.NoError(t, b.Tamper(field, "C", 5))
	require.Equal(t, 5, b.onDisk().count("C"))
	require.Error(t, b.Tamper(field, "C", -1))
}

func TestACloneHasTheSameIdentityAndALifeOfItsOwn(t *testing.T) {
	b := newBench(t)
	b.apply(b.answer(b.request(right("A", 1))))
	clone, err := b.Clone(t.TempDir())
	require.NoError(t, err)
	ours, err := b.Servers(t.Context())
	require.NoError(t, err)
	theirs, err := clone.Servers(t.Context())
	require.NoError(t, err)
	require.Equal(t, ours, theirs)
	require.Equal(t, b.byHost[field].identity.key.ID(), clone.byHost[field].identity.key.ID())
	require.NoError(t, clone.Tamper(field, "A", 9))
	require.Equal(t, 1, b.onDisk().count("A"))
}

func TestServersThatAreNoSystemAreRefusedTogether(t *testing.T) {
	_, err := New(Options{Dir: t.TempDir(), Servers: []Server{
		{HostID: "a"},
		{HostID: "A", Parent: "a"},
		{HostID: "b", Parent: "nowhere"},
		{HostID: "c", Parent: "d"},
		{HostID: "d", Parent: "c"},
		{HostID: ".."},
		{HostID: "e", Parent: "a", Required: map[string]int{"x": -1}},
	}})
	require.Error(t, err)
	for _, part := range []string{
		"server A: its host ID is that of a but for case", `server b: its parent "nowhere" is not in the system`,
		"server c: it is below itself", "2 servers without a parent", `server "..": a host ID has 1 to 255 bytes`,
		`server "e": it cannot require -1 of "x"`,
	} {
		require.ErrorContains(t, err, part)
	}
	_, err = New(Options{Dir: t.TempDir()})
	require.ErrorContains(t, err, "0 servers without a parent")
	_, err = New(Options{})
	require.ErrorContains(t, err, "no folder given")
}

func TestTheTopServerComesFirst(t *testing.T) {
	s, err := New(Options{Dir: t.TempDir(), Servers: []Server{
		{HostID: "AS", Parent: "ES"}, {HostID: "ES", Parent: "EC"}, {HostID: "EC", Type: "EC"},
	}})
	require.NoError(t, err)
	require.Equal(t, []bms.HostID{"EC", "AS", "ES"}, s.Hosts())
	require.Equal(t, bms.HostID("EC"), s.Top())
}
