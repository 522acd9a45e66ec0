package api_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/api/apitest"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// Every refusal says what happened with numbers and names, what to do next, and changes nothing.
func TestRefusalsChangeNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h, _ := stocked(t, d)
		ctx := t.Context()
		assign := func(selector, product string, count int) func() error {
			return func() error {
				return second(h.Assign(ctx, client.AssignRequest{Select: selector, Product: product, Count: count}))
			}
		}
		entitlement := func(change ...string) func() error {
			content := strings.NewReplacer(change...).Replace(string(sample(t, "entitlement-hq.html")))
			return func() error { return second(h.ImportEntitlement(ctx, []byte(content), "")) }
		}
		before := dbtest.Dump(t, d)
		for name, c := range map[string]struct {
			do     func() error
			status int
			detail string
			errors int
		}{
			"more than is left":       {assign("", "SAMPLE-SNMP", 17), 409, "SAMPLE-SNMP: 204 seats asked for, 200 left", 0},
			"not applicable":          {assign("role=top", "SAMPLE-SMARTDRIVER", 1), 409, "SAMPLE-SMARTDRIVER cannot be assigned to 6 servers", 6},
			"not applicable to one":   {assign("name=Harbour Edge", "SAMPLE-SMARTDRIVER", 1), 409, "it applies to AS-P, AS-P-3, AS-B, this is EDGE", 0},
			"not here but at the top": {assign("role=field", "SAMPLE-TIER-ESS", 1), 409, "SAMPLE-TIER-ESS cannot be assigned to 6 servers", 6},
			"unknown product":         {assign("", "SAMPLE-NOTHING", 1), 409, "the catalog does not know it", 0},
			"managed elsewhere":       {assign("", "SAMPLE-WORKSTATION", 1), 409, "managed by license-administrator", 0},
			"unknown server":          {assign("host=DEMO-NONE", "SAMPLE-SNMP", 1), 404, `no server is selected by "host=DEMO-NONE"`, 0},
			"selector":                {assign("site=", "SAMPLE-SNMP", 1), 422, "selector, column 6: a value is missing", 0},
			"count of zero":           {assign("", "SAMPLE-SNMP", 0), 422, "the request is not valid", 0},
			"no product":              {assign("", "", 1), 422, "the request is not valid", 0},
			"wait":                    {func() error { return second(h.Assign(ctx, client.AssignRequest{Product: "P", Count: 1, Wait: "soon"})) }, 422, "wait is not a duration between 0s and 5m0s", 1},
			"raise by unassign":       {func() error { return second(h.Unassign(ctx, client.UnassignRequest{Product: "SAMPLE-SNMP", Count: 1})) }, 409, "1 would be more", 0},
			"unassign nobody":         {func() error { return second(h.Unassign(ctx, client.UnassignRequest{Select: "site=none"})) }, 404, "no server is selected", 0},
			"activate nobody":         {func() error { return second(h.Activate(ctx, client.ActivateRequest{Select: "site=none"})) }, 404, "no server is selected", 0},
			"servers by selector":     {func() error { return second(h.Servers(ctx, "a b")) }, 422, "selector, column 3", 0},
			"no such server":          {func() error { return second(h.Server(ctx, "DEMO-NONE")) }, 404, `no server has the host ID "DEMO-NONE"`, 0},
			"same ID, other count":    {entitlement("<td>160</td>", "<td>161</td>"), 409, "line ****0002: the seat count was 160, is 161", 0},
			"same ID, other owner":    {func() error { return second(h.ImportEntitlement(ctx, sample(t, "entitlement-hq.html"), "Somebody")) }, 409, "owner: was Example Facilities AB, is Somebody", 0},
			"taken activation IDs":    {entitlement("DEMO-ENT-2026-000123", "DEMO-ENT-2026-999999"), 409, "activation IDs belong to another entitlement already", 0},
			"not HTML":                {func() error { return second(h.ImportEntitlement(ctx, []byte("a,b\n"), "")) }, 422, "the file is not HTML", 0},
			"mistakes":                {entitlement("<td>160</td>", "<td>-160</td>", "<td>25</td>", "<td>many</td>"), 422, "4 mistakes in the certificate", 4},
			"too large":               {func() error { return second(h.ImportEntitlement(ctx, bytes.Repeat([]byte("<p>"), 2<<20), "")) }, 413, "", 0},
			"catalog": {func() error {
				return second(h.ImportCatalog(ctx, []byte("products:\n- {part_number: X, hue: red}\n")))
			}, 422, "hue", 0},
			"sites":     {func() error { return second(h.ImportSites(ctx, []byte("sites: []\n"))) }, 422, "there are no sites", 0},
			"inventory": {func() error { return second(h.ImportServers(ctx, []byte("name,type\nA,B\n"), false)) }, 422, "3 mistakes in the file", 3},
		} {
			t.Run(name, func(t *testing.T) {
				p := refusal(t, c.do())
				require.Equal(t, c.status, p.Status, p.Detail)
				require.Contains(t, p.Detail, c.detail)
				require.Len(t, p.Errors, c.errors, p.Errors)
				require.NotContains(t, p.Detail, "DEMO-ACT", "activation IDs are masked")
			})
		}
		require.Equal(t, before, dbtest.Dump(t, d))
		sound(t, d)
	})
}

