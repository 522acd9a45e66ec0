// Package exchange is what Licet knows of the activation exchange with a License Activation Server: orders, rights,
// digests, refusal codes, signed receipts and the client of two endpoints that every carrier answers alike.
//
// Requests, responses and confirmations are opaque bytes to Licet, matched by digest. The reference format that the
// simulated BMS server and the simulated License Activation Server speak is in reference.go; no other package of Licet
// may look inside those bytes.
package exchange

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Digest is the SHA-256 of exact bytes, in lower-case hexadecimal.
type Digest string

// DigestOf is the digest of the bytes as they are.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(hex.EncodeToString(sum[:]))
}

// ParseDigest reads a digest that a stranger wrote.
func ParseDigest(text string) (Digest, error) {
	if raw, err := hex.DecodeString(text); err != nil || len(raw) != sha256.Size || strings.ToLower(text) != text {
		return "", errors.New("a digest is 64 lower-case hexadecimal digits")
	}
	return Digest(text), nil
}

// Short is enough of a digest for a person to compare.
func (d Digest) Short() string { return string(d[:min(len(d), 12)]) }

// Order is what a request serves: the license list of a server as the coordinator last changed it. An epoch is a time in
// seconds since 1970, raised by a restore; the generation grows within an epoch. The zero order comes before every other.
type Order struct {
	Epoch      int64 `json:"epoch"`
	Generation int64 `json:"generation"`
}

// Compare is -1, 0 or +1 as o comes before, is, or comes after other.
func (o Order) Compare(other Order) int {
	return cmp.Or(cmp.Compare(o.Epoch, other.Epoch), cmp.Compare(o.Generation, other.Generation))
}

// Before reports whether o comes before other.
func (o Order) Before(other Order) bool { return o.Compare(other) < 0 }

func (o Order) String() string { return fmt.Sprintf("%d.%d", o.Epoch, o.Generation) }

// ActivationID is a bearer right: who knows it can take its seats. It prints masked and refuses to be marshaled; what
// must carry it says so by calling Reveal. Never marshal a map with these as keys: encoding/json asks no string kind there.
type ActivationID string

// Reveal is the ID in clear.
func (id ActivationID) Reveal() string { return string(id) }

// RightID names the right of this activation ID without disclosing it.
func (id ActivationID) RightID() RightID { return RightID(DigestOf([]byte(id))) }

// String shows the last four characters at most, and never more than a third.
func (id ActivationID) String() string {
	characters := []rune(string(id))
	visible := min(4, len(characters)/3)
	return "****" + string(characters[len(characters)-visible:])
}

// Format masks the ID under every verb, %x and %q among them.
func (id ActivationID) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(id.String())) }

// MarshalText refuses: a secret is never written by accident.
func (id ActivationID) MarshalText() ([]byte, error) {
	return nil, errors.New("an activation ID is a secret and is not marshaled: use Reveal where it must travel")
}

// RightID is the digest of an activation ID: what receipts and reports name a right by.
type RightID Digest

// Right is what a server should hold of one activation ID: an absolute count, 0 to hold none.
type Right struct {
	ActivationID ActivationID
	Count        int
}

// Limits of the exchange, checked before anything is parsed.
const (
	MaxMessage        = 256 << 10 // bytes of a request, response, confirmation or receipt
	MaxActivationID   = 255       // characters, FlexNet Operations' EntitlementOrderService
	MaxCount          = 1_000_000_000
	ForbiddenInRights = ",\"&%^()#@!~/<>`{}=|." // FlexNet Operations' EntitlementOrderService
)

// CheckActivationID says what is wrong with an activation ID that a stranger wrote, or nil. The message does not contain it.
func CheckActivationID(id ActivationID) error {
	switch n := len([]rune(string(id))); {
	case n == 0:
		return errors.New("the activation ID is empty")
	case n > MaxActivationID:
		return fmt.Errorf("the activation ID has %d characters, at most %d are allowed", n, MaxActivationID)
	case !utf8.ValidString(string(id)):
		return errors.New("the activation ID is not UTF-8")
	}
	for position, r := range []rune(string(id)) {
		if !printable(r) {
			return fmt.Errorf("character %d of the activation ID is a control or invisible character (%U)", position+1, r)
		}
		if strings.ContainsRune(ForbiddenInRights, r) {
			return fmt.Errorf("character %d of the activation ID is %q, which an activation ID cannot contain", position+1, r)
		}
	}
	return nil
}
