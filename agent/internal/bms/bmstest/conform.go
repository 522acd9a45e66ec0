package bmstest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Conform checks that a driver keeps every rule of bms.System. It simulates a system for each rule, and reach gives the
// driver that reaches it; what reach opens it closes with t.Cleanup.
func Conform(t *testing.T, reach func(t *testing.T, sim *System) bms.System) {
	rules := map[string]func(*conformance){
		"facts: the entry comes first":              conformFacts,
		"facts: a silent server is listed":          conformSilentServer,
		"a silent entry is an error, no refusal":    conformSilentEntry,
		"a request, its response and what it leads": conformExchange,
		"the last response applies again":           conformApplyAgain,
		"newer messages make older ones worthless":  conformNewest,
		"a refusal arrives as one":                  conformRefusals,
		"a refusal changes nothing":                 conformNothingChanged,
		"an unknown host is an error of its own":    conformUnknownHost,
		"the context ends every call":               conformContext,
		"partial returns are refused if not able":   conformReturnAll,
		"refused rights can be read":                conformExplain,
		"host IDs are opaque":                       conformOpaqueHosts,
		"different hosts at the same time":          conformConcurrent,
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) { rule(&conformance{t: t, reach: reach}) })
	}
}

type conformance struct {
	t      *testing.T
	reach  func(*testing.T, *System) bms.System
	issuer *issuer
	sim    *System
	bms.System
}

const (
	conformTop   = bms.HostID("CONFORM-top")
	conformField = bms.HostID("CONFORM-field")
)

var conformOrder = exchange.Order{Epoch: 1_790_000_000, Generation: 7}

// open simulates a system, of a top server and one below it if none is named.
func (c *conformance) open(returnAll bool, servers ...Server) {
	c.t.Helper()
	var err error
	c.issuer, err = newIssuer(time.Now)
	require.NoError(c.t, err)
	if len(servers) == 0 {
		servers = []Server{{HostID: conformTop, Required: map[string]int{FeatureDevices: 3}}, {HostID: conformField, Parent: conformTop}}
	}
	c.sim, err = New(Options{Dir: c.t.TempDir(), Servers: servers, Keys: c.issuer.keys(), ReturnAll: returnAll})
	require.NoError(c.t, err)
	c.System = c.reach(c.t, c.sim)
}

func (c *conformance) request(host bms.HostID, want ...exchange.Right) []byte {
	c.t.Helper()
	message, err := c.CreateRequest(c.t.Context(), host, conformOrder, want)
	require.NoError(c.t, err)
	return message
}

func (c *conformance) answer(request []byte, edits ...func(*exchange.Response)) []byte {
	c.t.Helper()
	response, err := c.issuer.answer(request, edits...)
	require.NoError(c.t, err)
	return response
}

func (c *conformance) apply(host bms.HostID, response []byte) []byte {
	c.t.Helper()
	confirmation, err := c.ApplyResponse(c.t.Context(), host, response)
	require.NoError(c.t, err)
	return confirmation
}

func (c *conformance) facts() []bms.Facts {
	c.t.Helper()
	facts, err := c.Servers(c.t.Context())
	require.NoError(c.t, err)
	require.NotEmpty(c.t, facts)
	return facts
}

func (c *conformance) refused(code exchange.Code, err error) {
	c.t.Helper()
	var refusal *exchange.Refusal
	require.ErrorAs(c.t, err, &refusal)
	require.Equal(c.t, code, refusal.Code, "%v", err)
	require.Equal(c.t, code.Meaning().Retry, refusal.When())
}

// notRefused wants an error that leaves open what the server did.
func (c *conformance) notRefused(err error) {
	c.t.Helper()
	require.Error(c.t, err)
	var refusal *exchange.Refusal
	require.NotErrorAs(c.t, err, &refusal)
	require.NotErrorIs(c.t, err, bms.ErrNoSuchServer)
}

// everyCall runs each call that names a host.
func (c *conformance) everyCall(ctx context.Context, host bms.HostID, check func(error)) {
	c.t.Helper()
	_, err := c.CreateRequest(ctx, host, conformOrder, []exchange.Right{{ActivationID: "A", Count: 1}})
	check(err)
	_, err = c.CreateReport(ctx, host, conformOrder)
	check(err)
	_, err = c.ApplyResponse(ctx, host, []byte("response"))
	check(err)
}

func wants(id exchange.ActivationID, count int) exchange.Right {
	return exchange.Right{ActivationID: id, Count: count}
}

