package ledger

import (
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Claimed is the document of a server that was last claimed for publication in the current epoch. The zero value means none.
type Claimed struct {
	Order      exchange.Order
	Generation int64 // of the document
	Digest     exchange.Digest
	Hold       bool
}

// Standing is what the ledger knows of a server when a report arrives.
type Standing struct {
	Epoch    int64
	Adopting bool
	Claimed  Claimed
	Sequence int64 // the highest of any receipt of this server
}

// Verdict is what a report means for the counts.
type Verdict int

// The verdicts.
const (
	Waits   Verdict = iota // nothing is proved
	Settles                // the receipt proves what the document last claimed has led to
	Adopts                 // the receipt proves what an adopting server holds
	Ahead                  // the agent knows documents that this ledger does not: it was rolled back
)

// maxEpoch is far beyond any clock: an epoch above it is nonsense, and following it would leave no room above.
const maxEpoch = 1 << 40

// Judge decides what a report and its verified receipt (nil if there is none, or it did not verify) mean. A receipt proves
// something only if it was made under the order of the document last claimed, if the agent has accepted the very bytes of
// that document, if no exchange is in flight, and if the host's sequence has not gone back.
func Judge(s Standing, o protocol.Observed, receipt *exchange.Receipt) Verdict {
	if s.behind(o, receipt) {
		return Ahead
	}
	if receipt == nil || o.InFlight || s.Claimed.Digest == "" || o.Digest != s.Claimed.Digest || receipt.Order != s.Claimed.Order {
		return Waits
	}
	switch {
	case s.Adopting && s.Claimed.Hold:
		return Adopts // no comparison of sequences: the epoch is new, so the receipt is
	case s.Adopting || s.Claimed.Hold || receipt.Sequence < s.Sequence:
		return Waits
	}
	return Settles
}

// behind reports whether the agent has accepted, or the activation server has seen, what this ledger never claimed.
func (s Standing) behind(o protocol.Observed, receipt *exchange.Receipt) bool {
	if receipt != nil && receipt.Order.Epoch <= maxEpoch && s.lastOrder().Before(receipt.Order) {
		return true
	}
	if o.Digest == "" || o.Order.Epoch > maxEpoch {
		return false // never accepted one, or nonsense
	}
	if o.Order.Epoch != s.Epoch {
		return o.Order.Epoch > s.Epoch
	}
	return s.Claimed.Digest == "" || o.Generation > s.Claimed.Generation ||
		o.Generation == s.Claimed.Generation && o.Digest != s.Claimed.Digest
}

// lastOrder is the highest order that this ledger can have given: before anything is claimed, that of a fence.
func (s Standing) lastOrder() exchange.Order {
	if s.Claimed.Digest == "" {
		return exchange.Order{Epoch: s.Epoch}
	}
	return s.Claimed.Order
}
