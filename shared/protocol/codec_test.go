package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

var (
	at      = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	session = Session{Boot: "6f1c2a34-0000-4000-8000-000000000001", Connection: 2, Sequence: 9}
	digest  = exchange.DigestOf([]byte("x"))
)

func goodReport() Report {
	return Report{
		Observed: Observed{Order: exchange.Order{Epoch: 1, Generation: 2}, Generation: 3, Digest: digest},
		Facts:    Facts{HostID: "DEMO-1", HostIDType: "ETHERNET", Type: "AS-P", Version: "7.0.2", Role: RoleTop, System: "local"},
		Licenses: []License{{Feature: "server.base", Required: 1, Activated: 1, Source: "own"}},
		Rights:   []HeldRight{{Right: exchange.ActivationID("A").RightID(), Count: 1}},
		Exchange: &Exchange{Digest: digest, Step: StepMade, Rights: []ExchangeRight{{Ref: "r", Count: 1}}},
	}
}

func goodReported(t testing.TB) Reported {
	raw, err := json.Marshal(goodReport())
	require.NoError(t, err)
	return Reported{V: 1, Agent: "agent-x", Server: "demo-1", Session: session, At: at, Report: raw}
}

func goodDesired() Desired {
	return Desired{
		V: 1, Agent: "agent-x", Server: "demo-1", Host: "DEMO-1", Order: exchange.Order{Epoch: 1, Generation: 2}, Generation: 2,
		Rights:   []DesiredRight{{Ref: "r", PartNumber: "P", Count: 1, ActivationID: "A"}, {Ref: "s", ActivationID: "B"}},
		Carriers: []string{CarrierDirect},
	}
}

func TestDecodeRefusesByReason(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    error
	}{
		"too large":             {strings.Repeat(" ", MaxPayload+1), ErrTooLarge},
		"empty":                 {"", ErrNotJSON},
		"text":                  {"hello", ErrNotJSON},
		"half":                  {`{"v":1,"agent":"a`, ErrNotJSON},
		"two documents":         {`{"v":1,"agent":"a","nonce":"n","expires":"2026-11-20T12:00:00Z"}{}`, ErrNotJSON},
		"something behind":      {`{"v":1,"agent":"a","nonce":"n","expires":"2026-11-20T12:00:00Z"} x`, ErrNotJSON},
		"nested without end":    {strings.Repeat(`{"a":`, 50_000), ErrNotJSON},
		"nested in a list":      {strings.Repeat(`[`, 100_000), ErrNotJSON},
		"a list":                {`[]`, ErrInvalid},
		"null":                  {`null`, ErrVersion},
		"no version":            {`{"agent":"a","nonce":"n"}`, ErrVersion},
		"version 2":             {`{"v":2}`, ErrVersion},
		"version 0":             {`{"v":0}`, ErrVersion},
		"a version in words":    {`{"v":"1"}`, ErrInvalid},
		"a field of other kind": {`{"v":1,"agent":7}`, ErrInvalid},
		"a time that is none":   {`{"v":1,"agent":"a","nonce":"n","expires":"soon"}`, ErrInvalid},
		"a missing field":       {`{"v":1,"agent":"a","nonce":"n"}`, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode[Ask]([]byte(c.payload))
			require.ErrorIs(t, err, c.want)
			reasons := 0
			for _, reason := range []error{ErrTooLarge, ErrNotJSON, ErrVersion, ErrInvalid} {
				if strings.Contains(err.Error(), reason.Error()) {
					reasons++
				}
			}
			require.Equal(t, 1, reasons, "one reason: %v", err)
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	ask, err := Decode[Ask]([]byte(`{"v":1,"agent":"a","nonce":"n","expires":"2026-11-20T12:00:00Z","later":{"deep":[1]}}`))
	require.NoError(t, err)
	require.Equal(t, Ask{V: 1, Agent: "a", Nonce: "n", Expires: at}, ask)
}

// The digest of a report is over exact bytes, so nothing on the way may rewrite them.
func TestReportTravelsAsExactBytes(t *testing.T) {
	sent := goodReported(t)
	report := goodReport()
	report.Facts.Name = "<b>&</b> \u2028 Zürich"
	raw, err := json.Marshal(report)
	require.NoError(t, err)
	sent.Report = raw
	payload, err := Encode(sent)
	require.NoError(t, err)
	got, err := Decode[Reported](payload)
	require.NoError(t, err)
	require.Equal(t, raw, []byte(got.Report))
	require.Equal(t, sent.Digest(), got.Digest())
	read, err := DecodeReport(got.Report)
	require.NoError(t, err)
	require.Equal(t, report, read)

	for _, rewritten := range []string{strings.Replace(string(raw), ":", ": ", 1), strings.Replace(string(raw), `\u003c`, "<", 1)} {
		require.NotEqual(t, string(raw), rewritten)
		sent.Report = json.RawMessage(rewritten)
		_, err = Encode(sent)
		require.ErrorContains(t, err, "not as json.Marshal writes it", "else the other side would compute another digest")

		spaced := fmt.Sprintf(`{"v":1,"agent":"a","server":"s","session":{"boot":"b"},"report":%s}`, rewritten)
		got, err = Decode[Reported]([]byte(spaced))
		require.NoError(t, err)
		require.Equal(t, rewritten, string(got.Report), "what others write is kept as it is")
	}
}

func TestEncodeRefusesWhatTheOtherSideWould(t *testing.T) {
	_, err := Encode(Ask{V: 1, Agent: "a"})
	require.ErrorIs(t, err, ErrInvalid)
	large := goodDesired()
	large.Rights[0].PartNumber = strings.Repeat("x", MaxPayload)
	_, err = Encode(large)
	require.ErrorIs(t, err, ErrTooLarge)
}

func FuzzDecode(f *testing.F) {
	seed := func(payload []byte, err error) {
		require.NoError(f, err)
		f.Add(payload)
	}
	seed(Encode(goodReported(f)))
	seed(Encode(goodDesired()))
	seed(Encode(Presence{V: 1, Agent: "a", Session: session, State: Online, At: at}))
	seed(Encode(Heartbeat{V: 1, Agent: "a", Session: session, At: at, Servers: map[string]exchange.Digest{"s": digest}}))
	seed(Encode(Settings{V: 1, Agent: "a", HeartbeatSeconds: 60}))
	seed(Encode(Ask{V: 1, Agent: "a", Nonce: "n", Expires: at}))
	f.Add([]byte(`{"v":1,"report":null}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		again[Presence](t, payload)
		again[Heartbeat](t, payload)
		again[Settings](t, payload)
		again[Desired](t, payload)
		again[Ask](t, payload)
		reported, err := Decode[Reported](payload)
		if err != nil {
			return
		}
		require.True(t, json.Valid(reported.Report))
		if report, err := DecodeReport(reported.Report); err == nil {
			raw, err := json.Marshal(report)
			require.NoError(t, err)
			second, err := DecodeReport(raw)
			require.NoError(t, err)
			rawAgain, err := json.Marshal(second)
			require.NoError(t, err)
			require.Equal(t, string(raw), string(rawAgain))
		}
	})
}

// again checks that whatever is taken can be sent on, and reads the same.
func again[T Document](t *testing.T, payload []byte) {
	document, err := Decode[T](payload)
	if err != nil {
		return
	}
	encoded, err := Encode(document)
	require.NoError(t, err)
	second, err := Decode[T](encoded)
	require.NoError(t, err)
	encodedAgain, err := Encode(second)
	require.NoError(t, err)
	require.Equal(t, string(encoded), string(encodedAgain))
}
