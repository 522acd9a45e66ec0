// Package apitest is what lies beyond a coordinator, for tests of its border: agents with their servers, and an activation
// server, over real rooms and a real database but without a wire. What is ordered is exchanged at once; nothing is signed.
package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Field is agents, servers and an activation server. Its methods may be called from any number of goroutines.
type Field struct {
	d *db.DB

	mu       sync.Mutex
	hosts    map[string]*host         // by host ID
	refuses  map[string]exchange.Code // by part number
	absent   map[string]bool          // agents that say nothing, by site
	away     error                    // why the activation server does not answer
	sequence int64                    // of what agents say
	nonces   int
}

// host is a server as it is, and as the activation server believes it to be.
type host struct {
	store    map[exchange.ActivationID]int
	believed map[exchange.ActivationID]int
	parts    map[exchange.ActivationID]string
	sequence int64
	observed protocol.Observed
	exchange *protocol.Exchange
	receipt  *exchange.Receipt
}

// New is a field in which every server that the inventory lists with a host ID exists and holds nothing.
func New(d *db.DB) *Field {
	return &Field{d: d, hosts: map[string]*host{}, refuses: map[string]exchange.Code{}, absent: map[string]bool{}}
}

// Refuse makes the activation server refuse every raise of the product from now on; an empty code ends it.
func (f *Field) Refuse(partNumber string, code exchange.Code) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses[partNumber] = code
}

// Absent makes the agents of a site say nothing and do nothing, or come back.
func (f *Field) Absent(site string, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.absent[site] = is
}

// Away makes the activation server unreachable for the coordinator; nil ends it.
func (f *Field) Away(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = err
}

// Lose takes everything out of the store of a host, behind the back of everybody.
func (f *Field) Lose(hostID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.host(hostID).store)
}

// HostState is what the activation server believes.
func (f *Field) HostState(_ context.Context, hostID string) (exchange.HostState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		return exchange.HostState{}, f.away
	}
	state := exchange.HostState{Host: hostID}
	for id, count := range f.host(hostID).believed {
		state.Rights = append(state.Rights, exchange.HostRight{ActivationID: id.Reveal(), Count: count})
	}
	return state, nil
}

// Ask has every server of the agent reported anew, before it returns.
func (f *Field) Ask(ctx context.Context, agent string) (string, error) {
	f.mu.Lock()
	f.nonces++
	nonce := fmt.Sprintf("nonce-%d", f.nonces)
	f.mu.Unlock()
	return nonce, f.Answer(ctx, agent, nonce)
}

