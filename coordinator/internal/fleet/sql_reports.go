package fleet

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

var (
	// ErrOtherAgent means that another agent looks after the host.
	ErrOtherAgent = errors.New("another agent looks after this host")
	// ErrHostIDType means that the host is known with another type of host ID; topics could not tell the two apart.
	ErrHostIDType = fmt.Errorf("%w: the host is known with another type of host ID", protocol.ErrInvalid)
)

// Knows reports whether the digest is that of the newest report of the server.
func Knows(tx *db.Tx, agent, topicName string, digest exchange.Digest) (bool, error) {
	var n int
	err := tx.QueryRow(`SELECT COUNT(*) FROM servers WHERE agent = $1 AND topic_name = $2 AND report_digest = $3`,
		agent, topicName, string(digest)).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for a report of %s: %w", topicName, err)
	}
	return n > 0, nil
}

// SeenAgain notes that the newest report of a server was said once more. False, and nothing changed, if it is not the newest.
func SeenAgain(tx *db.Tx, r protocol.Reported, digest exchange.Digest) (bool, error) {
	rows, err := tx.Exec(`UPDATE servers SET last_seen = $4, report_at = $5, asked = CASE WHEN $6 = '' THEN asked ELSE $6 END
		WHERE agent = $1 AND topic_name = $2 AND report_digest = $3`,
		r.Agent, r.Server, string(digest), db.Millis(tx.Now()), db.Millis(r.At), visible(r.Asked))
	if err == nil && rows > 0 && r.Asked != "" {
		err = changedByTopic(tx, r) // somebody waits for this answer
	}
	if err != nil {
		return false, fmt.Errorf("note that %s was seen: %w", r.Server, err)
	}
	return rows > 0, nil
}

func changedByTopic(tx *db.Tx, r protocol.Reported) error {
	server, found, err := ByTopic(tx, r.Agent, r.Server)
	if err == nil && found {
		err = tx.Changed(KindServer, server.ID)
	}
	return err
}

// Applied is what a report led to.
type Applied struct {
	Server  Server
	New     bool // nobody knew the server
	Learned bool // the inventory's server was recognized, and its host ID is pinned now
}

// Apply takes in what an agent reports of a server. The server is the one with its host ID; or the only one of the
// inventory that has no host ID yet, its name and its type; or a new one, which is observed and has no site. The agent that
// reports a server first looks after it from then on, unless the inventory named one; from any other it is ErrOtherAgent.
func Apply(tx *db.Tx, r protocol.Reported, report protocol.Report) (Applied, error) {
	report, err := plainReport(report)
	if err != nil {
		return Applied{}, err
	}
	applied, err := recognize(tx, r, report.Facts)
	if err != nil {
		return Applied{}, err
	}
	server := applied.Server
	if server.Agent != "" && server.Agent != r.Agent {
		return Applied{}, fmt.Errorf("%w: %s reports what %s looks after", ErrOtherAgent, r.Agent, server.Agent)
	}
	if err := store(tx, server.ID, r, report); err != nil {
		return Applied{}, fmt.Errorf("store the report of server %s: %w", server.ID, err)
	}
	if err := tx.Changed(KindServer, server.ID); err != nil {
		return Applied{}, err
	}
	applied.Server, _, err = Get(tx, server.ID)
	return applied, err
}

// SuspectClone notes that two agents report one host and the inventory names neither: it is frozen for changes until a
// person says who is right. False if the inventory did name one, so that nothing is unclear.
func SuspectClone(tx *db.Tx, facts protocol.Facts) (bool, error) {
	server, found, err := ByHost(tx, facts.HostID)
	if err != nil || !found || server.AgentNamed || server.CloneSuspected {
		return false, err
	}
	if _, err := tx.Exec(`UPDATE servers SET clone_suspected = 1 WHERE id = $1`, server.ID); err != nil {
		return false, fmt.Errorf("suspect a clone of server %s: %w", server.ID, err)
	}
	return true, tx.Changed(KindServer, server.ID)
}

