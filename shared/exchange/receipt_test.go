package exchange

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/signed"
)

func signReceipt(t testing.TB, key signed.Key, host string, content any) []byte {
	payload, err := json.Marshal(content)
	require.NoError(t, err)
	document, err := key.Sign(signed.Purpose{Kind: ReceiptKind, Audience: host}, payload)
	require.NoError(t, err)
	return document
}

func TestVerifyReceipt(t *testing.T) {
	key, err := signed.NewKey()
	require.NoError(t, err)
	keys := signed.NewKeySet(key.Public())
	a, b := ActivationID("A").RightID(), ActivationID("B").RightID()
	good := Receipt{
		V: 1, For: DigestOf(nil), Host: "host-1", Order: Order{1, 2}, Sequence: 7, IssuedAt: time.Unix(1_800_000_000, 0).UTC(),
		Rights: []ReceiptRight{{Right: a, Count: 3, Pending: 1}},
	}
	got, err := VerifyReceipt(keys, "host-1", signReceipt(t, key, "host-1", good))
	require.NoError(t, err)
	require.Equal(t, good, got)
	count := func(id RightID) []int {
		held, pending := got.Count(id)
		return []int{held, pending}
	}
	require.Equal(t, []int{3, 1}, count(a))
	require.Equal(t, []int{0, 0}, count(b), "what is not named is not held")

	for name, change := range map[string]func(*Receipt){
		"another version":      func(r *Receipt) { r.V = 2 },
		"another host":         func(r *Receipt) { r.Host = "host-2" },
		"no sequence":          func(r *Receipt) { r.Sequence = 0 },
		"a negative count":     func(r *Receipt) { r.Rights[0].Count = -1 },
		"negative pending":     func(r *Receipt) { r.Rights[0].Pending = -1 },
		"an enormous count":    func(r *Receipt) { r.Rights[0].Count = MaxCount + 1 },
		"enormous pending":     func(r *Receipt) { r.Rights[0].Pending = MaxCount + 1 },
		"a right named twice":  func(r *Receipt) { r.Rights = append(r.Rights, ReceiptRight{Right: a}) },
		"a right named thrice": func(r *Receipt) { r.Rights = []ReceiptRight{{Right: a}, {Right: b}, {Right: a, Count: 9}} },
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.Rights = append([]ReceiptRight{}, good.Rights...)
			change(&bad)
			got, err := VerifyReceipt(keys, "host-1", signReceipt(t, key, "host-1", bad))
			require.Error(t, err)
			require.Zero(t, got)
		})
	}
	_, err = VerifyReceipt(keys, "host-1", signReceipt(t, key, "host-1", "text"))
	require.Error(t, err)
	_, err = VerifyReceipt(keys, "host-2", signReceipt(t, key, "host-1", good))
	require.ErrorIs(t, err, signed.ErrAudience)
	_, err = VerifyReceipt(keys, "host-1", []byte(strings.Repeat("x", MaxMessage+1)))
	require.ErrorIs(t, err, signed.ErrTooLarge)
}
