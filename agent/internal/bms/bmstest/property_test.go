package bmstest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable/durabletest"
	"github.com/licet-project/licet/shared/exchange"
)

// story is what happened to one server, as far as its store must know; it predicts, the store is the truth.
type story struct {
	*bench
	disk *durabletest.Disk
	r    *rapid.T

	responses [][]byte // every response ever made, in any order
	newest    exchange.Digest
	applied   []byte // the response applied last
	sequence  int64
	confirmed []byte // its confirmation
	images    []imageOf
}

type imageOf struct {
	Image
	newest    exchange.Digest
	applied   []byte
	sequence  int64
	confirmed []byte
}

func (s *story) create(document []byte, err error) {
	require.NoError(s.r, err)
	s.newest = exchange.DigestOf(document)
	if rapid.Bool().Draw(s.r, "answered") {
		response, err := s.issuer.answer(document)
		require.NoError(s.r, err)
		s.responses = append(s.responses, response)
	}
}

// apply lets any response arrive: late, twice, out of order.
func (s *story) apply() {
	if len(s.responses) == 0 {
		return
	}
	response := s.responses[rapid.IntRange(0, len(s.responses)-1).Draw(s.r, "response")]
	content := s.read(response)
	got, err := s.ApplyResponse(s.t.Context(), field, response)
	switch {
	case bytes.Equal(response, s.applied):
		require.NoError(s.r, err)
		require.Equal(s.r, s.confirmed, got)
	case content.Sequence > s.sequence && content.Request == s.newest:
		require.NoError(s.r, err)
		s.applied, s.sequence, s.confirmed = response, content.Sequence, got
	default:
		var refusal *exchange.Refusal
		require.ErrorAs(s.r, err, &refusal)
		require.Contains(s.r, []exchange.Code{exchange.ResponseStale, exchange.ResponseForAnother}, refusal.Code)
	}
}

func (s *story) read(response []byte) exchange.Response {
	content, err := s.byHost[field].readResponse(s.issuer.keys(), response)
	require.NoError(s.r, err)
	return content
}

// holds compares the disk, the facts and the prediction.
func (s *story) holds(*rapid.T) {
	held := s.onDisk()
	require.Equal(s.r, s.sequence, held.Sequence)
	require.Equal(s.r, s.newest, held.Request)
	var want []exchange.WireRight
	if s.applied != nil {
		want = s.read(s.applied).Rights
		require.Equal(s.r, exchange.DigestOf(s.applied), held.Applied)
		require.Equal(s.r, s.confirmed, held.Confirmation)
	}
	require.ElementsMatch(s.r, want, held.Rights)
	facts, err := s.Servers(s.t.Context())
	require.NoError(s.r, err)
	require.Len(s.r, facts[1].Rights, len(want))
	for i, right := range held.Rights {
		require.Equal(s.r, bms.HeldRight{ActivationID: exchange.ActivationID(right.ActivationID), Count: right.Count}, facts[1].Rights[i])
	}
}

// Whatever is created, answered, delivered late, twice or out of order, whatever image is restored and whenever the process
// is killed: the store is that of the newest response that was applied, and its sequence falls only with an image.
func TestAnyStoryLeavesTheNewestResponseApplied(t *testing.T) {
	identities := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		disk := &durabletest.Disk{}
		s := &story{bench: newBench(t, func(o *Options) { o.Dir, o.Disk = identities, disk }), disk: disk, r: r}
		sequence := int64(0)
		restored := false
		actions := map[string]func(*rapid.T){
			"request": func(r *rapid.T) {
				counts := rapid.MapOfN(rapid.SampledFrom([]string{"A", "B", "C"}), rapid.IntRange(0, 3), 1, 3).Draw(r, "want")
				var want []exchange.Right
				for _, id := range slices.Sorted(maps.Keys(counts)) {
					want = append(want, right(id, counts[id]))
				}
				s.create(s.CreateRequest(t.Context(), field, order, want))
			},
			"report": func(*rapid.T) { s.create(s.CreateReport(t.Context(), field, order)) },
			"apply":  func(*rapid.T) { s.apply() },
			"again":  func(*rapid.T) { s.apply() },
			"kill":   func(*rapid.T) { s.reopen() },
			"power": func(*rapid.T) {
				require.Zero(r, s.disk.PowerCut(0), "whatever was answered is on the disk")
				s.reopen()
			},
			"time": func(*rapid.T) { s.now = s.now.Add(time.Second) },
			"refuse": func(r *rapid.T) {
				require.NoError(r, s.RefuseNext(field, exchange.BindingBroken))
				_, err := s.ApplyResponse(t.Context(), field, s.applied)
				requireCode(r, exchange.BindingBroken, err)
			},
			"image": func(r *rapid.T) {
				image, err := s.Image(field)
				require.NoError(r, err)
				s.images = append(s.images, imageOf{image, s.newest, s.applied, s.sequence, s.confirmed})
			},
			"restore": func(r *rapid.T) {
				if len(s.images) == 0 {
					return
				}
				image := rapid.SampledFrom(s.images).Draw(r, "image")
				require.NoError(r, s.Restore(image.Image))
				s.newest, s.applied, s.sequence, s.confirmed = image.newest, image.applied, image.sequence, image.confirmed
				restored = true
			},
			"": func(r *rapid.T) {
				s.holds(r)
				held := s.onDisk().Sequence
				require.True(r, held >= sequence || restored, "the sequence fell from %d to %d", sequence, held)
				sequence, restored = held, false
			},
		}
		r.Repeat(actions)
	})
}

