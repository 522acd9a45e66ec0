package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// The main job as an outsider runs it, with the last lines that are a contract.
func TestMainJob(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			o := Options{}
			if engine == dbtest.Postgres {
				o.Database = dbtest.DSN(t, engine)
			}
			ctx, thread := newThread(t, o)
			require.NoError(t, thread.Start(ctx))
			require.NoError(t, thread.Import(ctx))

			licet := func(want string, args ...string) {
				t.Helper()
				out, err := thread.CLI().Run(ctx, args...)
				require.NoError(t, err)
				require.Equal(t, want, LastLine(out), strings.Join(args, " "))
			}
			licet("unchanged DEMO-ENT-2026-000123", "entitlement", "import", thread.path("hq.html"))
			licet("assigned 1 server, 1 seat held, 54 left", Assignments[0]...)
			licet("assigned 5 servers, 5 seats held, 155 left", Assignments[1]...)
			licet("assigned 6 servers, 12 seats held, 1013 left", Assignments[2]...)
			licet("assigned 12 servers, 12 seats held, 188 left", Assignments[3]...)
			licet("activated=24 failed=0", "activate", "--select", "", "--watch")
			licet("servers=12 assignments=24 mismatches=0", "check")

			counts, err := thread.Check(ctx)
			require.NoError(t, err)
			require.Equal(t, "servers=12 assignments=24 activated=24 mismatches=0", counts)
			verdict, err := thread.Verify(ctx)
			require.NoError(t, err)
			require.Regexp(t, `^invariants=\d+ broken=0$`, verdict)
		})
	}
}

// One fact changed behind Licet's back is one mismatch, wherever it was changed.
func TestCheckNoticesOneChangedFact(t *testing.T) {
	for _, where := range Breakable {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			ctx, thread := newThread(t, Options{Sites: []string{"harbour"}})
			require.NoError(t, thread.Start(ctx))
			require.NoError(t, thread.Import(ctx))
			for _, step := range Assignments[1:] { // the first is for headquarters
				_, err := thread.CLI().Run(ctx, step...)
				require.NoError(t, err)
			}
			require.NoError(t, thread.Activate(ctx))
			require.NoError(t, thread.Break(ctx, where))
			counts, err := thread.Check(ctx)
			require.ErrorContains(t, err, "exit 1")
			require.Contains(t, counts, "servers=2 assignments=4")
			require.Contains(t, counts, "mismatches=1")
		})
	}
}

// Coordinator and broker away: the agents go on and catch up.
func TestCoordinatorAway(t *testing.T) {
	ctx, thread := newThread(t, Options{Sites: []string{"harbour"}})
	require.NoError(t, thread.Start(ctx))
	require.NoError(t, thread.Import(ctx))
	_, err := thread.CLI().Run(ctx, "assign", "--select", "", "--product", "SAMPLE-SNMP", "--count", "1")
	require.NoError(t, err)
	require.NoError(t, thread.Restart(ctx, roleCoordinator))
	out, err := thread.CLI().Run(ctx, "activate", "--select", "", "--watch")
	require.NoError(t, err)
	require.Equal(t, "activated=2 failed=0", LastLine(out))
	for _, role := range thread.Roles() {
		require.NoError(t, thread.Restart(ctx, role), role)
	}
	out, err = thread.CLI().Run(ctx, "check")
	require.NoError(t, err)
	require.Equal(t, "servers=2 assignments=2 mismatches=0", LastLine(out))
}

// Every command of the README runs and prints what the README says.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	_, block, found := strings.Cut(string(readme), "## The main job, step by step\n\n```sh\n")
	require.True(t, found)
	block, _, found = strings.Cut(block, "```")
	require.True(t, found)

	ctx, thread := newThread(t, Options{})
	require.NoError(t, thread.Start(ctx))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(thread.options.Bin, filepath.Join(dir, "bin")))
	require.NoError(t, os.Symlink(thread.path("coordinator"), filepath.Join(dir, "licet")))
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata")))
	servers := regexp.MustCompile(`^(make|curl|export)|licet-sim (activation|bms)-server|licet-coordinator serve|licet-agent run`)
	ran := 0
	for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
		if line == "" || servers.MatchString(line) {
			continue // the thread runs those
		}
		command, comment, _ := strings.Cut(line, " # ")
		shell := exec.CommandContext(ctx, "sh", "-c", command)
		shell.Dir = dir
		shell.Env = append(os.Environ(), "LICET_URL="+thread.CLI().URL)
		out, err := shell.CombinedOutput()
		require.NoError(t, err, "%s\n%s", line, out)
		if strings.HasPrefix(comment, "imported ") {
			require.Equal(t, comment, LastLine(string(out)), line)
		}
		ran++
	}
	require.GreaterOrEqual(t, ran, 10)
}
