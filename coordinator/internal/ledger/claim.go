package ledger

import (
	"encoding/json"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Document is a desired document that was claimed: it may be at the broker already, or never get there, and the activation
// server may see what it asks for at any time from now on.
type Document struct {
	Server     string // ID
	Topic      protocol.Topic
	Left       *protocol.Topic // where the server's documents were before and must be withdrawn; nil: nowhere else
	Payload    []byte
	Order      exchange.Order
	Generation int64
	Digest     exchange.Digest
	Hold       bool
	Release    bool // once it is retained at the broker, say so: ReleasePublished
}

// Claim composes the server's desired document and takes it for publication, if it differs from the one claimed last. In the
// same transaction every count that it names becomes exposed, so it must be committed before a byte of it leaves. False
// means that there is nothing to publish: nothing new, nobody to send it to, two agents that claim the server, or a server
// that is being adopted by asking the activation server.
func Claim(tx *db.Tx, server string) (Document, bool, error) {
	m, ok, err := knownMember(tx, server)
	if err != nil || !ok || m.agent == "" || m.topicName == "" || m.cloned || m.adopting && !m.hold {
		return Document{}, false, err
	}
	carriers, err := m.carriersAllowed()
	if err != nil {
		return Document{}, false, err
	}
	if m.claimed.Digest != "" && m.claimed.Generation == m.generation {
		if m.claimedAgent == m.agent && m.claimedTopic == m.topicName && m.claimedCarriers == m.carriers {
			return Document{}, false, nil
		}
		m.generation++ // the same order in another document: never two documents of one generation
	}
	desired := protocol.Desired{
		V: protocol.Version, Agent: m.agent, Server: m.topicName, Host: m.hostID,
		Order: m.order(), Generation: m.generation, Hold: m.hold, Rights: []protocol.DesiredRight{}, Carriers: carriers,
	}
	b := booking{tx: tx}
	if m.hold {
		desired.Order.Generation = 0 // that of a fence: whatever comes after is newer
	} else if desired.Rights, err = claimRights(&b, server); err != nil {
		return Document{}, false, err
	}
	payload, err := protocol.Encode(desired)
	if err != nil {
		return Document{}, false, fmt.Errorf("compose the document of server %s: %w", server, err)
	}
	if err := b.close(); err != nil {
		return Document{}, false, err
	}
	d := Document{
		Server: server, Topic: protocol.Topic{Agent: m.agent, Server: m.topicName, Kind: protocol.KindDesired}, Payload: payload,
		Order: desired.Order, Generation: m.generation, Digest: exchange.DigestOf(payload), Hold: m.hold, Release: m.releaseKey != "",
	}
	if m.claimedAgent != "" && (m.claimedAgent != m.agent || m.claimedTopic != m.topicName) {
		d.Left = &protocol.Topic{Agent: m.claimedAgent, Server: m.claimedTopic, Kind: protocol.KindDesired}
	}
	_, err = tx.Exec(`UPDATE ledger_servers SET generation = $2, claimed_generation = $2, claimed_order = $3, claimed_digest = $4,
		claimed_payload = $5, claimed_hold = $6, claimed_agent = $7, claimed_topic = $8, claimed_carriers = $9 WHERE server = $1`,
		server, d.Generation, d.Order.Generation, string(d.Digest), payload, number(d.Hold), m.agent, m.topicName, m.carriers)
	if err != nil {
		return Document{}, false, fmt.Errorf("claim the document of server %s: %w", server, err)
	}
	return d, true, nil
}

// claimRights are the rights of a document: every line ever assigned to the server, those of count 0 included.
func claimRights(b *booking, server string) ([]protocol.DesiredRight, error) {
	found, err := seatsOf(b.tx, server)
	if err != nil {
		return nil, err
	}
	rights := make([]protocol.DesiredRight, 0, len(found[server]))
	for _, before := range found[server] {
		rights = append(rights, protocol.DesiredRight{
			Ref: before.line, PartNumber: before.partNumber, Count: before.Ordered, ActivationID: before.activationID.Reveal(),
		})
		after := before
		after.Counts, after.claimed = before.claim(), before.Ordered
		b.putIfChanged(after, before)
	}
	return rights, nil
}

// carriersAllowed are the site's, in its order of preference; a server without a site has the direct one.
func (m member) carriersAllowed() ([]string, error) {
	if m.carriers == "" {
		return []string{protocol.CarrierDirect}, nil
	}
	var carriers []string
	if err := json.Unmarshal([]byte(m.carriers), &carriers); err != nil {
		return nil, fmt.Errorf("read the carriers of the site of server %s: %w", m.id, err)
	}
	return carriers, nil
}

// ClaimedDocuments are documents claimed before, in the order of their servers' IDs after the one given: a broker that kept
// nothing is given them again.
func ClaimedDocuments(tx *db.Tx, after string, limit int) ([]Document, error) {
	var documents []Document
	err := each(tx, `SELECT server, epoch, claimed_generation, claimed_order, claimed_digest, claimed_payload, claimed_hold,
		claimed_agent, claimed_topic, release_key FROM ledger_servers WHERE claimed_digest <> '' AND server > $1 ORDER BY server LIMIT $2`,
		[]any{after, limit}, func(scan func(...any) error) error {
			d := Document{Topic: protocol.Topic{Kind: protocol.KindDesired}}
			var hold int64
			var release string
			err := scan(&d.Server, &d.Order.Epoch, &d.Generation, &d.Order.Generation, &d.Digest, &d.Payload, &hold,
				&d.Topic.Agent, &d.Topic.Server, &release)
			d.Hold, d.Release = hold != 0, release != ""
			documents = append(documents, d)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read claimed documents: %w", err)
	}
	return documents, nil
}
