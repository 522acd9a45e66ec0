package fleet

import (
	"cmp"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/protocol"
)

// KindServer is a server's kind in the change feed; the key is its ID.
const KindServer = "server"

// serverColumns are what scanServer reads. A system is at most three servers high (domain.md: EC, ES, field server), so the
// top is the server itself, its parent, or its parent's parent.
const serverColumns = `SELECT s.id, s.name, COALESCE(s.host_id, ''), COALESCE(s.host_id_type, ''), COALESCE(s.topic_name, ''),
	s.type, s.role, s.version, COALESCE(s.parent, ''), COALESCE(p.name, ''), COALESCE(g.name, p.name, s.name),
	COALESCE(s.site, ''), COALESCE(s.owner, ''), COALESCE(s.agent, ''), s.agent_named, s.listed,
	s.address, s.driver, s.tls_sha256, s.labels, s.clone_suspected,
	s.report_digest, COALESCE(s.report_at, 0), COALESCE(s.changed_at, 0), COALESCE(s.last_seen, 0), s.asked, s.parent_host
	FROM servers s LEFT JOIN servers p ON p.id = s.parent LEFT JOIN servers g ON g.id = p.parent `

// Get is the server with this ID; false if there is none.
func Get(tx *db.Tx, id string) (Server, bool, error) {
	return oneServer(tx, "WHERE s.id = $1", id)
}

// ErrTwoHosts means that two hosts of different type have the same host ID.
var ErrTwoHosts = errors.New("two servers have this host ID, with different host ID types: name the server by its ID")

// ByHost is the server with this host ID in any case of its letters; false if there is none.
func ByHost(tx *db.Tx, hostID string) (Server, bool, error) {
	return oneServer(tx, "WHERE s.host_key = $1", hostKey(hostID))
}

// ByTopic is the server that the agent calls by this name in topics; false if there is none.
func ByTopic(tx *db.Tx, agent, topicName string) (Server, bool, error) {
	return oneServer(tx, "WHERE s.agent = $1 AND s.topic_name = $2", agent, topicName)
}

// Select is every server that the selector means, by site and name.
func Select(tx *db.Tx, selector Selector) ([]Server, error) {
	var where []string
	var args []any
	for key, column := range map[string]string{
		"host": "s.host_id", "site": "s.site", "agent": "s.agent", "name": "s.name", "owner": "s.owner", "type": "s.type", "role": "s.role",
	} {
		// Not needed to be right, Match is: it spares reading the whole fleet for one server.
		if value, ok := selector.equals(key); ok {
			args = append(args, value)
			where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	clause := ""
	if len(where) > 0 {
		clause = "WHERE " + strings.Join(where, " AND ")
	}
	servers, err := queryServers(tx, clause, args...)
	if err != nil {
		return nil, err
	}
	var selected []Server
	for _, server := range servers {
		if selector.Match(server.Attributes()) {
			selected = append(selected, server)
		}
	}
	slices.SortFunc(selected, func(a, b Server) int { // not by SQL: the engines' collations differ
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return selected, nil
}

// Details are what was last reported of a server.
type Details struct {
	Facts    protocol.Facts
	Licenses []protocol.License
	Rights   []protocol.HeldRight
	Clock    *protocol.ClockOffset // nil: the agent did not say
}

// GetDetails is what was last reported of the server; false if nothing was.
func GetDetails(tx *db.Tx, id string) (Details, bool, error) {
	var facts, licenses, rights, clock string
	err := tx.QueryRow(`SELECT facts, licenses, rights, clock FROM servers WHERE id = $1`, id).Scan(&facts, &licenses, &rights, &clock)
	if errors.Is(err, sql.ErrNoRows) || err == nil && facts == "" {
		return Details{}, false, nil
	}
	if err != nil {
		return Details{}, false, fmt.Errorf("read what was reported of server %s: %w", id, err)
	}
	var d Details
	for _, part := range []struct {
		text string
		into any
	}{{facts, &d.Facts}, {licenses, &d.Licenses}, {rights, &d.Rights}, {clock, &d.Clock}} {
		if part.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return Details{}, false, fmt.Errorf("read what was reported of server %s: %w", id, err)
		}
	}
	return d, true, nil
}

func oneServer(tx *db.Tx, where string, args ...any) (Server, bool, error) {
	servers, err := queryServers(tx, where+" LIMIT 2", args...)
	switch {
	case err != nil:
		return Server{}, false, err
	case len(servers) > 1:
		return Server{}, false, ErrTwoHosts
	case len(servers) == 0:
		return Server{}, false, nil
	}
	return servers[0], true, nil
}

func queryServers(tx *db.Tx, rest string, args ...any) ([]Server, error) {
	rows, err := tx.Query(serverColumns+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("read servers: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	var servers []Server
	for rows.Next() {
		server, err := scanServer(rows)
		if err != nil {
			return nil, fmt.Errorf("read servers: %w", err)
		}
		servers = append(servers, server)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read servers: %w", err)
	}
	return servers, nil
}

func scanServer(rows *sql.Rows) (Server, error) {
	var s Server
	var labels string
	var reportAt, changedAt, lastSeen, named, listed, clone int64
	err := rows.Scan(&s.ID, &s.Name, &s.HostID, &s.HostIDType, &s.TopicName,
		&s.Type, &s.Role, &s.Version, &s.Parent, &s.ParentName, &s.System,
		&s.Site, &s.Owner, &s.Agent, &named, &listed,
		&s.Address, &s.Driver, &s.TLSSHA256, &labels, &clone,
		&s.ReportDigest, &reportAt, &changedAt, &lastSeen, &s.Asked, &s.parentHost)
	if err != nil {
		return s, err
	}
	s.AgentNamed, s.Listed, s.CloneSuspected = named != 0, listed != 0, clone != 0
	s.ReportAt, s.ChangedAt, s.LastSeen = moment(reportAt), moment(changedAt), moment(lastSeen)
	if err := json.Unmarshal([]byte(labels), &s.Labels); err != nil {
		return s, fmt.Errorf("labels of server %s: %w", s.ID, err)
	}
	return s, nil
}

// newServerID is random: 60 bits, so that a million servers meet the same one with a chance of one in two million.
func newServerID() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	return "srv-" + strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))[:12]
}

// moment is a stored time; 0 is none.
func moment(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return db.Time(millis)
}

// hostKey is what two spellings of one host ID share.
func hostKey(hostID string) string { return strings.ToLower(hostID) }

// null is NULL for an empty text.
func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func number(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