// What the border refuses before anything is understood.
func TestBodiesAreStrict(t *testing.T) {
	h := open(t, file(t))
	as := func(mediaType string) http.Header { return http.Header{"Content-Type": {mediaType}} }
	for name, c := range map[string]struct {
		path      string
		mediaType string
		body      string
		status    int
		code      string
	}{
		"an unknown field":      {"/v1/assignments", "application/json", `{"select":"","product":"P","count":1,"force":true}`, 422, client.CodeInvalid},
		"a missing field":       {"/v1/assignments", "application/json", `{"product":"P","count":1}`, 422, client.CodeInvalid},
		"a text for a number":   {"/v1/assignments", "application/json", `{"select":"","product":"P","count":"1"}`, 422, client.CodeInvalid},
		"half a number":         {"/v1/assignments", "application/json", `{"select":"","product":"P","count":1.5}`, 422, client.CodeInvalid},
		"broken JSON":           {"/v1/assignments", "application/json", `{"select":`, 400, client.CodeInvalid},
		"two documents":         {"/v1/assignments", "application/json", `{"select":"","product":"P","count":1}{}`, 400, client.CodeInvalid},
		"nothing":               {"/v1/assignments", "application/json", ``, 400, client.CodeInvalid},
		"too much JSON":         {"/v1/assignments", "application/json", `{"select":"` + strings.Repeat("x", 70<<10) + `"}`, 413, client.CodeTooLarge},
		"a form":                {"/v1/assignments", "application/x-www-form-urlencoded", `select=`, 415, client.CodeMediaType},
		"text for JSON":         {"/v1/checks", "text/plain", `{}`, 415, client.CodeMediaType},
		"JSON for HTML":         {"/v1/entitlements", "application/json", `{}`, 415, client.CodeMediaType},
		"YAML for CSV":          {"/v1/servers/import", "application/yaml", `a: b`, 415, client.CodeMediaType},
		"no label":              {"/v1/catalog", "", `a: b`, 415, client.CodeMediaType},
		"a label that is none":  {"/v1/catalog", ";;", `a: b`, 415, client.CodeMediaType},
		"check that is neither": {"/v1/servers/import?check=perhaps", "text/csv", `a`, 422, client.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			header := as(c.mediaType)
			if c.mediaType == "" {
				header = http.Header{}
			}
			response, problem := h.send(t, http.MethodPost, c.path, header, c.body)
			require.Equal(t, c.status, response.StatusCode, problem.Detail)
			require.Equal(t, c.code, problem.Code)
		})
	}
	response, problem := h.send(t, http.MethodPost, "/v1/entitlements", as("text/html"), strings.Repeat("DEMO-ACT-7f3a-0001 ", 10))
	require.Equal(t, http.StatusUnprocessableEntity, response.StatusCode)
	require.NotContains(t, problem.Detail, "0001", "what was sent is not echoed")
}

// Assigning waits for servers that are being adopted, and not for ever.
func TestAssignWaitsForAdoption(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		field := apitest.New(d)
		h := open(t, d)
		require.NoError(t, apitest.Stock(t.Context(), h.Client))
		r := client.AssignRequest{Select: "site=hq", Product: "SAMPLE-SNMP", Count: 1, Wait: "20ms"}
		p := refusal(t, second(h.Assign(t.Context(), r)))
		require.Equal(t, []any{http.StatusConflict, client.CodeRefused}, []any{p.Status, p.Code})
		require.Contains(t, p.Detail, "6 servers are still being adopted")

		ctx, cancel := context.WithCancel(t.Context())
		running := make(chan error, 1)
		time.AfterFunc(20*time.Millisecond, func() { running <- field.Run(ctx) }) // servers come while somebody waits
		r.Wait = "1m"
		got, err := h.Assign(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, 6, got.SeatsHeld)
		cancel()
		require.NoError(t, <-running)
	})
}

// Nobody who waits keeps the coordinator from stopping.
func TestWaitingEndsWithTheServer(t *testing.T) {
	inBubbleOfTime(t, func(t *testing.T, h *house, c *client.Client) {
		require.NoError(t, apitest.Stock(t.Context(), c))
		time.AfterFunc(5*time.Second, h.api.Stop)
		begun := time.Now()
		_, err := c.Assign(t.Context(), client.AssignRequest{Select: "site=hq", Product: "SAMPLE-SNMP", Count: 1, Wait: "2m"})
		require.Equal(t, client.CodeUnavailable, refusal(t, err).Code)
		require.Equal(t, 5*time.Second, time.Since(begun).Round(time.Second))
	})
}

// Waiting longer than a body may take to arrive is no hanging up.
func TestWaitingOutlivesTheBodysDeadline(t *testing.T) {
	inBubbleOfTime(t, func(t *testing.T, _ *house, c *client.Client) {
		require.NoError(t, apitest.Stock(t.Context(), c))
		begun := time.Now()
		_, err := c.Assign(t.Context(), client.AssignRequest{Select: "site=hq", Product: "SAMPLE-SNMP", Count: 1, Wait: "2m"})
		require.Contains(t, refusal(t, err).Detail, "6 servers are still being adopted")
		require.Equal(t, 2*time.Minute, time.Since(begun).Round(time.Second))
	})
}

func TestInternalErrorsSayNothing(t *testing.T) {
	d := file(t)
	h := open(t, d)
	require.NoError(t, d.Update(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec("DROP TABLE audit")
		return err
	}))
	response, p := h.send(t, http.MethodGet, "/v1/audit", nil, "")
	require.Equal(t, http.StatusInternalServerError, response.StatusCode)
	require.Equal(t, client.CodeInternal, p.Code)
	require.NotContains(t, p.Detail, "audit")
	require.Contains(t, h.log.String(), "no such table", "the log says it")
}
