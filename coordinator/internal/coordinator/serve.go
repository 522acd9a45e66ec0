package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/licet-project/licet/coordinator/internal/api"
	"github.com/licet-project/licet/coordinator/internal/broker"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/dispatch"
	"github.com/licet-project/licet/coordinator/internal/ingest"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// parts are what everything is wired from.
type parts struct {
	o          Options
	db         *db.DB
	keys       signed.KeySet
	activation *exchange.Client // nil: none
	registry   *prometheus.Registry
}

// stopTime is how long requests may take to end once the coordinator stops.
const stopTime = 5 * time.Second

// serve binds every address, wires the rooms, and works until ctx ends or one of them fails.
func (p parts) serve(ctx context.Context) error {
	operators, err := listen(ctx, "--http", p.o.HTTP)
	if err != nil {
		return err
	}
	defer func() { _ = operators.Close() }() // again after Serve: no harm
	watchers, err := listen(ctx, "--metrics", p.o.Metrics)
	if err != nil {
		return err
	}
	defer func() { _ = watchers.Close() }()

	var director *dispatch.Dispatch // made last: it speaks through the broker, which speaks to ingest, which asks it
	in, err := ingest.New(ingest.Options{
		DB: p.db, Keys: p.keys, Metrics: p.registry, Logger: p.o.Logger,
		Ask: func(agent string) { director.Ask(agent) },
	})
	if err != nil {
		return err
	}
	agents, err := broker.New(broker.Options{
		Address: p.o.MQTT, Handler: in.Handle, Refused: refuser(in), Metrics: p.registry, Logger: p.o.Logger,
	})
	if err != nil {
		return &hinted{err, "is another coordinator running? choose another address with --mqtt"}
	}
	director, err = dispatch.New(p.dispatchOptions(agents))
	if err != nil {
		return err
	}
	face, err := api.New(p.apiOptions(director))
	if err != nil {
		return err
	}
	return p.run(ctx, rooms{operators, watchers, agents, director, face})
}

func (p parts) dispatchOptions(outbox broker.Outbox) dispatch.Options {
	o := dispatch.Options{
		DB: p.db, Outbox: outbox, ActivationURL: p.o.ActivationServer, Keys: p.keys, Heartbeat: p.o.Heartbeat, Logger: p.o.Logger,
	}
	if p.activation != nil { // not a nil pointer in an interface
		o.ActivationServer = p.activation
	}
	return o
}

func (p parts) apiOptions(director *dispatch.Dispatch) api.Options {
	o := api.Options{
		DB: p.db, Ask: director.AskNow, Logger: p.o.Logger, Version: p.o.Version, Heartbeat: p.o.Heartbeat,
		Metrics: promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}),
	}
	if p.activation != nil {
		o.ActivationServer = p.activation
	}
	return o
}

// rooms are what runs.
type rooms struct {
	operators, watchers net.Listener
	agents              *broker.Embedded
	director            *dispatch.Dispatch
	face                *api.API
}

func (p parts) run(ctx context.Context, r rooms) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.director.Run(ctx) })
	group.Go(func() error { return r.agents.Serve(ctx) })
	front := r.face.Server()
	back := &http.Server{Handler: r.face.Observe(), ReadHeaderTimeout: 10 * time.Second}
	for server, listener := range map[*http.Server]net.Listener{front: r.operators, back: r.watchers} {
		group.Go(func() error { return serveHTTP(ctx, server, listener) })
	}
	ready := Ready{
		PID: os.Getpid(), HTTP: "http://" + r.operators.Addr().String(), MQTT: "tcp://" + r.agents.Addr().String(),
		Metrics: "http://" + r.watchers.Addr().String(),
	}
	if err := writeReady(p.o.ReadyFile, ready); err != nil {
		group.Go(func() error { return err }) // stops the others
	} else {
		p.o.Logger.Info().Str("http", ready.HTTP).Str("mqtt", ready.MQTT).Str("metrics", ready.Metrics).Str("data", p.o.Data).Msg("serving")
	}
	return group.Wait()
}

// serveHTTP serves until ctx ends, then lets requests end.
func serveHTTP(ctx context.Context, server *http.Server, listener net.Listener) error {
	stopped := make(chan error, 1)
	end := context.AfterFunc(ctx, func() { stopped <- stopHTTP(ctx, server) })
	err := server.Serve(listener)
	if end() {
		return fmt.Errorf("serve HTTP: %w", err) // nobody asked it to end
	}
	return <-stopped
}

func stopHTTP(ctx context.Context, server *http.Server) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err := server.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &hinted{fmt.Errorf("listen for %s: %w", flag[2:], err), "is another coordinator running? choose another address with " + flag}
	}
	return listener, nil
}

// refuser counts what the broker refuses before it is a message.
func refuser(in *ingest.Ingest) func(agent, topic string, err error) {
	return func(agent, _ string, err error) {
		reason := ingest.Forbidden
		if errors.Is(err, broker.ErrTooLarge) {
			reason = ingest.TooLarge
		}
		in.Refuse(agent, reason, err)
	}
}
