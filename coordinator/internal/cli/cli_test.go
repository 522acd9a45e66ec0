package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/cli"
)

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// run runs a command against the coordinator at the address.
func run(t *testing.T, address string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := cli.Run(t.Context(), cli.Options{
		Args: args, Out: &out, Err: &err, Version: "1.2.3",
		Getenv: func(name string) string { return map[string]string{"LICET_URL": address}[name] },
	})
	return result{code, out.String(), err.String()}
}

// answering is a coordinator that always answers the same.
func answering(t *testing.T, status int, body any) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status >= 400 {
			w.Header().Set("Content-Type", client.ProblemType)
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"frob":                          "licet: read the command line: licet does not know \"frob\"\nhint: licet --help\n",
		"sevrer":                        "licet: read the command line: licet does not know \"sevrer\", did you mean server?\nhint: licet --help\n",
		"server":                        "licet: read the command line: licet server needs one more word: import, list, show\nhint: licet server --help\n",
		"server shwo":                   "licet: read the command line: licet server does not know \"shwo\", did you mean show?\nhint: licet server --help\n",
		"server show":                   "licet: read the command line: accepts 1 arg(s), received 0\nhint: licet server show --help\n",
		"assign --product P":            "licet: read the command line: required flag(s) \"select\" not set\nhint: licet assign --help\n",
		"assign --select role=top":      "licet: read the command line: required flag(s) \"product\" not set\nhint: licet assign --help\n",
		"unassign --select role=top":    "licet: read the command line: say what to take away: either --product or --all\nhint: licet unassign --help\n",
		"unassign --product P":          "licet: read the command line: required flag(s) \"select\" not set\nhint: licet unassign --help\n",
		"activate":                      "licet: read the command line: required flag(s) \"select\" not set\nhint: licet activate --help\n",
		"status --frob":                 "licet: read the command line: unknown flag: --frob\nhint: licet status --help\n",
		"status -o xml":                 "licet: read the command line: there is no output format \"xml\", only table, wide, json, yaml\nhint: licet status --help\n",
		"status --url 127.0.0.1:1":      "licet: find the coordinator: the coordinator's address is not a URL like http://127.0.0.1:8080\nhint: look at LICET_URL and --url\n",
		"status":                        "licet: find the coordinator: no address given\nhint: export LICET_URL=http://HOST:PORT, or give --url\n",
		"assign --select x --product P": "licet: find the coordinator: no address given\nhint: export LICET_URL=http://HOST:PORT, or give --url\n",
	} {
		t.Run(args, func(t *testing.T) {
			require.Equal(t, result{2, "", want}, run(t, "", strings.Fields(args)...))
		})
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	help := run(t, "")
	require.Zero(t, help.code)
	require.Contains(t, help.out, "LICET_URL")
	for _, args := range []string{
		"entitlement check", "entitlement import", "entitlement list", "catalog import", "catalog list", "product list", "site import", "site list",
		"server import", "server list", "server show", "assign", "unassign", "assignment list", "activate", "status", "audit list", "check", "version",
	} {
		r := run(t, "", append(strings.Fields(args), "--help")...)
		require.Zero(t, r.code, args)
		require.Contains(t, r.out, "Usage:\n  licet "+args, args)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Zero(t, run(t, "", "completion", shell).code)
	}
	require.Equal(t, result{0, "licet 1.2.3\n", ""}, run(t, "", "version"))
	require.Equal(t, result{0, "{\n  \"version\": \"1.2.3\"\n}\n", ""}, run(t, "", "version", "-o", "json"))
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   int
	}{
		"refused":     {http.StatusConflict, 3},
		"not found":   {http.StatusNotFound, 3},
		"invalid":     {http.StatusUnprocessableEntity, 3},
		"too large":   {http.StatusRequestEntityTooLarge, 3},
		"internal":    {http.StatusInternalServerError, 1},
		"unavailable": {http.StatusServiceUnavailable, 4},
	} {
		t.Run(name, func(t *testing.T) {
			address := answering(t, c.status, client.Problem{Detail: "no", Hint: "do this", Errors: []client.ProblemDetail{{Location: "row 3", Message: "bad\x1b[31m"}}})
			require.Equal(t, result{c.code, "", "licet: read the status: no\n  row 3: bad\uFFFD[31m\nhint: do this\n"}, run(t, address, "status"))
		})
	}
	away := httptest.NewServer(http.NotFoundHandler())
	r := run(t, away.URL, "status")
	require.Equal(t, 4, r.code, "a 404 that is no problem document is somebody else's")
	require.Contains(t, r.err, "does not answer like a coordinator: status 404 Not Found\nhint: is the coordinator running")
	away.Close()
	r = run(t, away.URL, "status")
	require.Equal(t, 4, r.code)
	require.Contains(t, r.err, "licet: read the status: dial tcp")
}

