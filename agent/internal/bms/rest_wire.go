package bms

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// What the rest driver and a top server say to each other is stated in openapi.yaml; these are its types. Requests,
// responses and confirmations travel as they are, with exchange.MediaType and the header RESTHostHeader.

// RESTHostHeader names, in every answer that carries an opaque message, the host whose message it is.
const RESTHostHeader = "Licet-Host"

// RESTServers answers GET /api/v1/servers, the top server first.
type RESTServers struct {
	Servers []RESTServer `json:"servers"`
}

// RESTServer is Facts as they travel. Of a server that does not answer only host_id, parent and unanswered are there.
type RESTServer struct {
	HostID        string               `json:"host_id"`
	HostIDType    string               `json:"host_id_type,omitempty"`
	Name          string               `json:"name,omitempty"`
	Type          string               `json:"type,omitempty"`
	Version       string               `json:"version,omitempty"`
	Role          string               `json:"role,omitempty"`
	Parent        string               `json:"parent,omitempty"`
	PartialReturn bool                 `json:"partial_return"`
	Confirms      bool                 `json:"confirms"`
	Certificate   string               `json:"certificate_sha256,omitempty"`
	Clock         *time.Time           `json:"clock,omitempty"`
	Licenses      []RESTLicense        `json:"licenses"`
	Rights        []exchange.WireRight `json:"rights"`
	Violations    []string             `json:"violations"`
	Unanswered    string               `json:"unanswered,omitempty"`
}

// RESTLicense is a line of License Information as it travels.
type RESTLicense struct {
	Feature   string     `json:"feature"`
	Version   string     `json:"version,omitempty"`
	Required  int        `json:"required"`
	Used      int        `json:"used"`
	Available int        `json:"available"`
	Activated int        `json:"activated"`
	Expires   *time.Time `json:"expires,omitempty"`
	Source    string     `json:"source"`
}

// RESTRequest is the body of POST /api/v1/servers/{host}/requests.
type RESTRequest struct {
	Order  exchange.Order       `json:"order"`
	Rights []exchange.WireRight `json:"rights"`
}

// RESTReport is the body of POST /api/v1/servers/{host}/reports.
type RESTReport struct {
	Order exchange.Order `json:"order"`
}

// RESTRefused answers POST /api/v1/servers/{host}/refused.
type RESTRefused struct {
	Refused []exchange.RefusedRight `json:"refused"`
}

// RESTHealth answers GET /api/v1/health.
type RESTHealth struct {
	Status string    `json:"status"` // "ok", or there is no answer
	Host   string    `json:"host_id"`
	Clock  time.Time `json:"clock"`
}

// NewRESTServer is how facts travel.
func NewRESTServer(f Facts) RESTServer {
	s := RESTServer{
		HostID: string(f.HostID), HostIDType: f.HostIDType, Name: f.Name, Type: f.Type, Version: f.Version, Role: f.Role,
		Parent: string(f.Parent), PartialReturn: f.PartialReturn, Confirms: f.Confirms, Certificate: f.Certificate,
		Licenses: []RESTLicense{}, Rights: []exchange.WireRight{}, Violations: append([]string{}, f.Violations...),
		Unanswered: f.Unanswered,
	}
	if !f.Clock.IsZero() {
		s.Clock = &f.Clock
	}
	for _, l := range f.Licenses {
		s.Licenses = append(s.Licenses, RESTLicense{
			Feature: l.Feature, Version: l.Version, Required: l.Required, Used: l.Used, Available: l.Available,
			Activated: l.Activated, Expires: l.Expires, Source: string(l.Source),
		})
	}
	for _, r := range f.Rights {
		s.Rights = append(s.Rights, exchange.WireRight{ActivationID: r.ActivationID.Reveal(), Count: r.Count})
	}
	return s
}

