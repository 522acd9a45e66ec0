package bmstest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/durable/durabletest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// FuzzApplyResponse lets anything arrive as a response. Half of what the fuzzer makes is signed as the activation server
// would sign it, so that what lies behind the signature is reached too. Either it is refused and nothing changed, or the
// store is exactly what it says. Messages are random, so coverage is too: fuzz with -fuzzminimizetime=20x, or the fuzzer
// spends its time on minimizing.
func FuzzApplyResponse(f *testing.F) {
	b := newBench(f, func(o *Options) { o.Disk = &durabletest.Disk{} })
	b.apply(b.answer(b.request(right("A", 1))))
	image, err := b.Image(field)
	require.NoError(f, err)
	response := b.answer(b.request(right("A", 2)), func(r *exchange.Response) { r.Request = "REQUEST" })
	payload, err := b.issuer.keys().Verify(response, responsePurpose, exchange.MaxMessage)
	require.NoError(f, err)
	f.Add(response, false)
	f.Add(payload, true)
	f.Add([]byte(`{"v":1,"request":"REQUEST","host":"FIELD-1","sequence":9,"not_after":"2027-01-01T00:00:00Z",`+
		`"rights":[{"activation_id":"B","count":0},{"activation_id":"A","count":3}],`+
		`"licenses":[{"activation_id":"A","feature":"f","scope":"server","count":1,"start":"2026-01-01T00:00:00Z"}]}`), true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		b.t = t
		require.NoError(t, b.Restore(image))
		request := b.request(right("A", 2))
		document := data
		if sign {
			data = bytes.ReplaceAll(data, []byte("REQUEST"), []byte(exchange.DigestOf(request)))
			var err error
			document, err = b.issuer.key.Sign(responsePurpose, data)
			require.NoError(t, err)
		}
		before := b.onDisk()
		confirmation, err := b.ApplyResponse(t.Context(), field, document)
		after := b.onDisk()
		if err != nil {
			var refusal *exchange.Refusal
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, refusal.Code, refusal.Code.Known())
			require.Equal(t, before, after)
			return
		}
		said, err := decodeResponse(data)
		require.NoError(t, err)
		require.Equal(t, exchange.DigestOf(request), said.Request)
		require.Greater(t, said.Sequence, before.Sequence)
		require.Equal(t, said.Sequence, after.Sequence)
		require.Equal(t, said.Rights, after.Rights)
		require.Equal(t, confirmation, b.apply(document))
		_, err = b.Servers(t.Context())
		require.NoError(t, err)
	})
}

var responsePurpose = signed.Purpose{Kind: exchange.ResponseKind, Audience: string(field)}