func TestFilesThatCannotBeRead(t *testing.T) {
	r := run(t, "http://127.0.0.1:1", "server", "import", filepath.Join(t.TempDir(), "none.csv"))
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "none.csv: no such file or directory")
	r = run(t, "http://127.0.0.1:1", "server", "import", t.TempDir())
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "is a directory")
}

// Names come from servers and files: none of them commands the operator's terminal.
func TestTablesAreCleanAndAligned(t *testing.T) {
	address := answering(t, http.StatusOK, client.Sites{Sites: []client.Site{
		{ID: "hq", Name: "Zentrale \u202ekcab\x1b]0;x\x07", Owner: "Ünïcode 株式会社", Servers: 7},
		{ID: "seaside", Name: "H", Owner: "B", TimeZone: "Europe/Oslo", Carriers: []string{"direct", "file"}, Servers: 12},
	}})
	r := run(t, address, "site", "list")
	require.Equal(t, result{0, strings.Join([]string{
		"ID       NAME                  OWNER             TIME ZONE    CARRIERS     SERVERS",
		"hq       Zentrale \uFFFDkcab\uFFFD]0;x\uFFFD  Ünïcode 株式会社                                  7",
		"seaside  H                     B                 Europe/Oslo  direct file       12",
	}, "\n") + "\n", ""}, r)
	wide := run(t, address, "site", "list", "-o", "wide")
	require.Equal(t, r, wide)
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	address := answering(t, http.StatusOK, client.Products{Products: []client.Product{{
		PartNumber: "0123", Name: "yes", MinVersion: "7.0", Types: []string{"null", "ES: x", "#1"}, Unit: &client.Unit{Name: "- a", PerLicense: 100},
	}}})
	var fromJSON, fromYAML any
	require.NoError(t, json.Unmarshal([]byte(run(t, address, "product", "list", "-o", "json").out), &fromJSON))
	text := run(t, address, "product", "list", "-o", "yaml").out
	require.Contains(t, text, "part_number: \"0123\"\n")
	require.NotContains(t, text, "{")
	fromYAML = decodeYAML(t, text)
	require.Equal(t, fromJSON, fromYAML)
}

func TestEntitlementCheckNeedsNoCoordinator(t *testing.T) {
	file := filepath.Join("testdata", "hq.html")
	r := run(t, "", "entitlement", "check", file, "-o", "json")
	require.Zero(t, r.code, r.err)
	var c client.Certificate
	require.NoError(t, json.Unmarshal([]byte(r.out), &c))
	require.Equal(t, "DEMO-ENT-2026-000123", c.EntitlementID)
	require.Len(t, c.Lines, 5)
	require.Equal(t, 437, c.Seats)
	require.NotContains(t, r.out, "DEMO-ACT", "activation IDs are masked")
	require.True(t, strings.HasSuffix(run(t, "", "entitlement", "check", file).out, "\nDEMO-ENT-2026-000123: 5 lines, 437 seats\n"))

	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var out bytes.Buffer
	code := cli.Run(t.Context(), cli.Options{Args: []string{"entitlement", "check", "-"}, In: bytes.NewReader(content), Out: &out})
	require.Zero(t, code)
	require.Contains(t, out.String(), "437 seats")

	bad := filepath.Join(t.TempDir(), "bad.html")
	require.NoError(t, os.WriteFile(bad, bytes.ReplaceAll(content, []byte("<td>160</td>"), []byte("<td>-160</td>")), 0o600))
	r = run(t, "", "entitlement", "check", bad)
	require.Equal(t, 3, r.code)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "hint: ")
	require.NotContains(t, r.err, "DEMO-ACT")
}

