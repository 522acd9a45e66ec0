package exchangetest

import (
	"context"
	"net/http"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Direct is a Server with the methods of exchange.Client and no network in between: for tests under testing/synctest.
type Direct struct{ Server *Server }

// Direct is the server as a client sees it.
func (s *Server) Direct() Direct { return Direct{s} }

// Post is exchange.Client.Post.
func (d Direct) Post(ctx context.Context, message []byte) ([]byte, error) {
	return result(d.Server.post(ctx, message))
}

// Fetch is exchange.Client.Fetch.
func (d Direct) Fetch(_ context.Context, message exchange.Digest) ([]byte, error) {
	return result(d.Server.fetch(message))
}

// Release is exchange.Client.Release.
func (d Direct) Release(ctx context.Context, host string, r exchange.Release) ([]byte, error) {
	return result(d.Server.postRelease(ctx, host, r))
}

// HostState is exchange.Client.HostState.
func (d Direct) HostState(_ context.Context, host string) (exchange.HostState, error) {
	state, known := d.Server.Host(host)
	if !known {
		return exchange.HostState{Host: host}, nil
	}
	return state, nil
}

// Keys is exchange.Client.Keys.
func (d Direct) Keys(context.Context) (signed.KeySet, error) { return d.Server.Keys(), nil }

var _ http.Handler = (*Server)(nil)
