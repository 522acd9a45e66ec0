package ledger

import (
	"encoding/json"
	"fmt"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Settled is what a report led to.
type Settled struct {
	Verdict Verdict
	Freed   int   // seats that are free now
	Epoch   int64 // the new one, if the report showed that this ledger was rolled back
}

// Settle takes in what an agent reports of a server. The receipt is the report's own, verified against the activation
// server's keys; nil if it has none or it did not verify: then nothing is proved. Only a receipt that fits in every respect
// (Judge) changes counts. A report of documents that this ledger never claimed begins a new epoch.
func Settle(tx *db.Tx, server string, report protocol.Report, receipt *exchange.Receipt) (Settled, error) {
	m, ok, err := knownMember(tx, server)
	if err != nil || !ok {
		return Settled{}, err
	}
	result := Settled{Verdict: Judge(m.standing(), report.Observed, receipt)}
	switch result.Verdict {
	case Ahead:
		above := report.Observed.Order.Epoch
		if receipt != nil {
			above = max(above, receipt.Order.Epoch)
		}
		result.Epoch, err = newEpoch(tx, audit.System, above, map[string]any{
			"reason": "a report is ahead of this ledger: it was restored or rolled back", "server": server, "accepted": report.Observed.Order.String(),
		})
		return result, err
	case Adopts:
		result.Freed, err = adopt(tx, m, *receipt, report.Observed.Receipt)
		if err != nil {
			return Settled{}, err
		}
		if m, _, err = knownMember(tx, server); err != nil {
			return Settled{}, err
		}
	}
	if m.stranded && m.releaseKey == "" && report.Facts.Unanswered == "" {
		if err := reappear(tx, server); err != nil {
			return Settled{}, err
		}
	}
	found, err := seatsOf(tx, server)
	if err != nil {
		return Settled{}, err
	}
	freed, proved, err := settleSeats(tx, m, found[server], evidence{report, receipt, result.Verdict})
	if err != nil {
		return Settled{}, err
	}
	result.Freed += freed
	if result.Verdict == Settles && len(proved) > 0 {
		err := audit.Record(tx, audit.Entry{Actor: audit.System, Action: "prove", Subject: server, Detail: map[string]any{
			"order": receipt.Order.String(), "sequence": receipt.Sequence, "lines": proved, "freed": freed,
		}})
		if err != nil {
			return Settled{}, err
		}
	}
	if err := noteReport(tx, m, unmanaged(found[server], report.Rights), evidence{report, receipt, result.Verdict}); err != nil {
		return Settled{}, err
	}
	return result, changed(tx, server)
}

// evidence is a report, its verified receipt (nil: none) and what they mean.
type evidence struct {
	report  protocol.Report
	receipt *exchange.Receipt
	verdict Verdict
}

// settleSeats brings every assignment of the server up to the report. It returns what was proved of each line whose counts
// changed.
func settleSeats(tx *db.Tx, m member, seats []seat, e evidence) (freed int, proved map[string]int, err error) {
	b := booking{tx: tx, mayOvercommit: true}
	proved = make(map[string]int)
	for _, before := range seats {
		after := before
		if e.verdict == Settles {
			held, pending := e.receipt.Count(before.right)
			after.Counts, after.provedOrder = before.settle(before.claimed, held, pending), e.receipt.Order
		}
		after.follow(e.report.Exchange, m.order())
		after.installed = installed(e.report.Rights, before.right)
		if b.putIfChanged(after, before) && after.Counts != before.Counts {
			freed += max(before.Held()-after.Held(), 0)
			proved[after.line] = after.Proved
		}
	}
	return freed, proved, b.close()
}

// follow notes whether this order's exchange refused the right. What is proved as ordered was not refused, whatever was said
// on the way.
func (s *seat) follow(e *protocol.Exchange, current exchange.Order) {
	if e != nil && e.Order == current {
		switch code, known := codeOf(e, s.line); {
		case known && code != "" && s.canFail():
			s.code, s.codeOrder = code, current
		case known && s.codeOrder == current:
			s.code, s.codeOrder = "", exchange.Order{}
		}
	}
	if s.provedOrder == current && s.Proved == s.Ordered && s.Exposed == s.Ordered && s.codeOrder == current {
		s.code, s.codeOrder = "", exchange.Order{}
	}
}

func installed(rights []protocol.HeldRight, right exchange.RightID) *int {
	count := 0
	for _, held := range rights {
		if held.Right == right {
			count = held.Count
		}
	}
	return &count
}

// noteReport keeps what phases and conditions are computed from, and the receipt as evidence if it settled.
func noteReport(tx *db.Tx, m member, unmanaged int, e evidence) error {
	text := ""
	if e.report.Exchange != nil {
		raw, err := json.Marshal(e.report.Exchange)
		if err != nil {
			return fmt.Errorf("keep the exchange of server %s: %w", m.id, err)
		}
		text = string(raw)
	}
	sequence := int64(0)
	if e.receipt != nil {
		sequence = e.receipt.Sequence
	}
	o := e.report.Observed
	_, err := tx.Exec(`UPDATE ledger_servers SET accepted_epoch = $2, accepted_generation = $3, accepted_digest = $4, in_flight = $5,
		exchange_settled = CASE WHEN $6 = 1 OR (exchange_settled = 1 AND exchange = $7) THEN 1 ELSE 0 END, exchange = $7, unmanaged = $8,
		reported_sequence = CASE WHEN $9 = 1 THEN $10 ELSE reported_sequence END,
		server_sequence = CASE WHEN server_sequence < $10 THEN $10 ELSE server_sequence END WHERE server = $1`,
		m.id, o.Order.Epoch, o.Generation, string(o.Digest), number(o.InFlight), number(e.verdict == Settles), text, unmanaged,
		number(e.receipt != nil || len(o.Receipt) == 0), sequence)
	if err == nil && e.verdict == Settles {
		err = keepReceipt(tx, m.id, *e.receipt, o.Receipt)
	}
	if err != nil {
		return fmt.Errorf("keep what was reported of server %s: %w", m.id, err)
	}
	return nil
}

// keepReceipt keeps the newest receipt that counted, as it was signed, and the host's sequence.
func keepReceipt(tx *db.Tx, server string, receipt exchange.Receipt, signed []byte) error {
	_, err := tx.Exec(`UPDATE ledger_servers SET sequence = $2, receipt = $3, receipt_epoch = $4, receipt_generation = $5, settled_at = $6 WHERE server = $1`,
		server, receipt.Sequence, signed, receipt.Order.Epoch, receipt.Order.Generation, db.Millis(tx.Now()))
	return err
}

// unmanaged counts the rights with seats in a server's store that are in no assignment of it.
func unmanaged(seats []seat, rights []protocol.HeldRight) int {
	known := make(map[exchange.RightID]bool, len(seats))
	for _, s := range seats {
		known[s.right] = true
	}
	count := 0
	for _, right := range rights {
		count += b2i(right.Count > 0 && !known[right.Right])
	}
	return count
}
