package exchange

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/licet-project/licet/shared/signed"
)

// ReceiptKind is the signed kind of a receipt; its audience is the host ID.
const ReceiptKind = "licet-receipt+jws"

// Receipt is the activation server's signed word on what a host holds: the answer to a confirmation, a release or a fence.
// It names rights by digest, so it can travel where an activation ID must not. Confirmations cover every removal up to
// their sequence; a release with take true leaves nothing.
type Receipt struct {
	V        int            `json:"v"`
	For      Digest         `json:"for"`      // digest of the confirmation, or of the release's key
	Host     string         `json:"host"`     // host ID
	Order    Order          `json:"order"`    // of the request that was confirmed, or of the release
	Sequence int64          `json:"sequence"` // the host's, as of this receipt
	Rights   []ReceiptRight `json:"rights"`   // the complete set: what is not named is not held
	IssuedAt time.Time      `json:"issued_at"`
}

// ReceiptRight is one right of a host. Pending are seats whose removal is not confirmed yet: still taken.
type ReceiptRight struct {
	Right   RightID `json:"right"`
	Count   int     `json:"count"`
	Pending int     `json:"pending,omitempty"`
}

// Count is how many seats of the right the host holds by this receipt, and how many more wait for a confirmation.
func (r Receipt) Count(id RightID) (held, pending int) {
	for _, right := range r.Rights {
		if right.Right == id {
			return right.Count, right.Pending
		}
	}
	return 0, 0
}

// VerifyReceipt returns the receipt that one of the keys signed for the host.
func VerifyReceipt(keys signed.KeySet, host string, document []byte) (Receipt, error) {
	payload, err := keys.Verify(document, signed.Purpose{Kind: ReceiptKind, Audience: host}, MaxMessage)
	if err != nil {
		return Receipt{}, fmt.Errorf("receipt of %s: %w", host, err)
	}
	var r Receipt
	if err := json.Unmarshal(payload, &r); err != nil {
		return Receipt{}, fmt.Errorf("receipt of %s: %w", host, err)
	}
	seen := make(map[RightID]bool, len(r.Rights))
	for _, right := range r.Rights {
		if right.Count < 0 || right.Pending < 0 || right.Count > MaxCount || right.Pending > MaxCount || seen[right.Right] {
			return Receipt{}, fmt.Errorf("receipt of %s: impossible count or a right named twice", host)
		}
		seen[right.Right] = true
	}
	if r.V != 1 || r.Host != host || r.Sequence < 1 {
		return Receipt{}, fmt.Errorf("receipt of %s: version, host or sequence does not fit", host)
	}
	return r, nil
}
