package signed

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var purpose = Purpose{Kind: "licet-test+jws", Audience: "host-1"}

func newKey(t testing.TB) Key {
	k, err := NewKey()
	require.NoError(t, err)
	return k
}

func TestVerifyReturnsTheExactBytes(t *testing.T) {
	k := newKey(t)
	payload := []byte("{ \"a\" :1}\n")
	document, err := k.Sign(purpose, payload)
	require.NoError(t, err)

	got, err := NewKeySet(k.Public()).Verify(document, purpose, len(document))
	require.NoError(t, err)
	require.Equal(t, payload, got)
}

func TestVerifyRefuses(t *testing.T) {
	k, stranger := newKey(t), newKey(t)
	keys := NewKeySet(k.Public())
	document, err := k.Sign(purpose, []byte(`{"a":1}`))
	require.NoError(t, err)
	foreign, err := stranger.Sign(purpose, []byte(`{"a":1}`))
	require.NoError(t, err)

	var envelope map[string]string
	require.NoError(t, json.Unmarshal(document, &envelope))
	envelope["payload"] = "eyJhIjoyfQ"
	altered, err := json.Marshal(envelope)
	require.NoError(t, err)

	none := `{"payload":"eyJhIjoxfQ","protected":"eyJhbGciOiJub25lIn0","signature":""}`
	for name, c := range map[string]struct {
		document []byte
		purpose  Purpose
		limit    int
		want     error
	}{
		"too large":        {document, purpose, len(document) - 1, ErrTooLarge},
		"unknown key":      {foreign, purpose, 4096, ErrKey},
		"altered payload":  {altered, purpose, 4096, ErrSignature},
		"another audience": {document, Purpose{purpose.Kind, "host-2"}, 4096, ErrAudience},
		"another kind":     {document, Purpose{"licet-other+jws", purpose.Audience}, 4096, ErrKind},
		"no algorithm":     {[]byte(none), purpose, 4096, ErrMalformed},
		"not JSON":         {[]byte("hello"), purpose, 4096, ErrMalformed},
		"empty":            {nil, purpose, 4096, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := keys.Verify(c.document, c.purpose, c.limit)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, payload)
		})
	}
}

func TestVerifySelfReturnsTheCarriedKey(t *testing.T) {
	k := newKey(t)
	document, err := k.SignSelf(purpose, []byte("x"))
	require.NoError(t, err)
	payload, public, err := VerifySelf(document, purpose, 4096)
	require.NoError(t, err)
	require.Equal(t, "x", string(payload))
	require.Equal(t, k.Public(), public)

	without, err := k.Sign(purpose, []byte("x"))
	require.NoError(t, err)
	_, _, err = VerifySelf(without, purpose, 4096)
	require.ErrorIs(t, err, ErrKey)
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.key")
	made, err := OpenKey(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	read, err := OpenKey(path)
	require.NoError(t, err)
	require.Equal(t, made.ID(), read.ID())
	require.Error(t, made.WriteFile(path), "a key is never replaced in place")
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "key "+made.ID(), fmt.Sprintf(format, made))
	}
}

func TestKeySetJSON(t *testing.T) {
	a, b := newKey(t), newKey(t)
	data, err := json.Marshal(NewKeySet(a.Public(), b.Public()))
	require.NoError(t, err)
	var got KeySet
	require.NoError(t, json.Unmarshal(data, &got))
	require.Equal(t, NewKeySet(a.Public(), b.Public()), got)

	require.Error(t, json.Unmarshal([]byte(`{"keys":[]}`), &got))
	renamed := strings.Replace(string(data), a.ID(), strings.Repeat("x", 16), 1)
	require.ErrorContains(t, json.Unmarshal([]byte(renamed), &got), "is named")
}

func BenchmarkSignedVerify(b *testing.B) {
	k := newKey(b)
	document, err := k.Sign(purpose, make([]byte, 600))
	require.NoError(b, err)
	keys := NewKeySet(k.Public())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Verify(document, purpose, 1<<16); err != nil {
			b.Fatal(err)
		}
	}
}