func recognize(tx *db.Tx, r protocol.Reported, facts protocol.Facts) (Applied, error) {
	server, found, err := ByHost(tx, facts.HostID)
	if err == nil && found && server.HostIDType != facts.HostIDType {
		err = fmt.Errorf("%w: %s, not %s", ErrHostIDType, server.HostIDType, facts.HostIDType)
	}
	if err != nil || found {
		return Applied{Server: server}, err
	}
	candidates, err := queryServers(tx, `WHERE s.listed = 1 AND s.host_id IS NULL AND s.name = $1 AND s.type = $2`, facts.Name, facts.Type)
	if err != nil {
		return Applied{}, err
	}
	if server, found := theOne(candidates, r.Agent); found {
		_, err := tx.Exec(`UPDATE servers SET host_id = $2, host_id_type = $3, host_key = $4, topic_name = $5 WHERE id = $1`,
			server.ID, facts.HostID, facts.HostIDType, hostKey(facts.HostID), r.Server)
		if err != nil {
			return Applied{}, fmt.Errorf("learn the host ID of server %s: %w", server.ID, err)
		}
		return Applied{Server: server, Learned: true}, nil
	}
	server = Server{ID: newServerID(), Name: facts.Name}
	if server.Name == "" {
		server.Name = facts.HostID
	}
	_, err = tx.Exec(`INSERT INTO servers (id, name, host_id, host_id_type, host_key, topic_name, type, role, version, agent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, server.ID, server.Name, facts.HostID, facts.HostIDType,
		hostKey(facts.HostID), r.Server, facts.Type, facts.Role, facts.Version, r.Agent)
	if err != nil {
		return Applied{}, fmt.Errorf("note a new server: %w", err)
	}
	return Applied{Server: server, New: true}, nil
}

// theOne is the server that must be meant: the only one of those that the inventory gives to the agent, or, if it gives it
// none, the only one that it gives to nobody. Two would be a guess.
func theOne(candidates []Server, agent string) (Server, bool) {
	for _, named := range []string{agent, ""} {
		var fitting []Server
		for _, s := range candidates {
			if s.Agent == named {
				fitting = append(fitting, s)
			}
		}
		if len(fitting) > 0 {
			return fitting[0], len(fitting) == 1
		}
	}
	return Server{}, false
}

// store writes what was reported. Type and version are the server's own word; a server that did not answer may not have
// given it, and the spelling of the host ID is the server's. Name, role and parent are the inventory's, where there is one.
func store(tx *db.Tx, id string, r protocol.Reported, report protocol.Report) error {
	var texts [4]string
	for i, part := range []any{report.Facts, report.Licenses, report.Rights, report.Clock} {
		data, err := json.Marshal(part)
		if err != nil {
			return err
		}
		texts[i] = string(data)
	}
	if report.Clock == nil {
		texts[3] = ""
	}
	now := db.Millis(tx.Now())
	_, err := tx.Exec(`UPDATE servers SET agent = $2, facts = $3, licenses = $4, rights = $5, clock = $6, report_digest = $7,
		report_at = $8, changed_at = $9, last_seen = $9, asked = CASE WHEN $10 = '' THEN asked ELSE $10 END,
		type = CASE WHEN $11 = '' THEN type ELSE $11 END, version = CASE WHEN $12 = '' THEN version ELSE $12 END,
		host_id = $13, topic_name = $14, name = CASE WHEN listed = 1 OR $15 = '' THEN name ELSE $15 END,
		role = CASE WHEN listed = 1 THEN role ELSE $16 END, parent = CASE WHEN listed = 1 OR parent_host = $17 THEN parent ELSE NULL END,
		parent_host = $17 WHERE id = $1`,
		id, r.Agent, texts[0], texts[1], texts[2], texts[3], string(r.Digest()),
		db.Millis(r.At), now, visible(r.Asked), report.Facts.Type, report.Facts.Version,
		report.Facts.HostID, r.Server, report.Facts.Name, report.Facts.Role, hostKey(report.Facts.Parent))
	if err != nil {
		return err
	}
	// A system may be heard in any order: the server finds its parent, or the parent its servers.
	_, err = tx.Exec(`UPDATE servers SET parent = (SELECT MIN(p.id) FROM servers p WHERE p.host_key = servers.parent_host AND p.agent = servers.agent AND p.id <> servers.id)
		WHERE agent = $1 AND listed = 0 AND parent IS NULL AND parent_host <> ''`, r.Agent)
	return err
}
