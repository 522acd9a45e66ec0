package activation

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// wholeJournal is a journal with everything in it.
func wholeJournal(t *testing.T) journal {
	t.Helper()
	desired, err := protocol.Encode(protocol.Desired{
		V: 1, Agent: "agent-1", Server: "host-1", Host: "HOST-1", Order: order, Generation: 3,
		Rights: []protocol.DesiredRight{{Ref: "ref-1", Count: 1, ActivationID: "A-1"}},
	})
	require.NoError(t, err)
	rights := []asked{{Ref: "ref-1", Right: exchange.ActivationID("A-1").RightID(), Count: 1}}
	return journal{
		V: journalVersion, Host: "HOST-1", Desired: desired,
		Exchange: &flight{
			Operation: "request", Order: order, Asked: rights, Request: []byte("q"), Response: []byte("r"), Confirmation: []byte("c"),
			Codes: map[string]exchange.Code{"ref-1": exchange.RightDenied}, Carriers: []string{"direct"}, Carrier: "direct",
			Carried: true, Attempt: 3, Met: exchange.Busy,
		},
		Last:       &ended{Operation: "report", Order: oldOrder, Digest: exchange.DigestOf(nil), Step: protocol.StepConfirmed, Asked: rights},
		Receipt:    &proof{Document: []byte("p"), Says: *receiptOf(oldOrder, 1)},
		NeedReport: true, Fenced: true, Stopped: exchange.HostUnknown,
		Refused: map[string]refused{"ref-1": {Code: exchange.RightDenied, Lowering: true}},
	}
}

func TestJournalComesBackAsItWas(t *testing.T) {
	want := wholeJournal(t)
	data, err := encodeJournal(want)
	require.NoError(t, err)
	got, err := decodeJournal(data, "HOST-1")
	require.NoError(t, err)
	require.Equal(t, want, got.journal)
	require.Equal(t, exchange.DigestOf(want.Desired), got.digest)
	require.Equal(t, order, got.desired.Order)
}

// rewrapped is the journal with a change and a digest that fits, as another version would have written it.
func rewrapped(t *testing.T, j journal, change func(fields map[string]any)) []byte {
	t.Helper()
	body, err := json.Marshal(j)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(body, &fields))
	change(fields)
	body, err = json.Marshal(fields)
	require.NoError(t, err)
	data, err := json.Marshal(envelope{exchange.DigestOf(body), body})
	require.NoError(t, err)
	return data
}

func openJournalFile(t *testing.T, data []byte) (m *Machine, dir, log string, err error) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, journalName), data, 0o600))
	system, errSystem := bmstest.New(bmstest.Options{Dir: t.TempDir(), Servers: []bmstest.Server{{HostID: "HOST-1"}}})
	require.NoError(t, errSystem)
	var written bytes.Buffer
	m, err = Open(Options{
		Dir: dir, System: system, Host: "HOST-1", Keys: func() signed.KeySet { return nil }, Logger: zerolog.New(&written),
	})
	return m, dir, written.String(), err
}

func TestADamagedJournalIsForgottenAndAReportIsDue(t *testing.T) {
	whole, err := encodeJournal(wholeJournal(t))
	require.NoError(t, err)
	flipped := bytes.Replace(whole, []byte(`"attempt":3`), []byte(`"attempt":4`), 1)
	require.NotEqual(t, whole, flipped)
	for name, data := range map[string][]byte{
		"empty": {}, "truncated": whole[:len(whole)/2], "garbage": []byte("\x00\x01garbage"), "zeros": make([]byte, 4096),
		"a changed byte": flipped, "another document": []byte(`{"v":1}`), "null": []byte("null"), "doubled": append(bytes.Clone(whole), whole...),
	} {
		t.Run(name, func(t *testing.T) {
			m, dir, log, err := openJournalFile(t, data)
			require.NoError(t, err)
			require.Equal(t, journal{V: 1, Host: "HOST-1", NeedReport: true}, m.state.journal)
			require.Contains(t, log, "the activation journal is damaged")
			kept, err := os.ReadFile(filepath.Join(dir, damagedName))
			require.NoError(t, err)
			require.Equal(t, data, kept, "it is kept for a person to look at")
		})
	}
}

func TestAJournalThatIsNotUnderstoodIsLeftAlone(t *testing.T) {
	j := wholeJournal(t)
	other := j
	other.Host = "HOST-2"
	ofAnother, err := encodeJournal(other)
	require.NoError(t, err)
	for name, row := range map[string]struct {
		data []byte
		says string
	}{
		"an unknown field": {
			rewrapped(t, j, func(f map[string]any) { f["sealed"] = true }), `another version of the agent wrote it (json: unknown field "sealed")`,
		},
		"an unknown field inside": {
			rewrapped(t, j, func(f map[string]any) { f["exchange"].(map[string]any)["relay"] = 1 }), `unknown field "relay"`,
		},
		"a newer version":     {rewrapped(t, j, func(f map[string]any) { f["v"] = 2 }), "it has version 2, this agent speaks 1"},
		"another host":        {ofAnother, `it is of host "HOST-2"`},
		"a bad document":      {rewrapped(t, j, func(f map[string]any) { f["desired"] = "e30=" }), "the accepted document in it: unknown version"},
		"more than it can be": {make([]byte, maxJournal+1), "file too large"},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir, _, err := openJournalFile(t, row.data)
			require.ErrorContains(t, err, "open the activation journal of HOST-1: ")
			require.ErrorContains(t, err, row.says)
			kept, errRead := os.ReadFile(filepath.Join(dir, journalName))
			require.NoError(t, errRead)
			require.Equal(t, row.data, kept)
			require.NotContains(t, err.Error(), "A-1", "an activation ID")
		})
	}
}

func TestTheJournalIsForItsUserAlone(t *testing.T) {
	m, dir, _, err := openJournalFile(t, []byte("garbage"))
	require.NoError(t, err)
	require.NoError(t, m.Accept(wholeJournal(t).Desired))
	info, err := os.Stat(filepath.Join(dir, journalName))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestOpenWantsWhatItNeeds(t *testing.T) {
	_, err := Open(Options{Dir: t.TempDir()})
	require.ErrorContains(t, err, "a folder, a system, a host and the activation server's keys are needed")
}

// A receipt of a lower sequence means that the activation server went back: a report first, and its word then counts.
func TestASequenceThatWentBack(t *testing.T) {
	s := state{journal: journal{
		Receipt:  &proof{Says: exchange.Receipt{Sequence: 9, Order: oldOrder}},
		Exchange: &flight{Operation: exchange.OperationRequest, Order: order},
	}, desired: desiredOf(false, 1)}
	s.settle(&proof{Says: exchange.Receipt{Sequence: 4, Order: order}})
	require.True(t, s.NeedReport)
	require.EqualValues(t, 9, s.Receipt.Says.Sequence)
	s.Exchange = &flight{Operation: exchange.OperationReport, Order: order}
	s.settle(&proof{Says: exchange.Receipt{Sequence: 5, Order: order}})
	require.False(t, s.NeedReport)
	require.EqualValues(t, 5, s.Receipt.Says.Sequence)
}
