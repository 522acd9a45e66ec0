package exchangetest

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// world is a server with few seats, the hosts around it, and an adversary who keeps everything that was ever sent.
type world struct {
	*killable
	hosts    map[string]*Host
	answers  map[string]reply // by message: what it was answered with, for good
	sent     []string
	releases map[releaseKey]exchange.Release
	receipts map[releaseKey][]byte
	open     map[string][][]byte // responses that a host may still apply
	before   map[string]exchange.HostState
	inStep   map[string]bool // false: restored or released, until it has applied a response since
	steps    map[string]int
}

// Seats of the world: few, so that hosts compete.
var worldSeats = counts{"one": 1, "five": 5}

func newWorld(t *testing.T) *world {
	orders := Orders{Entitlements: []Entitlement{{ID: "E", Kind: "demo", State: StateDeployed}}}
	for id, n := range worldSeats {
		line := Line{ActivationID: exchange.ActivationID(id), PartNumber: "SAMPLE-SNMP", Count: n}
		orders.Entitlements[0].Lines = append(orders.Entitlements[0].Lines, line)
	}
	w := &world{
		killable: newKillable(t, Options{Orders: orders}), hosts: map[string]*Host{}, answers: map[string]reply{},
		releases: map[releaseKey]exchange.Release{}, receipts: map[releaseKey][]byte{}, open: map[string][][]byte{},
		before: map[string]exchange.HostState{}, inStep: map[string]bool{}, steps: map[string]int{},
	}
	for i := range 3 {
		id := fmt.Sprintf("DEMO-host-%d", i)
		h, err := NewHost(id, func() signed.KeySet { return w.Keys() })
		require.NoError(t, err)
		w.hosts[id], w.inStep[id] = h, true
	}
	return w
}

// send posts a message and checks that the same bytes always get the same answer.
func (w *world) send(t *rapid.T, message []byte) []byte {
	answer, err := w.Process(message)
	got := reply{body: answer}
	if err != nil {
		got = reply{mediaType: err.Error()}
	}
	if want, known := w.answers[string(message)]; known {
		require.Equal(t, want, got, "the same bytes, another answer")
	} else {
		w.answers[string(message)] = got
		w.sent = append(w.sent, string(message))
	}
	return answer
}

func (w *world) host(t *rapid.T) *Host {
	return w.hosts[rapid.SampledFrom(slices.Sorted(maps.Keys(w.hosts))).Draw(t, "host")]
}

// order is near the host's fence: below, at or above it.
func (w *world) order(t *rapid.T, h *Host) exchange.Order {
	state, _ := w.Host(h.ID)
	o := state.Fence
	o.Generation = max(0, o.Generation+int64(rapid.SampledFrom([]int{0, 1, 0, 1, 2, -1}).Draw(t, "generation")))
	if rapid.IntRange(0, 9).Draw(t, "new epoch") == 0 {
		o = exchange.Order{Epoch: o.Epoch + 1}
	}
	return o
}

func (w *world) request(t *rapid.T) {
	h := w.host(t)
	c := counts{}
	for _, id := range slices.Sorted(maps.Keys(worldSeats)) {
		sold := worldSeats[id]
		if n := rapid.SampledFrom([]int{sold, sold + 1, 1, 0, -1, sold / 2}).Draw(t, id); n >= 0 {
			c[id] = n
		}
	}
	w.keepOpen(h, w.send(t, must(h.Request(w.order(t, h), c))))
	if rapid.IntRange(0, 3).Draw(t, "goes on") > 0 {
		w.applyAt(t, h)
	}
}

func (w *world) report(t *rapid.T) {
	h := w.host(t)
	w.keepOpen(h, w.send(t, must(h.Report(w.order(t, h)))))
}

func (w *world) keepOpen(h *Host, response []byte) {
	if response != nil {
		w.open[h.ID] = append(w.open[h.ID], response)
		w.steps["answered"]++
	}
}

// written has a request written that does not leave yet: it travels later, with resend.
func (w *world) written(t *rapid.T) {
	h := w.host(t)
	message := must(h.Request(w.order(t, h), counts{"five": rapid.IntRange(0, 5).Draw(t, "five")}))
	w.sent = append(w.sent, string(message))
}

// apply applies the newest response, or an older one that the host then refuses, and maybe confirms.
func (w *world) apply(t *rapid.T) { w.applyAt(t, w.host(t)) }

