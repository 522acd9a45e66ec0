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

var long = strings.Repeat("x", 256)

// refuses runs each change on a good document: the document is valid before and invalid after.
func refuses[T Document](t *testing.T, good func() T, changes map[string]func(*T)) {
	t.Helper()
	require.NoError(t, good().problem())
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			document := good()
			change(&document)
			require.Error(t, document.problem())
			_, err := Encode(document)
			require.ErrorIs(t, err, ErrInvalid)
		})
	}
}

func TestPresenceProblems(t *testing.T) {
	refuses(t, func() Presence { return Presence{V: 1, Agent: "a", Session: session, State: Offline, At: at} }, map[string]func(*Presence){
		"no state":            func(p *Presence) { p.State = "" },
		"another state":       func(p *Presence) { p.State = "Online" },
		"agent":               func(p *Presence) { p.Agent = "A" },
		"no boot":             func(p *Presence) { p.Session.Boot = "" },
		"a long boot":         func(p *Presence) { p.Session.Boot = long },
		"negative connection": func(p *Presence) { p.Session.Connection = -1 },
		"negative sequence":   func(p *Presence) { p.Session.Sequence = -1 },
		"a long version":      func(p *Presence) { p.Version = long },
		"not UTF-8":           func(p *Presence) { p.Version = "\xff" },
	})
}

func TestHeartbeatProblems(t *testing.T) {
	refuses(t, func() Heartbeat {
		return Heartbeat{V: 1, Agent: "a", Session: session, Servers: map[string]exchange.Digest{"s": digest}}
	}, map[string]func(*Heartbeat){
		"queue":  func(h *Heartbeat) { h.Queue = -1 },
		"server": func(h *Heartbeat) { h.Servers["S"] = digest },
		"digest": func(h *Heartbeat) { h.Servers["s"] = "abc" },
		"too many": func(h *Heartbeat) {
			for i := range maxServers + 1 {
				h.Servers[fmt.Sprint("s-", i)] = digest
			}
		},
	})
}

func TestReportedProblems(t *testing.T) {
	refuses(t, func() Reported { return goodReported(t) }, map[string]func(*Reported){
		"server":    func(r *Reported) { r.Server = "S" },
		"agent":     func(r *Reported) { r.Agent = "" },
		"asked":     func(r *Reported) { r.Asked = long },
		"no report": func(r *Reported) { r.Report = nil },
	})
}

func TestReportProblems(t *testing.T) {
	require.NoError(t, goodReport().problem())
	for name, change := range map[string]func(*Report){
		"no host ID":          func(r *Report) { r.Facts.HostID = "" },
		"a long host ID":      func(r *Report) { r.Facts.HostID = long },
		"a long name":         func(r *Report) { r.Facts.Name = long },
		"role":                func(r *Report) { r.Facts.Role = "server" },
		"abilities":           func(r *Report) { r.Facts.Abilities = make([]string, maxList+1) },
		"right":               func(r *Report) { r.Rights[0].Right = "A" },
		"a right twice":       func(r *Report) { r.Rights = append(r.Rights, r.Rights[0]) },
		"negative right":      func(r *Report) { r.Rights[0].Count = -1 },
		"enormous right":      func(r *Report) { r.Rights[0].Count = exchange.MaxCount + 1 },
		"too many rights":     func(r *Report) { r.Rights = make([]HeldRight, maxList+1) },
		"negative required":   func(r *Report) { r.Licenses[0].Required = -1 },
		"negative used":       func(r *Report) { r.Licenses[0].Used = -1 },
		"negative available":  func(r *Report) { r.Licenses[0].Available = -1 },
		"enormous activated":  func(r *Report) { r.Licenses[0].Activated = exchange.MaxCount + 1 },
		"a long feature":      func(r *Report) { r.Licenses[0].Feature = long },
		"too many licenses":   func(r *Report) { r.Licenses = make([]License, maxList+1) },
		"too many checks":     func(r *Report) { r.Connectivity = make([]Check, maxList+1) },
		"negative epoch":      func(r *Report) { r.Observed.Order.Epoch = -1 },
		"negative generation": func(r *Report) { r.Observed.Order.Generation = -1 },
		"behind its order":    func(r *Report) { r.Observed.Generation = 1 },
		"observed digest":     func(r *Report) { r.Observed.Digest = "x" },
		"a large receipt":     func(r *Report) { r.Observed.Receipt = make([]byte, maxReceipt+1) },
		"exchange digest":     func(r *Report) { r.Exchange.Digest = "" },
		"exchange step":       func(r *Report) { r.Exchange.Step = "done" },
		"exchange without ref": func(r *Report) {
			r.Exchange.Rights[0].Ref = ""
		},
		"exchange negative count": func(r *Report) { r.Exchange.Rights[0].Count = -1 },
		"exchange rights":         func(r *Report) { r.Exchange.Rights = make([]ExchangeRight, maxList+1) },
	} {
		t.Run(name, func(t *testing.T) {
			report := goodReport()
			change(&report)
			raw, err := json.Marshal(report)
			require.NoError(t, err)
			_, err = DecodeReport(raw)
			require.ErrorIs(t, err, ErrInvalid)
		})
	}
	_, err := DecodeReport(json.RawMessage("null"))
	require.ErrorIs(t, err, ErrInvalid)
	_, err = DecodeReport(json.RawMessage("{} {}"))
	require.ErrorIs(t, err, ErrNotJSON)
}

