package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// compose writes the report of one server. Lists are sorted and no time of reading is inside, so what did not change has
// the same bytes. A report that the other side would refuse is an error here already.
func compose(f bms.Facts, a Activation, system, version string) (json.RawMessage, error) {
	r := protocol.Report{
		Facts: factsOf(f, system, version), Licenses: licensesOf(f), Rights: rightsOf(f.Rights),
	}
	if a != nil {
		r.Observed, r.Exchange = a.Observe()
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("compose a report: %w", err)
	}
	if _, err := protocol.DecodeReport(body); err != nil {
		return body, fmt.Errorf("compose a report: %w", err)
	}
	return body, nil
}

func factsOf(f bms.Facts, system, version string) protocol.Facts {
	out := protocol.Facts{
		HostID: string(f.HostID), HostIDType: f.HostIDType, Name: f.Name, Type: f.Type, Version: f.Version, Role: f.Role,
		Parent: string(f.Parent), System: system, AgentVersion: version, CertificateID: f.Certificate,
		Violations: slices.Sorted(slices.Values(f.Violations)), Unanswered: short(f.Unanswered),
	}
	if f.Confirms {
		out.Abilities = append(out.Abilities, protocol.AbilityConfirmation)
	}
	if f.PartialReturn {
		out.Abilities = append(out.Abilities, protocol.AbilityPartialReturn)
	}
	return out
}

func licensesOf(f bms.Facts) []protocol.License {
	out := make([]protocol.License, 0, len(f.Licenses))
	for _, l := range f.Licenses {
		source := string(l.Source)
		if l.Source == f.HostID || source == "" {
			source = "own"
		}
		license := protocol.License{
			Feature: l.Feature, Version: l.Version, Required: l.Required, Used: l.Used, Available: l.Available,
			Activated: l.Activated, Source: source,
		}
		if l.Expires != nil {
			expires := l.Expires.UTC()
			license.Expires = &expires
		}
		out = append(out, license)
	}
	slices.SortFunc(out, func(a, b protocol.License) int {
		return cmp.Or(cmp.Compare(a.Feature, b.Feature), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// rightsOf names rights by digest. A store that lists one twice holds the sum.
func rightsOf(held []bms.HeldRight) []protocol.HeldRight {
	counts := make(map[exchange.RightID]int, len(held))
	for _, right := range held {
		counts[right.ActivationID.RightID()] += right.Count
	}
	out := make([]protocol.HeldRight, 0, len(counts))
	for id, count := range counts {
		out = append(out, protocol.HeldRight{Right: id, Count: count})
	}
	slices.SortFunc(out, func(a, b protocol.HeldRight) int { return cmp.Compare(a.Right, b.Right) })
	return out
}

// short keeps a cause within what a document may carry.
func short(text string) string {
	const most = 250
	text = strings.ToValidUTF8(text, "")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}
