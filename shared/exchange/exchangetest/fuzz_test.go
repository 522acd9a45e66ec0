package exchangetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// FuzzProcess sends hostile bytes twice: as they are, and as a payload that a stranger has signed. The server answers or
// refuses, the same both times, and never gives out more than there is.
func FuzzProcess(f *testing.F) {
	key, err := signed.NewKey()
	require.NoError(f, err)
	host := &Host{Host: exchange.Host{ID: "DEMO-host-1"}, key: key}
	seed := func(r exchange.Request) {
		r.V, r.ID, r.Host = 1, "c", host.Host
		payload, err := json.Marshal(r)
		require.NoError(f, err)
		f.Add(payload)
		f.Add(must(host.write(r)))
	}
	seed(exchange.Request{Operation: exchange.OperationRequest, Order: order(1), Rights: []exchange.WireRight{{ActivationID: snmp, Count: 3}}})
	seed(exchange.Request{Operation: exchange.OperationReport, Order: order(1)})
	seed(exchange.Request{Operation: exchange.OperationConfirm, Confirms: exchange.DigestOf(nil), Confirmed: 1})
	f.Add([]byte(`{"v":1,"id":"x","operation":"request","host":{"id":"h"},"rights":[{"activation_id":"` + snmp + `","count":1e9}]}`))
	f.Add([]byte(`{"payload":"","protected":"","signature":""}`))
	f.Add([]byte(`{"v":1,"id":"` + "\x00" + `","host":{"id":"` + "\u202e" + `"}}`))

	o := Options{Orders: SampleOrders(time.Now()), Catalog: SampleCatalog()}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := New(o) // a new one each time: what an input reaches must not depend on those before
		require.NoError(t, err)
		wrapped, err := key.SignSelf(signed.Purpose{Kind: exchange.RequestKind, Audience: exchange.RequestAudience}, data)
		require.NoError(t, err)
		for _, message := range [][]byte{data, wrapped} {
			answer, err := s.Process(message)
			again, errAgain := s.Process(message)
			require.Equal(t, answer, again)
			require.Equal(t, err, errAgain)
			require.NotEqual(t, err == nil, answer == nil)
		}
		for id, line := range s.lines {
			taken, sold := s.Consumed(id)
			require.True(t, taken >= 0 && taken <= sold && sold == line.Count)
		}
	})
}