// Answer has every server of the agent reported anew, in answer to a question.
func (f *Field) Answer(ctx context.Context, agent, nonce string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	servers, err := f.servers(ctx)
	if err != nil {
		return err
	}
	for _, server := range servers {
		if agentOf(server) == agent && !f.absent[server.Site] {
			if err := f.tell(ctx, server, nonce); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run does what there is to do, woken by the change feed, until ctx ends. It returns nil then.
func (f *Field) Run(ctx context.Context) error {
	wake, forget := f.d.Wake()
	defer forget()
	for {
		if err := f.Step(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// Step does everything that there is to do: servers that were never heard report, adopting ones are adopted, and what is
// ordered is exchanged and reported.
func (f *Field) Step(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	servers, err := f.servers(ctx)
	if err != nil {
		return err
	}
	for _, server := range servers {
		if server.LastSeen.IsZero() && !f.absent[server.Site] {
			if err := f.tell(ctx, server, ""); err != nil {
				return err
			}
		}
	}
	if err := f.adopt(ctx); err != nil {
		return err
	}
	for _, server := range servers {
		if f.absent[server.Site] {
			continue
		}
		if err := f.serve(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

// adopt answers for the activation server; while it is away, nobody is adopted.
func (f *Field) adopt(ctx context.Context) error {
	if f.away != nil {
		return nil
	}
	var waiting []ledger.Adoption
	err := f.d.View(ctx, func(tx *db.Tx) (err error) {
		waiting, err = ledger.Adopting(tx)
		return err
	})
	for _, a := range waiting {
		h := f.host(a.HostID)
		receipt := h.signs(a.HostID, a.Order(), exchange.DigestOf([]byte(a.Key())))
		err = f.d.Update(ctx, func(tx *db.Tx) error {
			_, err := ledger.Adopt(tx, a.Server, receipt, []byte("signed"))
			return err
		})
		if err != nil {
			return fmt.Errorf("adopt %s: %w", a.HostID, err)
		}
	}
	return err
}

// serve exchanges the server's next document, if there is one.
func (f *Field) serve(ctx context.Context, server fleet.Server) error {
	var document ledger.Document
	var claimed bool
	err := f.d.Update(ctx, func(tx *db.Tx) (err error) {
		document, claimed, err = ledger.Claim(tx, server.ID)
		return err
	})
	if err != nil || !claimed {
		return err
	}
	desired, err := protocol.Decode[protocol.Desired](document.Payload)
	if err != nil {
		return err
	}
	h := f.host(server.HostID)
	h.observed = protocol.Observed{Order: desired.Order, Generation: desired.Generation, Digest: document.Digest}
	h.exchange = &protocol.Exchange{Digest: document.Digest, Operation: exchange.OperationRequest, Order: desired.Order, Step: protocol.StepConfirmed}
	for _, right := range desired.Rights {
		id := exchange.ActivationID(right.ActivationID)
		step := protocol.ExchangeRight{Ref: right.Ref, Count: right.Count}
		if code := f.refuses[right.PartNumber]; code != "" && right.Count > h.store[id] {
			step.Code = code
		} else {
			h.store[id], h.believed[id], h.parts[id] = right.Count, right.Count, right.PartNumber
		}
		h.exchange.Rights = append(h.exchange.Rights, step)
	}
	receipt := h.signs(server.HostID, desired.Order, document.Digest)
	h.receipt = &receipt
	return f.tell(ctx, server, "")
}

// tell reports a server as its agent would, and takes the report in as the coordinator does.
func (f *Field) tell(ctx context.Context, server fleet.Server, asked string) error {
	f.sequence++
	session := protocol.Session{Boot: "boot", Connection: 1, Sequence: 2 * f.sequence}
	h := f.host(server.HostID)
	return f.d.Update(ctx, func(tx *db.Tx) error {
		agents, err := fleet.Agents(tx)
		if err != nil {
			return err
		}
		if _, known := agents[agentOf(server)]; !known {
			online := protocol.Presence{V: 1, Agent: agentOf(server), Session: session, State: protocol.Online, At: tx.Now(), Version: "test"}
			if _, err := fleet.HearPresence(tx, online); err != nil {
				return err
			}
		}
		report := protocol.Report{
			Observed: h.observed, Exchange: h.exchange, Rights: []protocol.HeldRight{}, Licenses: []protocol.License{},
			Facts: protocol.Facts{
				HostID: server.HostID, HostIDType: server.HostIDType, Name: server.Name, Type: server.Type, Version: server.Version,
				Role: server.Role, System: "local", Abilities: []string{protocol.AbilityPartialReturn, protocol.AbilityConfirmation},
			},
		}
		for id, count := range h.store {
			if count == 0 {
				continue
			}
			report.Rights = append(report.Rights, protocol.HeldRight{Right: id.RightID(), Count: count})
			product, _, err := catalog.Get(tx, h.parts[id])
			if err != nil {
				return err
			}
			for _, feature := range product.Features {
				report.Licenses = append(report.Licenses, protocol.License{
					Feature: feature.Name, Required: 1, Used: min(1, count), Available: max(count*feature.Count-1, 0), Activated: count * feature.Count, Source: "own",
				})
			}
		}
		raw, err := json.Marshal(report)
		if err != nil {
			return err
		}
		session.Sequence++
		if err := fleet.Hear(tx, agentOf(server), session); err != nil {
			return err
		}
		said := protocol.Reported{
			V: 1, Agent: agentOf(server), Server: server.TopicName, Session: session, At: tx.Now(), Asked: asked, Report: raw,
		}
		if _, err := fleet.Apply(tx, said, report); err != nil {
			return err
		}
		if _, err := ledger.EnsureServers(tx, server.ID); err != nil {
			return err
		}
		_, err = ledger.Settle(tx, server.ID, report, h.receipt)
		return err
	})
}

// servers are those that exist: a server without a host ID is on paper alone.
func (f *Field) servers(ctx context.Context) ([]fleet.Server, error) {
	var existing []fleet.Server
	err := f.d.View(ctx, func(tx *db.Tx) error {
		all, err := fleet.Select(tx, fleet.Selector{})
		existing = nil
		for _, server := range all {
			if server.HostID != "" {
				existing = append(existing, server)
			}
		}
		return err
	})
	return existing, err
}

func (f *Field) host(hostID string) *host {
	if f.hosts[hostID] == nil {
		f.hosts[hostID] = &host{
			store: map[exchange.ActivationID]int{}, believed: map[exchange.ActivationID]int{}, parts: map[exchange.ActivationID]string{},
		}
	}
	return f.hosts[hostID]
}

// signs is the activation server's word on what the host holds.
func (h *host) signs(hostID string, order exchange.Order, of exchange.Digest) exchange.Receipt {
	h.sequence++
	receipt := exchange.Receipt{V: 1, For: of, Host: hostID, Order: order, Sequence: h.sequence}
	for id, count := range h.believed {
		receipt.Rights = append(receipt.Rights, exchange.ReceiptRight{Right: id.RightID(), Count: count})
	}
	return receipt
}

// agentOf is who looks after the server: one agent for each site, unless the inventory names another.
func agentOf(server fleet.Server) string {
	if server.Agent != "" {
		return server.Agent
	}
	return "agent-" + server.Site
}
