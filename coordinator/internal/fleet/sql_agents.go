package fleet

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/protocol"
)

// KindAgent is an agent's kind in the change feed; the key is its name.
const KindAgent = "agent"

// Agents are all that were ever heard, by name.
func Agents(tx *db.Tx) (map[string]Agent, error) {
	rows, err := tx.Query(`SELECT id, state, state_at, seen, version, clone_suspected FROM agents`)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	agents := map[string]Agent{}
	for rows.Next() {
		var a Agent
		var stateAt, seen, clone int64
		if err := rows.Scan(&a.ID, &a.State, &stateAt, &seen, &a.Version, &clone); err != nil {
			return nil, fmt.Errorf("read agents: %w", err)
		}
		a.StateAt, a.Seen, a.CloneSuspected = moment(stateAt), moment(seen), clone != 0
		agents[a.ID] = a
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	return agents, nil
}

// Hear checks that what an agent says is newer than what it said before, and remembers that it was said.
func Hear(tx *db.Tx, agent string, s protocol.Session) error {
	if err := knownBoot(s); err != nil {
		return fmt.Errorf("hear %s: %w", agent, err)
	}
	c, _, err := readConversation(tx, agent)
	if err != nil {
		return err
	}
	if c, err = c.hear(s, false); err != nil {
		return fmt.Errorf("hear %s: %w", agent, err)
	}
	_, err = tx.Exec(`UPDATE agents SET connection = $2, sequence = $3, seen = $4 WHERE id = $1`,
		agent, c.current.Connection, c.current.Sequence, db.Millis(tx.Now()))
	if err != nil {
		return fmt.Errorf("hear %s: %w", agent, err)
	}
	return nil
}

// HearPresence takes what an agent, or its will, says of itself. False means that a process which another one took over
// from is online again: nothing was taken but the suspicion, and the agent's servers are frozen for changes.
func HearPresence(tx *db.Tx, p protocol.Presence) (bool, error) {
	if err := knownBoot(p.Session); err != nil {
		return false, fmt.Errorf("hear %s: %w", p.Agent, err)
	}
	before, known, err := readConversation(tx, p.Agent)
	if err != nil {
		return false, err
	}
	c, err := before.hear(p.Session, p.State == protocol.Online)
	if c.clone && !before.clone {
		_, err := tx.Exec(`UPDATE agents SET clone_suspected = 1 WHERE id = $1`, p.Agent)
		if err == nil {
			_, err = tx.Exec(`UPDATE servers SET clone_suspected = 1 WHERE agent = $1`, p.Agent)
		}
		if err == nil {
			err = tx.Changed(KindAgent, p.Agent)
		}
		if err != nil {
			return false, fmt.Errorf("suspect a clone of %s: %w", p.Agent, err)
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("hear %s: %w", p.Agent, err)
	}
	retired, err := json.Marshal(c.retired)
	if err != nil {
		return false, fmt.Errorf("hear %s: %w", p.Agent, err)
	}
	now := db.Millis(tx.Now())
	args := []any{p.Agent, c.current.Boot, c.current.Connection, c.current.Sequence, string(retired), string(p.State), now, visible(p.Version)}
	if known {
		_, err = tx.Exec(`UPDATE agents SET boot = $2, connection = $3, sequence = $4, retired = $5, state = $6, state_at = $7, seen = $7,
			version = CASE WHEN $8 = '' THEN version ELSE $8 END WHERE id = $1`, args...)
	} else {
		_, err = tx.Exec(`INSERT INTO agents (id, boot, connection, sequence, retired, state, state_at, seen, version)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)`, args...)
	}
	if err == nil {
		err = tx.Changed(KindAgent, p.Agent)
	}
	if err != nil {
		return false, fmt.Errorf("hear %s: %w", p.Agent, err)
	}
	return true, nil
}

// Beat takes a heartbeat: servers whose newest report is the one that is stored here are as fresh as the heartbeat. True
// means that the agent has sent a report that never came.
func Beat(tx *db.Tx, h protocol.Heartbeat) (behind bool, err error) {
	if err := Hear(tx, h.Agent, h.Session); err != nil {
		return false, err
	}
	now := db.Millis(tx.Now())
	for server, digest := range h.Servers {
		rows, err := tx.Exec(`UPDATE servers SET last_seen = $4 WHERE agent = $1 AND topic_name = $2 AND report_digest = $3`,
			h.Agent, server, string(digest), now)
		if err != nil {
			return false, fmt.Errorf("take a heartbeat of %s: %w", h.Agent, err)
		}
		behind = behind || rows == 0
	}
	return behind, nil
}

func readConversation(tx *db.Tx, agent string) (c conversation, known bool, err error) {
	var retired string
	var clone int64
	err = tx.QueryRow(`SELECT boot, connection, sequence, retired, clone_suspected FROM agents WHERE id = $1`, agent).
		Scan(&c.current.Boot, &c.current.Connection, &c.current.Sequence, &retired, &clone)
	if errors.Is(err, sql.ErrNoRows) {
		return conversation{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(retired), &c.retired)
	}
	if err != nil {
		return conversation{}, false, fmt.Errorf("read the session of %s: %w", agent, err)
	}
	c.clone = clone != 0
	return c, true, nil
}
