package cli_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/api"
	"github.com/licet-project/licet/coordinator/internal/api/apitest"
	"github.com/licet-project/licet/coordinator/internal/cli"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/exchange"
)

// TestMain lets the scripts run licet as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"licet": func() {
		os.Exit(cli.Run(context.Background(), cli.Options{
			Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Version: "test",
		}))
	}})
}

// TestStories runs every story of testdata/stories against a real API over a real database. Beyond the coordinator is a
// field (apitest). Commands of the scripts besides testscript's own:
//
//	code N licet ...            runs licet, which must exit with N
//	field run                   agents and activation server do their work from now on
//	field refuse PRODUCT [CODE] the activation server refuses raises of the product, or no longer
//	field lose HOST-ID          the server's store is emptied behind everybody's back
func TestStories(t *testing.T) {
	stories, err := filepath.Glob(filepath.Join("testdata", "stories", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, stories)
	for _, engine := range dbtest.Engines() {
		for _, story := range stories {
			t.Run(string(engine)+"/"+strings.TrimSuffix(filepath.Base(story), ".txt"), func(t *testing.T) {
				d := dbtest.Open(t, dbtest.DSN(t, engine), db.Options{})
				tell(t, d, story)
			})
		}
	}
}

// tell runs one story.
func tell(t *testing.T, d *db.DB, story string) {
	field := apitest.New(d)
	a, err := api.New(api.Options{DB: d, Ask: field.Ask, ActivationServer: field, Version: "test"})
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(nil)
	server.Config = a.Server()
	server.Start()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { // the script runs in parallel: tell has returned by then
		stop()
		running.Wait()
		a.Stop()
		server.Close()
	})
	testscript.Run(t, testscript.Params{
		Files: []string{story},
		Setup: func(env *testscript.Env) error {
			env.Setenv("LICET_URL", server.URL)
			return os.CopyFS(env.WorkDir, apitest.Samples())
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": code,
			"field": func(ts *testscript.TestScript, _ bool, args []string) {
				switch {
				case len(args) == 1 && args[0] == "run":
					running.Go(func() {
						if err := field.Run(ctx); err != nil {
							t.Errorf("the field: %v", err)
						}
					})
				case len(args) == 2 && args[0] == "refuse":
					field.Refuse(args[1], "")
				case len(args) == 3 && args[0] == "refuse":
					field.Refuse(args[1], exchange.Code(args[2]))
				case len(args) == 2 && args[0] == "lose":
					field.Lose(args[1])
				default:
					ts.Fatalf("field does not know %q", args)
				}
			},
		},
	})
}

// code runs a command that must exit with a code.
func code(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: code N command ...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// The samples are those of the kit; a story that changes one makes its own copy.
func TestSamplesAreThere(t *testing.T) {
	names, err := fs.Glob(apitest.Samples(), "*")
	require.NoError(t, err)
	require.Len(t, names, 5)
}