func conformFacts(c *conformance) {
	c.open(false)
	facts := c.facts()
	require.Len(c.t, facts, 2)
	require.Equal(c.t, conformTop, facts[0].HostID)
	require.Equal(c.t, protocol.RoleTop, facts[0].Role)
	require.Empty(c.t, facts[0].Parent)
	require.Equal(c.t, conformTop, facts[1].Parent)
	require.Equal(c.t, protocol.RoleField, facts[1].Role)
	require.Len(c.t, facts[0].Certificate, 64)
	require.WithinDuration(c.t, time.Now(), facts[1].Clock, time.Minute)
	require.Equal(c.t, []string{FeatureDevices, FeatureBase}, facts[0].Violations)
	require.Equal(c.t, bms.License{Feature: FeatureDevices, Required: 3, Source: conformTop}, facts[0].Licenses[0])
	for _, f := range facts {
		require.Equal(c.t, []any{"ETHERNET", "7.0.2", true, true, ""}, []any{f.HostIDType, f.Version, f.PartialReturn, f.Confirms, f.Unanswered})
		require.NotEmpty(c.t, f.Name)
		require.NotEmpty(c.t, f.Type)
		require.Empty(c.t, f.Rights)
	}
}

func conformSilentServer(c *conformance) {
	c.open(false)
	require.NoError(c.t, c.sim.SetUnanswered(conformField, "no route to host"))
	facts := c.facts()
	require.Len(c.t, facts, 2)
	require.Equal(c.t, conformField, facts[1].HostID)
	require.Equal(c.t, "no route to host", facts[1].Unanswered)
	require.Empty(c.t, facts[0].Unanswered)
	c.everyCall(c.t.Context(), conformField, c.notRefused)
	require.NoError(c.t, c.sim.SetUnanswered(conformField, ""))
	require.Empty(c.t, c.facts()[1].Unanswered)
	c.request(conformField, wants("A", 1))
}

func conformSilentEntry(c *conformance) {
	c.open(false)
	require.NoError(c.t, c.sim.SetUnanswered(conformTop, "switched off"))
	_, err := c.Servers(c.t.Context())
	c.notRefused(err)
	c.everyCall(c.t.Context(), conformField, c.notRefused)
	require.NoError(c.t, c.sim.SetUnanswered(conformTop, ""))
	require.Len(c.t, c.facts(), 2)
}

func conformExchange(c *conformance) {
	c.open(false)
	response := c.answer(c.request(conformField, wants("A", 2), wants("B", 1)))
	confirmation, err := readRequest(c.apply(conformField, response))
	require.NoError(c.t, err)
	require.Equal(c.t, exchange.DigestOf(response), confirmation.Confirms)
	require.Equal(c.t, conformOrder, confirmation.Order)
	require.Equal(c.t, []bms.HeldRight{{ActivationID: "A", Count: 2}, {ActivationID: "B", Count: 1}}, c.facts()[1].Rights)
	require.Empty(c.t, c.facts()[0].Rights)

	c.apply(conformField, c.answer(c.request(conformField, wants("A", 0))))
	require.Equal(c.t, []bms.HeldRight{{ActivationID: "B", Count: 1}}, c.facts()[1].Rights)
	report, err := c.CreateReport(c.t.Context(), conformField, conformOrder)
	require.NoError(c.t, err)
	c.apply(conformField, c.answer(report))
	require.Equal(c.t, []bms.HeldRight{{ActivationID: "B", Count: 1}}, c.facts()[1].Rights)
}

func conformApplyAgain(c *conformance) {
	c.open(false)
	response := c.answer(c.request(conformField, wants("A", 1)))
	confirmation := c.apply(conformField, response)
	require.Equal(c.t, confirmation, c.apply(conformField, response))
	c.request(conformField, wants("A", 2))
	require.Equal(c.t, confirmation, c.apply(conformField, response))
}

func conformNewest(c *conformance) {
	c.open(false)
	first := c.answer(c.request(conformField, wants("A", 1)))
	report, err := c.CreateReport(c.t.Context(), conformField, conformOrder)
	require.NoError(c.t, err)
	_, err = c.ApplyResponse(c.t.Context(), conformField, first)
	c.refused(exchange.ResponseForAnother, err)
	c.apply(conformField, c.answer(report))
	_, err = c.ApplyResponse(c.t.Context(), conformField, first)
	c.refused(exchange.ResponseStale, err)
}

func conformRefusals(c *conformance) {
	c.open(false)
	for _, code := range []exchange.Code{exchange.ResponseStale, exchange.ClockWoundBack, exchange.BindingBroken, exchange.Busy, exchange.RateLimited} {
		require.NoError(c.t, c.sim.RefuseNextCall(conformField, CallRequest, code))
		require.NoError(c.t, c.sim.RefuseNextCall(conformField, CallReport, code))
		require.NoError(c.t, c.sim.RefuseNextCall(conformField, CallResponse, code))
		c.everyCall(c.t.Context(), conformField, func(err error) { c.t.Helper(); c.refused(code, err) })
	}
	_, err := c.CreateRequest(c.t.Context(), conformField, conformOrder, nil)
	c.refused(exchange.Malformed, err)
	_, err = c.ApplyResponse(c.t.Context(), conformField, nil)
	c.refused(exchange.Malformed, err)
	_, err = c.ApplyResponse(c.t.Context(), conformField, make([]byte, exchange.MaxMessage+1))
	c.refused(exchange.TooLarge, err)
}

