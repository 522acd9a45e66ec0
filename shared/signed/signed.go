// Package signed makes and checks signed documents: JWS (RFC 7515) in the flattened JSON form, EdDSA over Ed25519 and
// nothing else, over the exact bytes of the payload.
//
// The protected header names the key, the kind of the document and its audience. All three are checked before anybody
// parses the payload, so a document meant for one reader or one purpose is worth nothing to another.
package signed

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// Errors that a reader may want to tell apart. Each is wrapped with what was being read.
var (
	ErrTooLarge  = errors.New("document too large")
	ErrMalformed = errors.New("not a signed document")
	ErrKey       = errors.New("signed with an unknown key")
	ErrSignature = errors.New("signature does not fit")
	ErrAudience  = errors.New("document is for someone else")
	ErrKind      = errors.New("document is of another kind")
)

// Purpose says what a document is and for whom; both sides must name the same.
type Purpose struct {
	Kind     string // protected header "typ", for example "licet-response+jws"
	Audience string // protected header "aud", for example a host ID
}

const headerAudience = jose.HeaderKey("aud")

// Sign returns the payload signed by the key for the purpose. The payload's bytes are carried unchanged.
func (k Key) Sign(p Purpose, payload []byte) ([]byte, error) { return k.sign(p, payload, false) }

// SignSelf is Sign with the public key carried in the header, for a reader that meets the signer for the first time.
func (k Key) SignSelf(p Purpose, payload []byte) ([]byte, error) { return k.sign(p, payload, true) }

func (k Key) sign(p Purpose, payload []byte, embed bool) ([]byte, error) {
	options := (&jose.SignerOptions{EmbedJWK: embed}).WithType(jose.ContentType(p.Kind)).WithHeader(headerAudience, p.Audience)
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.EdDSA,
		Key:       jose.JSONWebKey{Key: k.private, KeyID: k.ID(), Algorithm: string(jose.EdDSA)},
	}, options)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", p.Kind, err)
	}
	document, err := signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", p.Kind, err)
	}
	return []byte(document.FullSerialize()), nil
}

// Verify returns the payload of a document of at most limit bytes that one of the keys signed for the purpose.
func (s KeySet) Verify(document []byte, p Purpose, limit int) ([]byte, error) {
	parsed, header, err := parse(document, p, limit)
	if err != nil {
		return nil, err
	}
	public, known := s[header.KeyID]
	if !known {
		return nil, fmt.Errorf("verify %s: %w (%s)", p.Kind, ErrKey, printable(header.KeyID))
	}
	return check(parsed, public, p)
}

// VerifySelf returns the payload of a document made by SignSelf and the key that it carries. Whether that key is to be
// trusted is the caller's question.
func VerifySelf(document []byte, p Purpose, limit int) ([]byte, ed25519.PublicKey, error) {
	parsed, header, err := parse(document, p, limit)
	if err != nil {
		return nil, nil, err
	}
	if header.JSONWebKey == nil {
		return nil, nil, fmt.Errorf("verify %s: %w: no key in the header", p.Kind, ErrKey)
	}
	public, ok := header.JSONWebKey.Key.(ed25519.PublicKey)
	if !ok {
		return nil, nil, fmt.Errorf("verify %s: %w: not an Ed25519 key", p.Kind, ErrKey)
	}
	payload, err := check(parsed, public, p)
	return payload, public, err
}

// parse reads the envelope and compares what the protected header promises; the payload is not looked at.
func parse(document []byte, p Purpose, limit int) (*jose.JSONWebSignature, jose.Header, error) {
	var none jose.Header
	if len(document) > limit {
		return nil, none, fmt.Errorf("verify %s: %w: %d bytes, at most %d", p.Kind, ErrTooLarge, len(document), limit)
	}
	parsed, err := jose.ParseSignedJSON(string(document), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, none, fmt.Errorf("verify %s: %w", p.Kind, ErrMalformed)
	}
	header := parsed.Signatures[0].Protected
	if kind, _ := header.ExtraHeaders[jose.HeaderType].(string); kind != p.Kind {
		return nil, none, fmt.Errorf("verify %s: %w (%s)", p.Kind, ErrKind, printable(kind))
	}
	if audience, _ := header.ExtraHeaders[headerAudience].(string); audience != p.Audience {
		return nil, none, fmt.Errorf("verify %s: %w", p.Kind, ErrAudience)
	}
	return parsed, header, nil
}

func check(parsed *jose.JSONWebSignature, public ed25519.PublicKey, p Purpose) ([]byte, error) {
	payload, err := parsed.Verify(public)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", p.Kind, ErrSignature)
	}
	return payload, nil
}

// printable keeps a stranger's text from flooding or forging a message.
func printable(text string) string { return fmt.Sprintf("%.64q", text) }
