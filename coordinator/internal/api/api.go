// Package api is the REST API of the coordinator and its status page: one file per resource, every answer read from the
// database. It owns no state and starts no loop; a request's goroutine is net/http's, and event streams end with Stop.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/zerolog"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// HostStater says what the activation server thinks a host holds; *exchange.Client is one.
type HostStater interface {
	HostState(ctx context.Context, host string) (exchange.HostState, error)
}

// Options of New.
type Options struct {
	DB *db.DB // required

	// Ask wants fresh reports of an agent, and returns the nonce that they will carry. Nil: nobody is asked, and a check
	// judges by what was reported before.
	Ask func(ctx context.Context, agent string) (nonce string, err error)

	ActivationServer HostStater     // nil: a check compares without it
	Heartbeat        time.Duration  // how often an agent says that it lives; 0: 60 s
	Names            []string       // that it answers to on loopback, besides localhost and 127.0.0.1: those of a proxy
	Metrics          http.Handler   // served by Observe at /metrics; nil: not served
	Logger           zerolog.Logger // zero: no log
	Version          string         // of the coordinator
	MaxStreams       int            // event streams at a time; 0: 1,000
}

// API answers HTTP. Its handlers may be served by any number of listeners.
type API struct {
	o        Options
	rest     huma.API
	handler  http.Handler
	stopping chan struct{} // closed by Stop
	streams  chan struct{} // one element for each open event stream
	checking chan struct{} // one element while a check runs
	stop     sync.Once
}

// New builds the handlers; it opens nothing.
func New(o Options) (*API, error) {
	if o.DB == nil {
		return nil, errors.New("the API needs a database")
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = time.Minute
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = 1_000
	}
	a := &API{o: o, stopping: make(chan struct{}), streams: make(chan struct{}, o.MaxStreams), checking: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	a.rest = humago.New(mux, a.config())
	a.rest.UseMiddleware(deadline, a.mediaType)
	for _, register := range []func(){
		a.registerEntitlements, a.registerCatalog, a.registerSites, a.registerServers, a.registerInventory, a.registerAssignments,
		a.registerStatus, a.registerChecks, a.registerAudit, a.registerHealth, a.registerEvents,
	} {
		register()
	}
	if err := a.registerPage(mux); err != nil {
		return nil, err
	}
	if err := a.registerOpenAPI(mux); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	mux.HandleFunc("/", a.nothingHere)
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(a.otherOrigin))
	a.handler = a.guard(protection.Handler(mux))
	return a, nil
}

// Handler answers operators: the REST API and the status page.
func (a *API) Handler() http.Handler { return a.handler }

// Observe answers machines that watch the coordinator: /v1/health and /metrics. It is for a listener of its own.
func (a *API) Observe() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/health", a.handler)
	if a.o.Metrics != nil {
		mux.Handle("GET /metrics", a.o.Metrics)
	}
	return a.guard(mux)
}

// Server is an http.Server for Handler with the time-outs that it needs. Its Shutdown ends the event streams first.
func (a *API) Server() *http.Server {
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	server.RegisterOnShutdown(a.Stop)
	return server
}

// Stop ends the event streams, now and later; every other request runs to its end.
func (a *API) Stop() { a.stop.Do(func() { close(a.stopping) }) }