func TestImportsPrintTheirLine(t *testing.T) {
	file := filepath.Join("testdata", "hq.html")
	imported := client.EntitlementImported{EntitlementID: "E-1", Lines: 5, Seats: 437}
	require.Equal(t, result{0, "imported E-1: 5 lines, 437 seats\n", ""}, run(t, answering(t, 200, imported), "entitlement", "import", file))
	imported.Unchanged = true
	require.Equal(t, result{0, "unchanged E-1\n", ""}, run(t, answering(t, 200, imported), "entitlement", "import", file))
}

func TestAssignAndUnassignPrintTheirLine(t *testing.T) {
	address := answering(t, http.StatusOK, client.AssignResult{Servers: 5, SeatsHeld: 5, Left: 155})
	require.Equal(t, result{0, "assigned 5 servers, 5 seats held, 155 left\n", ""}, run(t, address, "assign", "--select", "", "--product", "P"))
	address = answering(t, http.StatusOK, client.AssignResult{Servers: 1, SeatsHeld: 1})
	require.Equal(t, "assigned 1 server, 1 seat held, 0 left\n", run(t, address, "assign", "--select", "", "--product", "P").out)
	address = answering(t, http.StatusOK, client.UnassignResult{Servers: 5, Changed: 3, Freed: 2, Returning: 1})
	require.Equal(t, "a return has begun: 1 seat held until the activation server's receipt; licet status shows how far it is\n"+
		"unassigned 3 servers, 2 seats freed, 1 returning\n", run(t, address, "unassign", "--select", "role=top", "--product", "P").out)
}

func TestCheckFailsOnAnyMismatch(t *testing.T) {
	one, none := 1, 0
	answer := client.CheckResult{Servers: 12, Assignments: 24, ActivationServer: true, Mismatches: []client.Mismatch{}}
	require.Equal(t, result{0, "servers=12 assignments=24 mismatches=0\n", ""}, run(t, answering(t, 200, answer), "check"))
	answer.Mismatches = []client.Mismatch{{Name: "Campus north", PartNumber: "P", Ledger: &one, Reported: &none, Phase: client.Activated, Problem: "the server holds 0"}}
	require.Equal(t, result{1, strings.Join([]string{
		"SERVER        PRODUCT  LEDGER  SERVER SAYS  ACTIVATION SERVER  PHASE      PROBLEM",
		"Campus north  P             1            0                  -  activated  the server holds 0",
		"servers=12 assignments=24 mismatches=1",
	}, "\n") + "\n", ""}, run(t, answering(t, 200, answer), "check"))
	require.Equal(t, 1, run(t, answering(t, 200, answer), "check", "-o", "json").code)
}

func TestAuditReadsEveryPage(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		last := len(asked) == 2
		id := int64(len(asked))
		_ = json.NewEncoder(w).Encode(client.Audit{Entries: []client.AuditEntry{{ID: id, Actor: "operator", Action: "assign"}}, More: !last})
	}))
	defer server.Close()
	r := run(t, server.URL, "audit", "list", "-o", "json")
	require.Zero(t, r.code, r.err)
	require.Equal(t, []string{"after=0&limit=1000", "after=1&limit=1000"}, asked)
	var all client.Audit
	require.NoError(t, json.Unmarshal([]byte(r.out), &all))
	require.Len(t, all.Entries, 2)
	asked = nil
	require.Zero(t, run(t, server.URL, "audit", "list", "--limit", "1").code)
	require.Equal(t, []string{"after=0&limit=1"}, asked)
}

// A full pipe or disk is a failure, not a success without output.
func TestOutputThatCannotBeWritten(t *testing.T) {
	r, w := io.Pipe()
	require.NoError(t, r.Close())
	for _, format := range []string{"table", "json", "yaml"} {
		require.Equal(t, 1, cli.Run(t.Context(), cli.Options{Args: []string{"version", "-o", format}, Out: w}))
	}
}
