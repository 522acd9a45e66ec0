package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/licet-project/licet/agent/internal/activation"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/agent/internal/report"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// settings are what the coordinator said of the agent's work. They are kept on disk, so that an exchange in flight can be
// finished after a start without the coordinator.
type settings struct {
	path string
	http *http.Client
	log  zerolog.Logger

	mu      sync.Mutex
	current protocol.Settings
	trusted signed.KeySet
	direct  activation.Carrier // nil: the activation server is not known
}

func newSettings(data string, client *http.Client, log zerolog.Logger) *settings {
	if client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone() // honors HTTPS_PROXY, verifies
		transport.MaxIdleConnsPerHost = 4
		transport.MaxConnsPerHost = 8
		transport.ResponseHeaderTimeout = 30 * time.Second
		client = &http.Client{
			Transport: transport, Timeout: time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &settings{path: filepath.Join(data, "settings.json"), http: client, log: log}
}

// load reads what was kept. A file that cannot be read is a coordinator that has not spoken yet.
func (s *settings) load(agent string) {
	payload, err := os.ReadFile(s.path)
	if err == nil {
		_, err = s.take(payload, agent)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn().Err(err).Str("file", s.path).Msg("the kept settings are not usable; the coordinator sends them again")
	}
}

// apply takes settings and keeps them. It reports whether the way to the activation server has changed.
func (s *settings) apply(payload []byte, agent string) (changed bool, err error) {
	changed, err = s.take(payload, agent)
	if err != nil {
		return false, err
	}
	if kept, err := os.ReadFile(s.path); err == nil && string(kept) == string(payload) {
		return changed, nil // as at every connect
	}
	if err := durable.WriteFile(s.path, payload); err != nil {
		s.log.Warn().Err(err).Msg("the settings are followed, but not kept")
	}
	return changed, nil
}

func (s *settings) take(payload []byte, agent string) (changed bool, err error) {
	next, err := protocol.Decode[protocol.Settings](payload)
	if err != nil {
		return false, err
	}
	if next.Agent != agent {
		return false, errAgent
	}
	keys, err := activationServer(next.ActivationServer)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.current.ActivationServer
	s.current, s.trusted = next, keys
	now := next.ActivationServer
	if before == nil && now == nil || before != nil && now != nil && before.URL == now.URL && string(before.Keys) == string(now.Keys) {
		return false, nil
	}
	s.direct = nil
	if now != nil {
		s.direct = &exchange.Client{Base: now.URL, HTTP: s.http}
	}
	s.http.CloseIdleConnections()
	return true, nil
}

// activationServer checks where the direct carrier leads, and reads the keys that receipts are verified with.
func activationServer(as *protocol.ActivationServer) (signed.KeySet, error) {
	if as == nil {
		return nil, nil
	}
	u, err := url.Parse(as.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return nil, errors.New("the activation server's URL is not of the form https://host[:port]")
	}
	var keys signed.KeySet
	if err := json.Unmarshal(as.Keys, &keys); err != nil {
		return nil, fmt.Errorf("the activation server's keys: %w", err)
	}
	return keys, nil
}

func (s *settings) carriers() map[string]activation.Carrier {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct == nil {
		return nil
	}
	return map[string]activation.Carrier{protocol.CarrierDirect: s.direct}
}

func (s *settings) keys() signed.KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trusted
}

func (s *settings) heartbeat() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.HeartbeatSeconds == 0 {
		return report.DefaultHeartbeat
	}
	return time.Duration(s.current.HeartbeatSeconds) * time.Second
}
