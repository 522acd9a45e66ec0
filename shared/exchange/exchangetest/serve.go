package exchangetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog" //nolint:depguard // net/http takes no other logger; zerolog is behind it
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/shared/exchange"
)

// TB is what Start needs of a test.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Service is a Server that listens.
type Service struct {
	*Server
	URL    string
	Client *exchange.Client
}

// Start serves a new server on a free loopback port until the test ends.
func Start(t TB, o Options) *Service {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatalf("start an activation server: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = s.Close()
		t.Fatalf("start an activation server: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(func() {
		stop()
		transport.CloseIdleConnections()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Fatalf("stop the activation server: %v", err)
		}
	})
	url := "http://" + listener.Addr().String()
	return &Service{
		Server: s, URL: url,
		Client: &exchange.Client{Base: url, HTTP: &http.Client{Transport: transport, Timeout: 30 * time.Second}},
	}
}

// stopWithin bounds how long a request that has begun may take once Serve is to end.
const stopWithin = 5 * time.Second

// Serve answers on the listener until ctx ends, and returns when no request is under way any more. It closes the listener,
// not the server.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(zerolog.NewSlogHandler(s.options.Logger), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	ended, end := context.WithCancel(ctx)
	go func() {
		<-ended.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		err := server.Shutdown(bounded)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // a client that dialed and said nothing is waited for as long as a request; it is no failure
		}
		stopped <- err
	}()
	err := server.Serve(listener)
	end()
	stopErr := <-stopped
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if err = errors.Join(err, stopErr); err != nil {
		return fmt.Errorf("serve the activation server: %w", err)
	}
	return nil
}
