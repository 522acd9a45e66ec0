package protocol

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/licet-project/licet/shared/exchange"
)

// What a document must be beyond its shape. Limits are generous for honest senders: the largest known system has 2,511
// servers, a server a few dozen features.
const (
	maxText     = 255   // bytes of a name, version, host ID, ...
	maxList     = 1_000 // rights, licenses, checks of one server
	maxServers  = 5_000 // servers in a heartbeat
	maxNonce    = 64
	maxReceipt  = 64 << 10
	maxCarriers = 8
)

func (p Presence) problem() error {
	switch p.State {
	case Online, Stopping, Offline:
	default:
		return errors.New("state is not online, stopping or offline")
	}
	return errors.Join(agentProblem(p.Agent), p.Session.problem(), textProblem("version", p.Version))
}

func (h Heartbeat) problem() error {
	if len(h.Servers) > maxServers || h.Queue < 0 {
		return errors.New("too many servers or a negative queue")
	}
	for name, digest := range h.Servers {
		if !Identifier(name) {
			return errors.New("a server's name is not an identifier")
		}
		if _, err := exchange.ParseDigest(string(digest)); err != nil {
			return fmt.Errorf("server %s: %w", name, err)
		}
	}
	return errors.Join(agentProblem(h.Agent), h.Session.problem())
}

func (r Reported) problem() error {
	if len(r.Asked) > maxNonce {
		return errors.New("asked is too long")
	}
	if len(r.Report) == 0 {
		return errors.New("report is missing")
	}
	return errors.Join(agentProblem(r.Agent), serverProblem(r.Server), r.Session.problem())
}

func (r Report) problem() error {
	if len(r.Licenses) > maxList || len(r.Rights) > maxList || len(r.Connectivity) > maxList {
		return fmt.Errorf("more than %d licenses, rights or checks", maxList)
	}
	seen := make(map[exchange.RightID]bool, len(r.Rights))
	for _, right := range r.Rights {
		if _, err := exchange.ParseDigest(string(right.Right)); err != nil {
			return fmt.Errorf("right: %w", err)
		}
		if seen[right.Right] || right.Count < 0 || right.Count > exchange.MaxCount {
			return errors.New("a right is named twice or has an impossible count")
		}
		seen[right.Right] = true
	}
	for _, license := range r.Licenses {
		for _, n := range []int{license.Required, license.Used, license.Available, license.Activated} {
			if n < 0 || n > exchange.MaxCount {
				return errors.New("a license has an impossible count")
			}
		}
		if err := errors.Join(textProblem("feature", license.Feature), textProblem("source", license.Source)); err != nil {
			return err
		}
	}
	if r.Exchange != nil {
		if err := r.Exchange.problem(); err != nil {
			return err
		}
	}
	return errors.Join(r.Observed.problem(), r.Facts.problem())
}

func (o Observed) problem() error {
	if o.Order.Epoch < 0 || o.Order.Generation < 0 || o.Generation < o.Order.Generation || len(o.Receipt) > maxReceipt {
		return errors.New("observed: impossible order, generation or receipt")
	}
	if o.Digest != "" {
		if _, err := exchange.ParseDigest(string(o.Digest)); err != nil {
			return fmt.Errorf("observed: %w", err)
		}
	}
	return nil
}

func (f Facts) problem() error {
	if f.HostID == "" {
		return errors.New("facts: host_id is missing")
	}
	for name, text := range map[string]string{
		"host_id": f.HostID, "host_id_type": f.HostIDType, "name": f.Name, "type": f.Type, "version": f.Version,
		"role": f.Role, "parent": f.Parent, "system": f.System, "agent_version": f.AgentVersion, "unanswered": f.Unanswered,
	} {
		if err := textProblem(name, text); err != nil {
			return fmt.Errorf("facts: %w", err)
		}
	}
	if f.Role != RoleTop && f.Role != RoleField {
		return errors.New("facts: role is not top or field")
	}
	if len(f.Abilities) > maxList || len(f.Violations) > maxList {
		return errors.New("facts: too many abilities or violations")
	}
	return nil
}

func (e Exchange) problem() error {
	if _, err := exchange.ParseDigest(string(e.Digest)); err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	switch e.Step {
	case StepMade, StepAnswered, StepApplied, StepConfirmed, StepRefused:
	default:
		return errors.New("exchange: unknown step")
	}
	if len(e.Rights) > maxList {
		return errors.New("exchange: too many rights")
	}
	for _, right := range e.Rights {
		if right.Ref == "" || right.Count < 0 || right.Count > exchange.MaxCount {
			return errors.New("exchange: a right without a reference or with an impossible count")
		}
	}
	return nil
}

func (s Settings) problem() error {
	if s.HeartbeatSeconds < 1 || s.HeartbeatSeconds > 86_400 {
		return errors.New("heartbeat_seconds is not between 1 and 86400")
	}
	return agentProblem(s.Agent)
}

func (d Desired) problem() error {
	if d.Host == "" || d.Order.Epoch < 1 || d.Order.Generation < 0 || d.Generation < d.Order.Generation {
		return errors.New("host, order or generation is missing or impossible")
	}
	if len(d.Rights) > maxList || len(d.Carriers) > maxCarriers {
		return errors.New("too many rights or carriers")
	}
	refs, ids := make(map[string]bool, len(d.Rights)), make(map[string]bool, len(d.Rights))
	for _, right := range d.Rights {
		if right.Ref == "" || refs[right.Ref] || ids[right.ActivationID] || right.Count < 0 || right.Count > exchange.MaxCount {
			return errors.New("a right is named twice, lacks its reference or has an impossible count")
		}
		if err := exchange.CheckActivationID(exchange.ActivationID(right.ActivationID)); err != nil {
			return fmt.Errorf("right %s: %w", right.Ref, err)
		}
		refs[right.Ref], ids[right.ActivationID] = true, true
	}
	return errors.Join(agentProblem(d.Agent), serverProblem(d.Server))
}

func (a Ask) problem() error {
	if a.Nonce == "" || len(a.Nonce) > maxNonce || a.Expires.IsZero() {
		return errors.New("nonce or expires is missing or too long")
	}
	return agentProblem(a.Agent)
}

func (s Session) problem() error {
	if s.Boot == "" || len(s.Boot) > MaxIdentifier || s.Connection < 0 || s.Sequence < 0 {
		return errors.New("session: boot, connection or sequence is missing or impossible")
	}
	return nil
}

func agentProblem(name string) error {
	if !Identifier(name) {
		return errors.New("agent is not an identifier")
	}
	return nil
}

func serverProblem(name string) error {
	if !Identifier(name) {
		return errors.New("server is not an identifier")
	}
	return nil
}

func textProblem(name, text string) error {
	if len(text) > maxText || !utf8.ValidString(text) {
		return fmt.Errorf("%s is longer than %d bytes or not UTF-8", name, maxText)
	}
	return nil
}