// A kill or power cut between any two operations finds the store of the last one that returned.
func TestReopenedAfterEveryOperationTheStoreIsTheSame(t *testing.T) {
	b := newBench(t)
	var last []byte
	for i := range 5 {
		request := b.request(right("A", i), right("B", 5-i))
		b.reopen()
		require.Equal(t, exchange.DigestOf(request), b.onDisk().Request)
		response := b.answer(request)
		confirmation := b.apply(response)
		b.reopen()
		require.Equal(t, confirmation, b.apply(response))
		if last != nil {
			b.refused(last, exchange.ResponseStale)
		}
		last = response
	}
}

// The disk fails, or the power, at every step of the write that applying needs: the store is the old one or the new one,
// whole, and a confirmation that was answered stays true.
func TestACutAtEveryStepOfTheWriteLeavesOneOfTwoStores(t *testing.T) {
	identities := t.TempDir()
	for _, operation := range []string{"create", "write", "sync", "rename", "sync folder"} {
		for _, kept := range []int{0, 1, 2, 9} {
			disk := &durabletest.Disk{}
			b := newBench(t, func(o *Options) { o.Dir, o.Disk = identities, disk })
			b.apply(b.answer(b.request(right("A", 1))))
			request := b.request(right("A", 2))
			before := b.onDisk()
			response := b.answer(request)

			disk.Fail = func(failing, _ string) error {
				if failing == operation {
					return errors.New("no power")
				}
				return nil
			}
			_, err := b.ApplyResponse(t.Context(), field, response)
			var refusal *exchange.Refusal
			require.NotErrorAs(t, err, &refusal, operation)
			require.ErrorContains(t, err, "no power", operation)
			_, err = b.ApplyResponse(t.Context(), field, response)
			require.Error(t, err, "%s: what a power cut could undo is told to nobody", operation)

			disk.Fail = nil
			disk.PowerCut(kept)
			b.reopen()
			if after := b.onDisk(); after.Sequence == before.Sequence {
				require.Equal(t, before, after, operation)
			} else {
				require.EqualValues(t, 2, after.Sequence)
				require.Equal(t, 2, after.count("A"))
			}
			confirmation := b.apply(response)
			disk.PowerCut(0)
			b.reopen()
			require.Equal(t, confirmation, b.apply(response), operation)
		}
	}
}

// The same without a restart: once the disk works again the server does, and says nothing before its store is on the disk.
func TestAServerSettlesAfterItsDiskFailed(t *testing.T) {
	disk := &durabletest.Disk{}
	b := newBench(t, func(o *Options) { o.Disk = disk })
	response := b.answer(b.request(right("A", 2)))
	disk.Fail = func(failing, _ string) error {
		if failing == "sync folder" {
			return errors.New("no power")
		}
		return nil
	}
	_, err := b.ApplyResponse(t.Context(), field, response)
	require.ErrorContains(t, err, "no power")
	disk.Fail = nil
	confirmation := b.apply(response)
	require.Zero(t, disk.PowerCut(0))
	b.reopen()
	require.Equal(t, confirmation, b.apply(response))
}
