package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scratch is a folder for the whole run, removed at its end.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "licet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	scratch = dir
	return m.Run()
}

// programs builds the binaries once, for the first story that needs them.
var programs = sync.OnceValues(func() (string, error) {
	build := exec.Command("go", "build", "-o", scratch+"/", "./agent/cmd/...", "./coordinator/cmd/...")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return scratch, nil
})

// storyLimit bounds a story: a thread that hangs is a failure with its logs, not a time-out of the whole run.
const storyLimit = 2 * time.Minute

// newThread is a thread on real processes that ends with the test.
func newThread(t *testing.T, o Options) (context.Context, *Thread) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), storyLimit, fmt.Errorf("the story took longer than %s", storyLimit))
	bin, err := programs()
	require.NoError(t, err)
	o.Bin, o.Samples, o.Log = bin, "testdata", t.Output()
	o.Dir = t.TempDir()
	thread, err := NewThread(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, thread.Stop())
		cancel()
		if t.Failed() {
			thread.showLogs(t)
		}
	})
	return ctx, thread
}

func (t *Thread) showLogs(test *testing.T) {
	paths, _ := filepath.Glob(t.path("logs", "*.log"))
	for _, path := range paths {
		test.Logf("%s:\n%s", filepath.Base(path), tail(path))
	}
}
