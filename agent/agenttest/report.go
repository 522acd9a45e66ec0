package agenttest

import (
	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/protocol"
)

// reportOf is the part of a report that comes from the facts.
func reportOf(f bms.Facts) protocol.Report {
	r := protocol.Report{
		Facts: protocol.Facts{
			HostID: string(f.HostID), HostIDType: f.HostIDType, Name: f.Name, Type: f.Type, Version: f.Version, Role: f.Role,
			Parent: string(f.Parent), System: "local", Violations: f.Violations, CertificateID: f.Certificate, Unanswered: f.Unanswered,
		},
		Licenses: []protocol.License{}, Rights: []protocol.HeldRight{},
	}
	if f.PartialReturn {
		r.Facts.Abilities = append(r.Facts.Abilities, protocol.AbilityPartialReturn)
	}
	if f.Confirms {
		r.Facts.Abilities = append(r.Facts.Abilities, protocol.AbilityConfirmation)
	}
	for _, right := range f.Rights {
		r.Rights = append(r.Rights, protocol.HeldRight{Right: right.ActivationID.RightID(), Count: right.Count})
	}
	for _, l := range f.Licenses {
		source := string(l.Source)
		if l.Source == f.HostID {
			source = "own"
		}
		r.Licenses = append(r.Licenses, protocol.License{
			Feature: l.Feature, Version: l.Version, Required: l.Required, Used: l.Used, Available: l.Available,
			Activated: l.Activated, Expires: l.Expires, Source: source,
		})
	}
	return r
}
