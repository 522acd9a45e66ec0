package exchange

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/licet-project/licet/shared/signed"
)

// Signed kind, audience and media type of the answer to GET /v1/health.
const (
	HealthKind     = "licet-health+jws"
	HealthAudience = "anyone"
	SignedType     = "application/jose+json"
	MaxNonce       = 64 // bytes of the query's nonce
)

// Health is the activation server's signed time: the answer to GET /v1/health?nonce=...
type Health struct {
	V     int       `json:"v"`
	Nonce string    `json:"nonce,omitempty"` // the caller's own
	Time  time.Time `json:"time"`
}

// VerifyHealth returns the time that one of the keys signed for this nonce.
func VerifyHealth(keys signed.KeySet, nonce string, document []byte) (Health, error) {
	payload, err := keys.Verify(document, signed.Purpose{Kind: HealthKind, Audience: HealthAudience}, MaxMessage)
	if err != nil {
		return Health{}, fmt.Errorf("health: %w", err)
	}
	var h Health
	if err := json.Unmarshal(payload, &h); err != nil {
		return Health{}, fmt.Errorf("health: %w", err)
	}
	if h.V != 1 || h.Nonce != nonce || h.Time.IsZero() {
		return Health{}, fmt.Errorf("health: version, nonce or time does not fit")
	}
	return h, nil
}
