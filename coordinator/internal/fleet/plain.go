package fleet

import (
	"fmt"
	"slices"

	"github.com/licet-project/licet/shared/protocol"
)

// plainReport is the report with every text as a person may see it: what nobody can see is left out, so that no server
// writes on a screen what it likes, and no database meets a character that it cannot store. A host ID is no text for a
// person: with anything of the kind in it, it is refused.
func plainReport(r protocol.Report) (protocol.Report, error) {
	if visible(r.Facts.HostID) != r.Facts.HostID || visible(r.Facts.HostIDType) != r.Facts.HostIDType {
		return r, fmt.Errorf("%w: the host ID has control or invisible characters", protocol.ErrInvalid)
	}
	f := &r.Facts
	for _, text := range []*string{
		&f.Name, &f.Type, &f.Version, &f.Role, &f.Parent, &f.System, &f.AgentVersion, &f.Unanswered, &f.CertificateID,
	} {
		*text = visible(*text)
	}
	f.Abilities, f.Violations = plainList(f.Abilities), plainList(f.Violations)
	r.Licenses = slices.Clone(r.Licenses)
	for i := range r.Licenses {
		l := &r.Licenses[i]
		l.Feature, l.Version, l.Source = visible(l.Feature), visible(l.Version), visible(l.Source)
	}
	return r, nil
}

func plainList(texts []string) []string {
	texts = slices.Clone(texts)
	for i := range texts {
		texts[i] = visible(texts[i])
	}
	return texts
}

// knownBoot refuses a session whose process has no name that everybody can store: it is a random UUID.
func knownBoot(s protocol.Session) error {
	if !protocol.Identifier(s.Boot) {
		return fmt.Errorf("%w: session: boot is not an identifier", protocol.ErrInvalid)
	}
	return nil
}