// facts are the server's facts, or what is wrong with them: a stranger wrote them.
func (s RESTServer) facts() (Facts, error) {
	if err := s.problem(); err != nil {
		return Facts{}, err
	}
	f := Facts{HostID: HostID(s.HostID), Parent: HostID(s.Parent), Unanswered: s.Unanswered}
	if s.Unanswered != "" {
		return f, nil
	}
	f.HostIDType, f.Name, f.Type, f.Version, f.Role = s.HostIDType, s.Name, s.Type, s.Version, s.Role
	f.PartialReturn, f.Confirms, f.Certificate, f.Violations = s.PartialReturn, s.Confirms, s.Certificate, s.Violations
	if s.Clock != nil {
		f.Clock = s.Clock.UTC()
	}
	for _, l := range s.Licenses {
		f.Licenses = append(f.Licenses, License{
			Feature: l.Feature, Version: l.Version, Required: l.Required, Used: l.Used, Available: l.Available,
			Activated: l.Activated, Expires: l.Expires, Source: HostID(l.Source),
		})
	}
	for _, r := range s.Rights {
		f.Rights = append(f.Rights, HeldRight{ActivationID: exchange.ActivationID(r.ActivationID), Count: r.Count})
	}
	return f, nil
}

const (
	maxText = 255 // bytes of a name, a version, a host ID
	maxList = 1_000
)

func (s RESTServer) problem() error {
	if s.HostID == "" {
		return errors.New("host_id is missing")
	}
	for name, text := range map[string]string{
		"host_id": s.HostID, "host_id_type": s.HostIDType, "name": s.Name, "type": s.Type, "version": s.Version,
		"parent": s.Parent, "certificate_sha256": s.Certificate, "unanswered": s.Unanswered,
	} {
		if len(text) > maxText || !utf8.ValidString(text) {
			return fmt.Errorf("%s is longer than %d bytes or not UTF-8", name, maxText)
		}
	}
	if len(s.Licenses) > maxList || len(s.Rights) > maxList || len(s.Violations) > maxList {
		return fmt.Errorf("more than %d licenses, rights or violations", maxList)
	}
	if s.Unanswered == "" && s.Role != protocol.RoleTop && s.Role != protocol.RoleField {
		return errors.New("role is not top or field")
	}
	return errors.Join(licenseProblem(s.Licenses), rightProblem(s.Rights))
}

func licenseProblem(licenses []RESTLicense) error {
	for _, l := range licenses {
		if l.Feature == "" || len(l.Feature) > maxText || len(l.Version) > maxText || len(l.Source) > maxText {
			return errors.New("a license without a feature, or with a text that is too long")
		}
		for _, n := range []int{l.Required, l.Used, l.Available, l.Activated} {
			if n < 0 || n > exchange.MaxCount {
				return errors.New("a license has an impossible count")
			}
		}
	}
	return nil
}

func rightProblem(rights []exchange.WireRight) error {
	seen := make(map[string]bool, len(rights))
	for i, r := range rights {
		if err := exchange.CheckActivationID(exchange.ActivationID(r.ActivationID)); err != nil {
			return fmt.Errorf("right %d: %w", i+1, err)
		}
		if seen[r.ActivationID] || r.Count < 0 || r.Count > exchange.MaxCount {
			return errors.New("a right is named twice or has an impossible count")
		}
		seen[r.ActivationID] = true
	}
	return nil
}

// maxServers in one system; the largest known one has 2,511.
const maxServers = 5_000

// systemOf checks that the servers are one system and puts the entry first.
func systemOf(answer RESTServers) ([]Facts, error) {
	if len(answer.Servers) == 0 || len(answer.Servers) > maxServers {
		return nil, fmt.Errorf("%d servers: a system has 1 to %d", len(answer.Servers), maxServers)
	}
	facts := make([]Facts, len(answer.Servers))
	known := make(map[HostID]bool, len(facts))
	entry := -1
	for i, s := range answer.Servers {
		f, err := s.facts()
		switch {
		case err != nil:
			return nil, fmt.Errorf("server %d: %w", i+1, err)
		case known[f.HostID]:
			return nil, fmt.Errorf("server %d: host ID %s is there twice", i+1, f.HostID)
		case f.Parent == "" && entry >= 0:
			return nil, fmt.Errorf("servers %d and %d both have no parent", entry+1, i+1)
		case f.Parent == "":
			entry = i
		}
		facts[i], known[f.HostID] = f, true
	}
	if entry < 0 {
		return nil, errors.New("every server has a parent: none is the top server")
	}
	for _, f := range facts {
		if f.Parent != "" && !known[f.Parent] {
			return nil, fmt.Errorf("the parent of %s is not in the system", f.HostID)
		}
	}
	first := facts[entry]
	return append([]Facts{first}, slices.Delete(facts, entry, entry+1)...), nil
}