func TestDesiredProblems(t *testing.T) {
	refuses(t, goodDesired, map[string]func(*Desired){
		"no host":             func(d *Desired) { d.Host = "" },
		"no epoch":            func(d *Desired) { d.Order.Epoch = 0 },
		"negative generation": func(d *Desired) { d.Order.Generation = -1 },
		"behind its order":    func(d *Desired) { d.Generation = 1 },
		"no reference":        func(d *Desired) { d.Rights[0].Ref = "" },
		"a reference twice":   func(d *Desired) { d.Rights[1].Ref = "r" },
		"a right twice":       func(d *Desired) { d.Rights[1].ActivationID = "A" },
		"no activation ID":    func(d *Desired) { d.Rights[0].ActivationID = "" },
		"a forbidden ID":      func(d *Desired) { d.Rights[0].ActivationID = "A/B" },
		"negative count":      func(d *Desired) { d.Rights[0].Count = -1 },
		"enormous count":      func(d *Desired) { d.Rights[0].Count = exchange.MaxCount + 1 },
		"too many rights":     func(d *Desired) { d.Rights = make([]DesiredRight, maxList+1) },
		"too many carriers":   func(d *Desired) { d.Carriers = make([]string, maxCarriers+1) },
		"server":              func(d *Desired) { d.Server = "S" },
		"agent":               func(d *Desired) { d.Agent = "a/b" },
	})
	bad := goodDesired()
	bad.Rights[0].ActivationID = "SECRET/1"
	require.NotContains(t, bad.problem().Error(), "SECRET")
}

func TestSettingsAndAskProblems(t *testing.T) {
	refuses(t, func() Settings { return Settings{V: 1, Agent: "a", HeartbeatSeconds: 60} }, map[string]func(*Settings){
		"never":      func(s *Settings) { s.HeartbeatSeconds = 0 },
		"too seldom": func(s *Settings) { s.HeartbeatSeconds = 86_401 },
		"agent":      func(s *Settings) { s.Agent = "" },
	})
	refuses(t, func() Ask { return Ask{V: 1, Agent: "a", Nonce: "n", Expires: at} }, map[string]func(*Ask){
		"no nonce":       func(a *Ask) { a.Nonce = "" },
		"a long nonce":   func(a *Ask) { a.Nonce = long },
		"without an end": func(a *Ask) { a.Expires = time.Time{} },
		"agent":          func(a *Ask) { a.Agent = "A" },
	})
}

func TestSessionsAreOrderedWithinABoot(t *testing.T) {
	for _, c := range []struct {
		a, b  Session
		after bool
	}{
		{Session{"x", 1, 2}, Session{"x", 1, 1}, true},
		{Session{"x", 2, 0}, Session{"x", 1, 9}, true},
		{Session{"x", 1, 1}, Session{"x", 1, 1}, false},
		{Session{"x", 1, 9}, Session{"x", 2, 0}, false},
		{Session{"y", 9, 9}, Session{"x", 1, 1}, false},
	} {
		require.Equal(t, c.after, c.a.After(c.b), "%v after %v", c.a, c.b)
	}
}
