package ledger

import (
	"fmt"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// member is a server as the fleet and the ledger know it together.
type member struct {
	id, name, hostID, topicName, agent, owner string
	serverType, role, version                 string
	parent, root                              string // IDs; root is the top of its system, itself perhaps
	carriers                                  string // JSON, its site's
	cloned                                    bool

	known                       bool // the ledger has a row; else everything below is zero
	epoch                       int64
	generation, orderGeneration int64
	adopting, restored, hold    bool
	stranded                    bool
	claimed                     Claimed
	claimedAgent, claimedTopic  string
	claimedCarriers             string
	sequence                    int64
	releaseKey                  string
	releaseGeneration           int64
	releasePublished            bool
}

// order is the order of what the server should hold now.
func (m member) order() exchange.Order {
	return exchange.Order{Epoch: m.epoch, Generation: m.orderGeneration}
}

func (m member) standing() Standing {
	return Standing{Epoch: m.epoch, Adopting: m.adopting, Claimed: m.claimed, Sequence: m.sequence}
}

// because is the member as a reason.
func (m member) because(format string, args ...any) Reason {
	return Reason{Server: m.id, Name: m.name, Why: fmt.Sprintf(format, args...)}
}

const memberColumns = `SELECT s.id, s.name, COALESCE(s.host_id, ''), COALESCE(s.topic_name, ''), COALESCE(s.agent, ''), COALESCE(s.owner, ''),
	s.type, s.role, s.version, COALESCE(s.parent, ''), COALESCE(p.parent, s.parent, s.id), COALESCE(t.carriers, ''), s.clone_suspected,
	CASE WHEN l.server IS NULL THEN 0 ELSE 1 END, COALESCE(l.epoch, 0), COALESCE(l.generation, 0), COALESCE(l.order_generation, 0),
	COALESCE(l.adopting, 0), COALESCE(l.restored, 0), COALESCE(l.hold, 0), COALESCE(l.stranded, 0),
	COALESCE(l.claimed_generation, 0), COALESCE(l.claimed_order, 0), COALESCE(l.claimed_digest, ''), COALESCE(l.claimed_hold, 0),
	COALESCE(l.claimed_agent, ''), COALESCE(l.claimed_topic, ''), COALESCE(l.claimed_carriers, ''), COALESCE(l.sequence, 0),
	COALESCE(l.release_key, ''), COALESCE(l.release_generation, 0), COALESCE(l.release_published, 0)
	FROM servers s LEFT JOIN servers p ON p.id = s.parent LEFT JOIN sites t ON t.id = s.site LEFT JOIN ledger_servers l ON l.server = s.id `

func scanMember(scan func(...any) error) (member, error) {
	var m member
	var cloned, known, adopting, restored, hold, stranded, claimedHold, published int64
	err := scan(&m.id, &m.name, &m.hostID, &m.topicName, &m.agent, &m.owner,
		&m.serverType, &m.role, &m.version, &m.parent, &m.root, &m.carriers, &cloned,
		&known, &m.epoch, &m.generation, &m.orderGeneration,
		&adopting, &restored, &hold, &stranded,
		&m.claimed.Generation, &m.claimed.Order.Generation, &m.claimed.Digest, &claimedHold,
		&m.claimedAgent, &m.claimedTopic, &m.claimedCarriers, &m.sequence,
		&m.releaseKey, &m.releaseGeneration, &published)
	m.cloned, m.known, m.adopting, m.restored = cloned != 0, known != 0, adopting != 0, restored != 0
	m.hold, m.stranded, m.claimed.Hold, m.releasePublished = hold != 0, stranded != 0, claimedHold != 0, published != 0
	if m.claimed.Digest != "" {
		m.claimed.Order.Epoch = m.epoch
	}
	return m, err
}

// members are the servers with these IDs that the fleet knows, by ID.
func members(tx *db.Tx, servers ...string) (map[string]member, error) {
	found := make(map[string]member, len(servers))
	for ids := range slices.Chunk(servers, chunk) {
		err := each(tx, memberColumns+"WHERE s.id IN ("+marks(1, len(ids))+")", anys(ids), func(scan func(...any) error) error {
			m, err := scanMember(scan)
			found[m.id] = m
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read servers: %w", err)
		}
	}
	return found, nil
}

// knownMember is one server that the ledger has a row of; false if it has none.
func knownMember(tx *db.Tx, server string) (member, bool, error) {
	found, err := members(tx, server)
	if err != nil {
		return member{}, false, err
	}
	m := found[server]
	return m, m.known, nil
}

// orders raises the generations of servers whose license list changed, or whose proof is asked for anew: a new order.
func orders(tx *db.Tx, servers ...string) error {
	for ids := range slices.Chunk(servers, chunk) {
		_, err := tx.Exec("UPDATE ledger_servers SET generation = generation + 1, order_generation = generation + 1 WHERE server IN ("+marks(1, len(ids))+")", anys(ids)...)
		if err != nil {
			return fmt.Errorf("order %d servers: %w", len(ids), err)
		}
	}
	return changed(tx, servers...)
}
