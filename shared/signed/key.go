package signed

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"

	"github.com/go-jose/go-jose/v4"
)

// Key signs. It prints as its key ID: the private half leaves only through WriteFile.
type Key struct{ private ed25519.PrivateKey }

// NewKey makes a key from the system's randomness.
func NewKey() (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	return Key{private}, nil
}

// ID names the key in headers and key sets.
func (k Key) ID() string { return KeyID(k.Public()) }

// Public is the half that others verify with.
func (k Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

func (k Key) String() string { return "key " + k.ID() }

// GoString keeps %#v from printing the private half.
func (k Key) GoString() string { return k.String() }

// KeyID is the first 16 characters of the base64url SHA-256 of the public key.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return base64.RawURLEncoding.EncodeToString(sum[:])[:16]
}

// WriteFile writes the private key as PKCS#8 PEM, mode 0600, and refuses to replace a file.
func (k Key) WriteFile(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return fmt.Errorf("encode a signing key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write a signing key: %w", err)
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write a signing key: %w", err)
	}
	return nil
}

// ReadKey reads what WriteFile wrote.
func ReadKey(path string) (Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("read a signing key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return Key{}, fmt.Errorf("read a signing key: %s holds no PEM block", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("read a signing key: %s: %w", path, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return Key{}, fmt.Errorf("read a signing key: %s holds another kind of key", path)
	}
	return Key{private}, nil
}

// OpenKey reads the key at path, or makes one there if there is no file.
func OpenKey(path string) (Key, error) {
	k, err := ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = NewKey(); err != nil {
		return Key{}, err
	}
	return k, k.WriteFile(path)
}

// KeySet is the public keys that a reader trusts, by key ID. Its JSON form is a JWK set (RFC 7517).
type KeySet map[string]ed25519.PublicKey

// NewKeySet is the set of the given keys.
func NewKeySet(keys ...ed25519.PublicKey) KeySet {
	s := make(KeySet, len(keys))
	for _, k := range keys {
		s[KeyID(k)] = k
	}
	return s
}

// MarshalJSON writes a JWK set, sorted by key ID.
func (s KeySet) MarshalJSON() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for id, public := range s {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: public, KeyID: id, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	sort.Slice(set.Keys, func(i, j int) bool { return set.Keys[i].KeyID < set.Keys[j].KeyID })
	return json.Marshal(set)
}

// UnmarshalJSON reads a JWK set. A key that is not Ed25519, or whose ID is not its own, is an error: a set that is
// half understood would silently trust less than its writer meant.
func (s *KeySet) UnmarshalJSON(data []byte) error {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(data, &set); err != nil {
		return fmt.Errorf("read a key set: %w", err)
	}
	result := make(KeySet, len(set.Keys))
	for i, k := range set.Keys {
		public, ok := k.Key.(ed25519.PublicKey)
		if !ok {
			return fmt.Errorf("read a key set: key %d is not an Ed25519 public key", i+1)
		}
		if k.KeyID != KeyID(public) {
			return fmt.Errorf("read a key set: key %d is named %s but is %s", i+1, printable(k.KeyID), KeyID(public))
		}
		result[k.KeyID] = public
	}
	if len(result) == 0 {
		return errors.New("read a key set: it holds no key")
	}
	*s = result
	return nil
}
