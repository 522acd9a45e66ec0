package e2e

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/crash"
)

// Every named instant at which a process may die is tried once on the real binaries: the process dies there, comes back as
// a service would, and in the end ledger, servers and activation server agree.
func TestEveryCrashPoint(t *testing.T) {
	points := crashPoints(t)
	require.NotEmpty(t, points)
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel()
			env := map[string][]string{}
			for _, program := range point.programs {
				env[program] = []string{crash.Variable + "=" + point.name}
			}
			ctx, thread := newThread(t, Options{Sites: []string{"harbour"}, Endure: true, Env: env})
			thread.wholeLife(ctx, t)
			require.NotEmpty(t, thread.Deaths(), "nothing died at %s: the story does not pass it", point.name)
			require.True(t, thread.logsContain(t, "crash: "+point.name))
		})
	}
}

// A reply that is lost after its commit changes nothing either.
func TestDroppedReplies(t *testing.T) {
	for _, operation := range []string{"request", "report", "confirm", "release"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			ctx, thread := newThread(t, Options{Sites: []string{"harbour"}, Endure: true})
			require.NoError(t, thread.StartServers(ctx))
			faults := thread.Process(roleActivation).Ready.Listen + "/v1/faults"
			_, err := call(ctx, "POST", faults, fmt.Sprintf(`{"fault":"drop-reply","after":"commit","count":2,"operation":%q}`, operation))
			require.NoError(t, err)
			require.NoError(t, thread.StartAgents(ctx))
			thread.live(ctx, t)
			struck, err := call(ctx, "GET", faults, "")
			require.NoError(t, err)
			require.Contains(t, string(struck), `"struck":2`, "the fault never struck")
		})
	}
}

// wholeLife is a server's life with every kind of step: adopt, assign, activate, change, return.
func (t *Thread) wholeLife(ctx context.Context, test *testing.T) {
	test.Helper()
	require.NoError(test, t.Start(ctx))
	t.live(ctx, test)
}

func (t *Thread) live(ctx context.Context, test *testing.T) {
	test.Helper()
	t.insist(ctx, test, "catalog", "import", "testdata/catalog.yaml")
	t.insist(ctx, test, "site", "import", "testdata/sites.yaml")
	inventory, err := t.inventory()
	require.NoError(test, err)
	t.insist(ctx, test, "server", "import", inventory)
	require.NoError(test, t.printCertificate(ctx, "DEMO-ENT-2026-000123", "plain", t.path("hq.html")))
	t.insist(ctx, test, "entitlement", "import", t.path("hq.html"))

	t.insist(ctx, test, "assign", "--select", "role=top", "--product", "SAMPLE-DEV-100", "--count", "2")
	t.insist(ctx, test, "assign", "--select", "", "--product", "SAMPLE-SNMP", "--count", "1")
	t.insist(ctx, test, "activate", "--select", "", "--watch")
	t.insist(ctx, test, "assign", "--select", "role=top", "--product", "SAMPLE-DEV-100", "--count", "1")
	t.insist(ctx, test, "unassign", "--select", "role=field", "--product", "SAMPLE-SNMP")
	t.insist(ctx, test, "activate", "--select", "", "--watch")

	for role := range t.processesNow() {
		require.NoError(test, t.Await(ctx, role))
	}
	out := t.insist(ctx, test, "check")
	require.Equal(test, "servers=2 assignments=2 mismatches=0", LastLine(out))
	verdict, err := t.Verify(ctx)
	require.NoError(test, err)
	require.Regexp(test, `^invariants=\d+ broken=0$`, verdict)
}

func (t *Thread) processesNow() map[string]*Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.processes)
}

// insist runs a command of the operator until it went through: as a person would after "could not reach".
func (t *Thread) insist(ctx context.Context, test *testing.T, args ...string) string {
	test.Helper()
	const tries = 5
	var out string
	var err error
	for range tries {
		require.NoError(test, t.Await(ctx, roleCoordinator))
		out, err = t.cli.Run(ctx, args...)
		if exit := (*ExitError)(nil); err == nil || !errors.As(err, &exit) || exit.Code != 4 && exit.Code != 1 {
			break
		}
	}
	require.NoError(test, err, "%s: %s", strings.Join(args, " "), out)
	return out
}

func (t *Thread) logsContain(test *testing.T, text string) bool {
	test.Helper()
	paths, err := filepath.Glob(t.path("logs", "*.log"))
	require.NoError(test, err)
	return slices.ContainsFunc(paths, func(path string) bool {
		data, err := os.ReadFile(path)
		require.NoError(test, err)
		return strings.Contains(string(data), text+"\n")
	})
}

type crashPoint struct {
	name     string
	programs []string // that link the package of the point
}

// crashPoints collects every crash.At of the source. Names are literals and unique, or the test fails.
func crashPoints(t *testing.T) []crashPoint {
	t.Helper()
	top, err := filepath.Abs("../../..")
	require.NoError(t, err)
	programs := map[string][]string{} // import path -> programs
	for program, path := range map[string]string{
		"licet-agent": "./agent/cmd/licet-agent", "licet-sim": "./agent/cmd/licet-sim", "licet-coordinator": "./coordinator/cmd/licet-coordinator",
	} {
		list := exec.Command("go", "list", "-deps", path)
		list.Dir = top
		out, err := list.Output()
		require.NoError(t, err)
		for dep := range strings.FieldsSeq(string(out)) {
			programs[dep] = append(programs[dep], program)
		}
	}
	var points []crashPoint
	seen := map[string]token.Position{}
	for _, module := range []string{"shared", "agent", "coordinator"} {
		err := filepath.WalkDir(filepath.Join(top, module), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(top, filepath.Dir(path))
			if err != nil {
				return err
			}
			importPath := "github.com/licet-project/licet/" + filepath.ToSlash(relative)
			ast.Inspect(file, func(node ast.Node) bool {
				name, ok := crashAt(t, files, node)
				if ok {
					require.NotContains(t, seen, name, "%s is named twice", name)
					seen[name] = files.Position(node.Pos())
					points = append(points, crashPoint{name, programs[importPath]})
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	slices.SortFunc(points, func(a, b crashPoint) int { return strings.Compare(a.name, b.name) })
	return points
}

// crashAt is the name of a call of crash.At.
func crashAt(t *testing.T, files *token.FileSet, node ast.Node) (string, bool) {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return "", false
	}
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || function.Sel.Name != "At" {
		return "", false
	}
	if pkg, ok := function.X.(*ast.Ident); !ok || pkg.Name != "crash" {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	require.True(t, ok, "%s: the name of a crash point is a string literal", files.Position(node.Pos()))
	name, err := strconv.Unquote(literal.Value)
	require.NoError(t, err)
	return name, true
}