func (w *world) applyAt(t *rapid.T, h *Host) {
	if len(w.open[h.ID]) == 0 {
		return
	}
	state, _ := w.Host(h.ID)
	n := len(w.open[h.ID]) - 1
	if rapid.IntRange(0, 3).Draw(t, "an old one") == 3 {
		n = rapid.IntRange(0, n).Draw(t, "response")
	}
	confirmation, err := h.Apply(w.open[h.ID][n])
	if err != nil {
		return
	}
	w.steps["applied"]++
	if h.Sequence == state.Sequence {
		w.inStep[h.ID] = true
	}
	w.sent = append(w.sent, string(confirmation))
	if rapid.Bool().Draw(t, "confirm") {
		if w.send(t, confirmation) != nil {
			w.steps["confirmed"]++
		}
	}
}

// resend lets anything that was ever written arrive, late or again.
func (w *world) resend(t *rapid.T) {
	if len(w.sent) == 0 {
		return
	}
	message := w.sent[rapid.IntRange(0, len(w.sent)-1).Draw(t, "message")]
	answer := w.send(t, []byte(message))
	if m, refusal := readMessage([]byte(message)); refusal == nil && m.Operation != exchange.OperationConfirm {
		w.keepOpen(w.hosts[m.Host.ID], answer)
	}
}

func (w *world) fence(t *rapid.T) {
	h := w.host(t)
	r := exchange.Release{
		Key:   rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key"),
		Order: w.order(t, h),
		Take:  rapid.Bool().Draw(t, "take"),
	}
	key := releaseKey{h.ID, r.Key}
	if done, known := w.releases[key]; known {
		before, _ := w.Host(h.ID)
		again, err := w.Release(h.ID, done)
		require.NoError(t, err)
		require.Equal(t, w.receipts[key], again, "the same key, another receipt")
		after, _ := w.Host(h.ID)
		require.Equal(t, before, after)
		return
	}
	receipt, err := w.Release(h.ID, r)
	if err != nil {
		return
	}
	w.steps["released"]++
	w.releases[key], w.receipts[key] = r, receipt
	if r.Take {
		w.inStep[h.ID] = false
	}
}

// image restores a host from what it was when it was new.
func (w *world) image(t *rapid.T) {
	h := w.host(t)
	fresh := h.Image()
	fresh.Sequence, fresh.Rights, fresh.newest, fresh.applied, fresh.confirm = 0, counts{}, "", "", nil
	w.hosts[h.ID], w.inStep[h.ID] = fresh, false
}

func (w *world) duplicate(*rapid.T) {
	if err := w.Fault(Fault{Fault: FaultDuplicate}); err != nil {
		panic(err)
	}
}

// check holds after every step.
func (w *world) check(t *rapid.T) {
	for id, sold := range worldSeats {
		sum := 0
		for host := range w.hosts {
			state, _ := w.Host(host)
			for _, r := range state.Rights {
				require.False(t, r.Count < 0 || r.Pending < 0, "%+v", r)
				if r.ActivationID == id {
					sum += r.Count + r.Pending
				}
			}
		}
		taken, _ := w.Consumed(exchange.ActivationID(id))
		require.Equal(t, sum, taken)
		require.LessOrEqual(t, sum, sold, "over-issued")
	}
	for id, h := range w.hosts {
		state, _ := w.Host(id)
		require.False(t, state.Fence.Before(w.before[id].Fence), "the fence went back")
		require.GreaterOrEqual(t, state.Sequence, w.before[id].Sequence, "the sequence went back")
		w.before[id] = state
		for _, r := range state.Rights {
			if w.inStep[id] {
				require.LessOrEqual(t, h.Rights[r.ActivationID], r.Count+r.Pending, "a host uses what is free here")
			}
		}
		if w.inStep[id] {
			for right, n := range h.Rights {
				require.True(t, n == 0 || slices.ContainsFunc(state.Rights, func(r exchange.HostRight) bool { return r.ActivationID == right }),
					"a host uses what is free here")
			}
		}
	}
}

func TestNothingIsEverOverIssuedOrAnsweredTwice(t *testing.T) {
	require.NoError(t, flag.Set("rapid.steps", "40"))
	reached := counts{}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		defer func() { require.NoError(rt, w.Close()) }()
		rt.Repeat(map[string]func(*rapid.T){
			"request": w.request, "request more": w.request, "report": w.report, "write": w.written, "apply": w.apply,
			"apply more": w.apply, "resend": w.resend, "fence": w.fence, "image": w.image, "duplicate": w.duplicate,
			"restart": func(*rapid.T) {
				before := w.snapshot()
				w.restart()
				require.Equal(rt, before, w.snapshot())
			},
			"": w.check,
		})
		for step, n := range w.steps {
			reached[step] += n
		}
	})
	for _, step := range []string{"answered", "applied", "confirmed", "released"} {
		require.Greater(t, reached[step], 30, "%s: the test hardly reaches what it tests", step)
	}
	t.Log(reached)
}
