package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/api"
	"github.com/licet-project/licet/coordinator/internal/db"
)

var update = flag.Bool("update", false, "write client/openapi.json anew")

// house is an API that is served, with what a test looks at.
type house struct {
	*client.Client
	db  *db.DB
	api *api.API
	log *bytes.Buffer // owned by the handlers until the server has ended

	transport *http.Transport // in a bubble of time
}

// open serves the API over a database.
func open(t *testing.T, d *db.DB, change ...func(*api.Options)) *house {
	t.Helper()
	h := &house{db: d, log: &bytes.Buffer{}}
	o := api.Options{DB: d, Version: "test", Logger: zerolog.New(zerolog.SyncWriter(h.log))}
	for _, c := range change {
		c(&o)
	}
	var err error
	h.api, err = api.New(o)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = h.api.Server()
	server.Start()
	t.Cleanup(func() {
		h.api.Stop()
		server.Close()
	})
	h.Client, err = client.New(server.URL, nil)
	require.NoError(t, err)
	return h
}

// file is a database of its own, for what does not depend on the engine.
func file(t *testing.T) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "licet.db"), db.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// send makes a call as a stranger would.
func (h *house) send(t *testing.T, method, path string, header http.Header, body string) (*http.Response, client.Problem) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, h.Base()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var problem client.Problem
	if response.StatusCode >= 400 {
		require.Equal(t, client.ProblemType, response.Header.Get("Content-Type"), string(raw))
		require.NoError(t, json.Unmarshal(raw, &problem), string(raw))
		require.Equal(t, response.StatusCode, problem.Status)
		require.Equal(t, http.StatusText(response.StatusCode), problem.Title)
		require.NotEmpty(t, problem.Code)
		require.NotEmpty(t, problem.Hint, string(raw))
	}
	return response, problem
}

func TestNewNeedsADatabase(t *testing.T) {
	_, err := api.New(api.Options{})
	require.Error(t, err)
}

func TestOpenAPIDocumentIsCurrent(t *testing.T) {
	h := open(t, file(t))
	response, err := http.Get(h.Base() + "/v1/openapi.json")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	served, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	path := filepath.Join("..", "..", "client", "openapi.json")
	if *update {
		require.NoError(t, os.WriteFile(path, served, 0o600))
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(kept), string(served), "run go test ./internal/api -run OpenAPI -update")
	require.NotContains(t, string(served), "ErrorModel")
	require.Contains(t, string(served), `"openapi": "3.1.0"`)
}

func TestHealth(t *testing.T) {
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "licet.db"), db.Options{})
	require.NoError(t, err)
	h := open(t, d, func(o *api.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "licet_up 1\n") })
	})
	health, err := h.Health(t.Context())
	require.NoError(t, err)
	require.Equal(t, client.Health{Status: "ok", Version: "test"}, health)

	watch := httptest.NewServer(h.api.Observe())
	defer watch.Close()
	for path, want := range map[string]int{"/v1/health": 200, "/metrics": 200, "/v1/status": 404, "/": 404} {
		response, err := http.Get(watch.URL + path)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, want, response.StatusCode, path)
	}

	require.NoError(t, d.Close())
	_, problem := h.send(t, http.MethodGet, "/v1/health", nil, "")
	require.Equal(t, client.CodeUnavailable, problem.Code)
	require.Equal(t, http.StatusServiceUnavailable, problem.Status)
}

func TestTheBorderRefuses(t *testing.T) {
	h := open(t, file(t))
	json := http.Header{"Content-Type": {"application/json"}}
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		body         string
		status       int
		code         string
	}{
		"nothing there":          {"GET", "/v1/nothing", nil, "", 404, client.CodeNotFound},
		"another method":         {"DELETE", "/v1/health", nil, "", 404, client.CodeNotFound},
		"an unknown parameter":   {"GET", "/v1/health?select=x", nil, "", 422, client.CodeInvalid},
		"a cursor that is none":  {"GET", "/v1/events", http.Header{"Last-Event-Id": {"x"}}, "", 422, client.CodeInvalid},
		"a cursor below zero":    {"GET", "/v1/events?after=-1", nil, "", 422, client.CodeInvalid},
		"another origin's write": {"POST", "/v1/checks", http.Header{"Content-Type": json["Content-Type"], "Sec-Fetch-Site": {"cross-site"}}, "{}", 403, client.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			response, problem := h.send(t, c.method, c.path, c.header, c.body)
			require.Equal(t, c.status, response.StatusCode)
			require.Equal(t, c.code, problem.Code)
			require.Equal(t, "nosniff", response.Header.Get("X-Content-Type-Options"))
			require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		})
	}
}

// A page elsewhere whose name is made to lead here is refused, though it would be of our own origin.
func TestLoopbackAnswersToLoopbackNames(t *testing.T) {
	h := open(t, file(t), func(o *api.Options) { o.Names = []string{"licet.example.com"} })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(h.Base(), "http://"))
	require.NoError(t, err)
	for name, want := range map[string]int{
		"localhost:" + port: 200, "127.0.0.1:" + port: 200, "127.0.0.1": 200, "[::1]:" + port: 200, "licet.example.com": 200,
		"rebound.example.org:" + port: 403, "licet.example.com.evil.org": 403, "0.0.0.0:" + port: 403,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.Base()+"/v1/health", nil)
		require.NoError(t, err)
		request.Host = name
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		_ = response.Body.Close()
		require.Equal(t, want, response.StatusCode, name)
	}
}