func conformNothingChanged(c *conformance) {
	c.open(false)
	c.apply(conformField, c.answer(c.request(conformField, wants("A", 1))))
	request := c.request(conformField, wants("A", 5))
	before, err := c.sim.Store(conformField)
	require.NoError(c.t, err)
	late := c.answer(request, func(r *exchange.Response) { r.NotAfter = time.Now().Add(-time.Minute) })
	_, err = c.ApplyResponse(c.t.Context(), conformField, late)
	c.refused(exchange.ResponseExpired, err)
	_, err = c.CreateRequest(c.t.Context(), conformField, conformOrder, []exchange.Right{wants("A", 1), wants("A", 2)})
	c.refused(exchange.Malformed, err)
	after, err := c.sim.Store(conformField)
	require.NoError(c.t, err)
	require.Equal(c.t, before, after)
	c.apply(conformField, c.answer(request))
}

func conformUnknownHost(c *conformance) {
	c.open(false)
	c.everyCall(c.t.Context(), "NOBODY", func(err error) { c.t.Helper(); require.ErrorIs(c.t, err, bms.ErrNoSuchServer) })
}

func conformContext(c *conformance) {
	c.open(false)
	ended, end := context.WithCancelCause(c.t.Context())
	end(errors.New("the agent stops"))
	ends := func(err error) {
		c.t.Helper()
		c.notRefused(err)
		require.ErrorIs(c.t, err, context.Canceled)
	}
	_, err := c.Servers(ended)
	ends(err)
	c.everyCall(ended, conformField, ends)
}

func conformReturnAll(c *conformance) {
	c.open(true)
	require.False(c.t, c.facts()[1].PartialReturn)
	c.apply(conformField, c.answer(c.request(conformField, wants("A", 1), wants("B", 1))))
	_, err := c.CreateRequest(c.t.Context(), conformField, conformOrder, []exchange.Right{wants("A", 0)})
	c.refused(exchange.WholeServerReturnOnly, err)
	c.apply(conformField, c.answer(c.request(conformField, wants("A", 0), wants("B", 0))))
	require.Empty(c.t, c.facts()[1].Rights)
}

func conformExplain(c *conformance) {
	c.open(false)
	explainer, able := c.System.(bms.Explainer)
	if !able {
		c.t.Skip("the driver does not explain")
	}
	refused := []exchange.RefusedRight{{ActivationID: "B", Code: exchange.RightExhausted}}
	response := c.answer(c.request(conformField, wants("A", 1)), func(r *exchange.Response) { r.Refused = refused })
	c.apply(conformField, response)
	for range 2 {
		got, err := explainer.Refused(c.t.Context(), conformField, response)
		require.NoError(c.t, err)
		require.Equal(c.t, refused, got)
	}
	_, err := explainer.Refused(c.t.Context(), "NOBODY", response)
	require.ErrorIs(c.t, err, bms.ErrNoSuchServer)
}

func conformOpaqueHosts(c *conformance) {
	const odd = bms.HostID("0x1F/a b%2e?#&=;")
	c.open(false, Server{HostID: odd}, Server{HostID: "0x1f", Parent: odd})
	require.Equal(c.t, odd, c.facts()[0].HostID)
	c.apply(odd, c.answer(c.request(odd, wants("A-ü 1", 1))))
	require.Equal(c.t, []bms.HeldRight{{ActivationID: "A-ü 1", Count: 1}}, c.facts()[0].Rights)
}

func conformConcurrent(c *conformance) {
	servers := []Server{{HostID: "H-0"}, {HostID: "H-1", Parent: "H-0"}, {HostID: "H-2", Parent: "H-0"}, {HostID: "H-3", Parent: "H-0"}}
	c.open(false, servers...)
	errs := make([]error, len(servers))
	var wait sync.WaitGroup
	var issuing sync.Mutex
	for i, server := range servers {
		wait.Go(func() {
			request, err := c.CreateRequest(c.t.Context(), server.HostID, conformOrder, []exchange.Right{wants("A", i+1)})
			if err == nil {
				issuing.Lock()
				request, err = c.issuer.answer(request)
				issuing.Unlock()
			}
			if err == nil {
				_, err = c.ApplyResponse(c.t.Context(), server.HostID, request)
			}
			_, errFacts := c.Servers(c.t.Context())
			errs[i] = errors.Join(err, errFacts)
		})
	}
	wait.Wait()
	require.NoError(c.t, errors.Join(errs...))
	for i, f := range c.facts() {
		require.Equal(c.t, []bms.HeldRight{{ActivationID: "A", Count: i + 1}}, f.Rights)
	}
}
