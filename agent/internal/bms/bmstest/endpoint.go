package bmstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log" //nolint:depguard // net/http takes no other logger
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// endpoint is the top server's HTTPS listener and the goroutine that serves it.
type endpoint struct {
	server *http.Server
	url    string
	fresh  sync.Map   // connections that have not asked anything yet
	done   chan error // Serve's result, once
}

// Start serves the system's API over HTTPS on the address, for example 127.0.0.1:0, with the top server's certificate.
// Nothing is left behind when it fails.
func (s *System) Start(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoint != nil {
		return errors.New("serve a simulated system: it is served already")
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serve a simulated system: %w", err)
	}
	e := &endpoint{url: "https://" + reachable(listener.Addr()), done: make(chan error, 1)}
	e.server = &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.top().identity.certificate}},
		ErrorLog:  log.New(s.options.Logger, "", 0),
	}
	e.server.ConnState = e.track
	go func() { e.done <- e.server.ServeTLS(listener, "", "") }()
	s.endpoint = e
	return nil
}

// reachable is the address that a client on this machine connects to.
func reachable(address net.Addr) string {
	if tcp, ok := address.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
	}
	return address.String()
}

// URL is where the system is served, or empty if it is not.
func (s *System) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoint == nil {
		return ""
	}
	return s.endpoint.url
}

// Trust is the certificate of the top server, PEM, for who connects to URL.
func (s *System) Trust() []byte { return s.top().identity.trust() }

// TrustFile is the absolute path of a file with Trust.
func (s *System) TrustFile() (string, error) {
	path, err := filepath.Abs(s.top().folder.Path(trustFile))
	if err != nil {
		return "", fmt.Errorf("find the trust file: %w", err)
	}
	return path, nil
}

// track keeps the connections that Shutdown would wait 5 s for: opened, and never used.
func (e *endpoint) track(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		e.fresh.Store(c, nil)
	} else {
		e.fresh.Delete(c)
	}
}

// Close stops serving: calls that are under way get 5 s to end. The system can still be used in process, and started again.
func (s *System) Close() error {
	s.mu.Lock()
	e := s.endpoint
	s.endpoint = nil
	s.mu.Unlock()
	if e == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	e.fresh.Range(func(c, _ any) bool {
		_ = c.(net.Conn).Close()
		return true
	})
	err := e.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.server.Close() // whoever did not end in time ends now; that is no failure
	}
	if served := <-e.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop serving a simulated system: %w", err)
	}
	return nil
}
