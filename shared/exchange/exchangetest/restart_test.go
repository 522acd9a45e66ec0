package exchangetest

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

// killable is a server on a folder that can die without any goodbye and come back.
type killable struct {
	t   testing.TB
	dir string
	*Service
}

func newKillable(t testing.TB, o Options) *killable {
	k := &killable{t: t, dir: t.TempDir()}
	o.Dir = k.dir
	k.start(o)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

func (k *killable) start(o Options) {
	k.t.Helper()
	s, err := New(o)
	require.NoError(k.t, err)
	k.Service = &Service{Server: s}
}

// restart does what SIGKILL does: files and lock go, nothing is written any more.
func (k *killable) restart() {
	k.t.Helper()
	require.NoError(k.t, k.store.journal.file.Close())
	require.NoError(k.t, k.unlock())
	k.start(k.options)
}

// snapshot is all that must survive.
func (k *killable) snapshot() map[string]any {
	return map[string]any{
		"accounts": maps.Clone(k.store.accounts), "used": maps.Clone(k.store.used), "issued": maps.Clone(k.store.issued), "keys": k.Keys(),
		"answers": len(k.store.answers), "releases": len(k.store.releases),
	}
}

func TestEverythingSurvivesAKillAfterEachStep(t *testing.T) {
	las := newKillable(t, Options{})
	h := newHost(t, las.Service, "DEMO-host-1")
	answers := map[string][]byte{}
	refusals := map[string]error{}
	send := func(message []byte) []byte {
		answer, err := las.Process(message)
		if err != nil {
			refusals[string(message)] = err
		} else {
			answers[string(message)] = answer
		}
		return answer
	}
	take := exchange.Release{Key: "k", Order: order(4), Take: true}
	var receipt []byte
	steps := map[string]func(){}
	var names []string
	step := func(name string, do func()) { steps[name], names = do, append(names, name) }
	step("activate", func() {
		send(must(h.Apply(send(must(h.Request(order(1), counts{snmp: 4, devices: 2}))))))
	})
	step("lower", func() { send(must(h.Request(order(2), counts{snmp: 1}))) })
	step("refused", func() { send(must(h.Request(order(1), counts{snmp: 1}))) })
	step("report", func() { send(must(h.Apply(send(must(h.Report(order(3))))))) })
	step("forget", func() {
		require.NoError(t, las.Fault(Fault{Fault: FaultForgetRight, Host: h.ID, ActivationID: devices}))
	})
	step("rotate", func() { require.NoError(t, las.Fault(Fault{Fault: FaultRotateKeys})) })
	step("release", func() {
		var err error
		receipt, err = las.Release(h.ID, take)
		require.NoError(t, err)
	})
	for _, name := range names {
		steps[name]()
		before := las.snapshot()
		las.restart()
		require.Equal(t, before, las.snapshot(), "after %s", name)
		for message, want := range answers {
			got, err := las.Process([]byte(message))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		for message, want := range refusals {
			_, err := las.Process([]byte(message))
			require.Equal(t, want, err)
		}
		if receipt != nil {
			again, err := las.Release(h.ID, take)
			require.NoError(t, err)
			require.Equal(t, receipt, again)
		}
		require.Equal(t, before, las.snapshot(), "a replay changes nothing")
	}
	require.Len(t, refusals, 1)
	require.Len(t, las.Keys(), 2)
}

func TestRecordThatWasCutOffNeverHappened(t *testing.T) {
	las := newKillable(t, Options{})
	h := newHost(t, las.Service, "DEMO-host-1")
	_, err := las.Process(must(h.Request(order(1), counts{snmp: 4})))
	require.NoError(t, err)
	path := filepath.Join(las.dir, "journal")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	before := las.snapshot()

	message := must(h.Report(order(2)))
	_, err = las.Process(message)
	require.NoError(t, err)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, whole, after[:len(whole)])
	for _, cut := range []int{len(whole) + 1, len(whole) + crcSize, (len(whole) + len(after)) / 2, len(after) - 1} {
		require.NoError(t, os.WriteFile(path, after[:cut], 0o600))
		las.restart()
		require.Equal(t, before, las.snapshot())
		size, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, int64(len(whole)), size.Size(), "the rest is cut off, so that the next record is whole")
	}
	_, err = las.Process(message)
	require.NoError(t, err)
	las.restart()
	state, _ := las.Host(h.ID)
	require.Equal(t, int64(2), state.Sequence)
}

func TestDamagedJournalIsRefused(t *testing.T) {
	las := newKillable(t, Options{})
	h := newHost(t, las.Service, "DEMO-host-1")
	for g := range int64(3) {
		_, err := las.Process(must(h.Report(order(g))))
		require.NoError(t, err)
	}
	path := filepath.Join(las.dir, "journal")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, las.Close())

	damaged := append([]byte{}, data...)
	damaged[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(path, damaged, 0o600))
	_, err = New(las.options)
	require.ErrorContains(t, err, "it is damaged")
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, damaged, left, "nothing is cut off")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	las.start(las.options)
}

func TestSecretsAreForTheOwnerAlone(t *testing.T) {
	las := newKillable(t, Options{})
	require.NoError(t, las.Fault(Fault{Fault: FaultRotateKeys}))
	require.NoError(t, filepath.WalkDir(las.dir, func(path string, entry os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		if path != las.dir { // the test made this one
			require.Zero(t, info.Mode().Perm()&0o077, path)
		}
		return nil
	}))
}

func TestOneProcessPerFolder(t *testing.T) {
	las := newKillable(t, Options{})
	_, err := New(las.options)
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, las.Close())
	las.start(las.options)
}

func TestFullDiskChangesNothing(t *testing.T) {
	las := newKillable(t, Options{})
	h := newHost(t, las.Service, "DEMO-host-1")
	_, err := las.Process(must(h.Report(order(1))))
	require.NoError(t, err)
	before := las.snapshot()
	require.NoError(t, las.store.journal.file.Close()) // from now on every write fails

	h.Sequence = 1
	message := must(h.Request(order(2), counts{snmp: 1}))
	for range 2 {
		_, err = las.Process(message)
		requireCode(t, exchange.Unavailable, err)
	}
	_, err = las.Release(h.ID, exchange.Release{Key: "k", Order: order(3), Take: true})
	requireCode(t, exchange.Unavailable, err)
	require.Error(t, las.Fault(Fault{Fault: FaultForgetRight, Host: h.ID, ActivationID: snmp}))
	require.Equal(t, before, las.snapshot())
	require.NoError(t, las.unlock())
	las.start(las.options)
	_, err = las.Process(message)
	require.NoError(t, err)
}

func TestAnswersLeaveOnlyWhenAllIsOnDisk(t *testing.T) {
	las := newKillable(t, Options{})
	h := newHost(t, las.Service, "DEMO-host-1")
	requireSynced := func() {
		t.Helper()
		require.Positive(t, las.store.journal.end)
		require.Equal(t, las.store.journal.end, las.store.journal.synced)
	}
	response, err := las.Process(must(h.Request(order(1), counts{snmp: 1})))
	require.NoError(t, err)
	requireSynced()
	_, err = las.Process(must(h.Apply(response)))
	require.NoError(t, err)
	requireSynced()
	_, err = las.Process(must(h.Request(order(0), nil)))
	requireCode(t, exchange.Superseded, err)
	requireSynced()
	require.NoError(t, las.Fault(Fault{Fault: FaultForgetRight, Host: h.ID, ActivationID: snmp}))
	requireSynced()
	_, err = las.Release(h.ID, exchange.Release{Key: "k", Order: order(2)})
	require.NoError(t, err)
	requireSynced()
}
