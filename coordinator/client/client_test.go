package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
)

func serve(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, nil)
	require.NoError(t, err)
	return c
}

func TestNewRefusesWhatIsNoAddress(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:8080", "ftp://host", "http://", "http://user:secret@host", "http://host?x=1", "://"} {
		_, err := client.New(base, nil)
		require.Error(t, err, base)
		require.NotContains(t, err.Error(), "secret")
	}
	c, err := client.New("http://host:1/licet/", nil)
	require.NoError(t, err)
	require.Equal(t, "http://host:1/licet", c.Base())
}

func TestCallsTravelAsDocumented(t *testing.T) {
	var method, uri, mediaType, body string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		method, uri, mediaType, body = r.Method, r.RequestURI, r.Header.Get("Content-Type"), string(raw)
		_, _ = io.WriteString(w, "{}")
	})
	ctx := t.Context()
	for _, one := range []struct {
		call                         func() error
		method, uri, mediaType, body string
	}{
		{func() error { _, err := c.ImportEntitlement(ctx, []byte("<p>"), "A & B"); return err }, "POST", "/v1/entitlements?owner=A+%26+B", "text/html", "<p>"},
		{func() error { _, err := c.ImportEntitlement(ctx, nil, ""); return err }, "POST", "/v1/entitlements", "text/html", ""},
		{func() error { _, err := c.Entitlements(ctx); return err }, "GET", "/v1/entitlements", "", ""},
		{func() error { _, err := c.ImportCatalog(ctx, []byte("a: b")); return err }, "POST", "/v1/catalog", "application/yaml", "a: b"},
		{func() error { _, err := c.Products(ctx); return err }, "GET", "/v1/products", "", ""},
		{func() error { _, err := c.ImportSites(ctx, []byte("s")); return err }, "POST", "/v1/sites", "application/yaml", "s"},
		{func() error { _, err := c.Sites(ctx); return err }, "GET", "/v1/sites", "", ""},
		{func() error { _, err := c.ImportServers(ctx, []byte("c"), true); return err }, "POST", "/v1/servers/import?check=true", "text/csv", "c"},
		{func() error { _, err := c.Servers(ctx, "role=top,site!=hq"); return err }, "GET", "/v1/servers?select=role%3Dtop%2Csite%21%3Dhq", "", ""},
		{func() error { _, err := c.Server(ctx, "A/B C"); return err }, "GET", "/v1/servers/A%2FB%20C", "", ""},
		{func() error { _, err := c.Assign(ctx, client.AssignRequest{Product: "P", Count: 2}); return err }, "POST", "/v1/assignments", "application/json", `{"select":"","product":"P","count":2}`},
		{func() error {
			_, err := c.Unassign(ctx, client.UnassignRequest{Select: "a=b", Product: "P"})
			return err
		}, "POST", "/v1/unassignments", "application/json", `{"select":"a=b","product":"P"}`},
		{func() error { _, err := c.Activate(ctx, client.ActivateRequest{}); return err }, "POST", "/v1/activations", "application/json", `{"select":""}`},
		{func() error { _, err := c.Assignments(ctx, ""); return err }, "GET", "/v1/assignments", "", ""},
		{func() error { _, err := c.Status(ctx); return err }, "GET", "/v1/status", "", ""},
		{func() error { _, err := c.Check(ctx, client.CheckRequest{Wait: "1s"}); return err }, "POST", "/v1/checks", "application/json", `{"wait":"1s"}`},
		{func() error { _, err := c.Audit(ctx, 7, 50); return err }, "GET", "/v1/audit?after=7&limit=50", "", ""},
		{func() error { _, err := c.Health(ctx); return err }, "GET", "/v1/health", "", ""},
	} {
		require.NoError(t, one.call(), one.uri)
		require.Equal(t, []string{one.method, one.uri, one.mediaType, one.body}, []string{method, uri, mediaType, body})
	}
}

func TestAProblemIsTheCoordinatorsNo(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", client.ProblemType)
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(client.Problem{Status: 200, Code: client.CodeRefused, Detail: "no seats", Hint: "buy"})
	})
	_, err := c.Status(t.Context())
	var problem *client.Problem
	require.ErrorAs(t, err, &problem)
	require.Equal(t, http.StatusConflict, problem.Status, "the real status counts, not the document's")
	require.Equal(t, "no seats", problem.Error())
	require.Equal(t, "buy", problem.Hint)
}

func TestSomebodyElseIsNotTheCoordinator(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a portal":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log on</html>") },
		"a redirect":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"a plain 404": http.NotFound,
		"a cut answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "{")
		},
		"a broken connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, handler).Status(t.Context())
			var unreachable *client.Unreachable
			require.ErrorAs(t, err, &unreachable)
		})
	}
}

func TestFollowResumesABrokenStream(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		last := r.Header.Get("Last-Event-ID")
		asked = append(asked, last)
		next := map[string]int{"4": 5, "6": 7}[last]
		_, _ = fmt.Fprintf(w, ": hello\n\nid: %[1]d\nevent: ledger\ndata: {\"id\":%[1]d,\"kind\":\"ledger\",\"key\":\"srv-a\"}\n\n", next)
		if next == 5 {
			_, _ = io.WriteString(w, "data: {\"id\":6,\"kind\":\"ledger\",\"key\":\"srv-b\"}\n\n")
		}
	})
	done := errors.New("done")
	var got []int64
	err := c.Follow(t.Context(), 4, func(e client.Event) error {
		got = append(got, e.ID)
		if e.ID == 7 {
			return done
		}
		return nil
	})
	require.ErrorIs(t, err, done)
	require.Equal(t, []int64{5, 6, 7}, got)
	require.Equal(t, []string{"4", "6"}, asked)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		cancel(cause)
		<-r.Context().Done()
	})
	require.ErrorIs(t, c.Follow(ctx, 0, func(client.Event) error { return nil }), cause)
}

func TestFollowNeedsItsFirstConnection(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	var unreachable *client.Unreachable
	require.ErrorAs(t, c.Follow(t.Context(), 0, nil), &unreachable)
}
