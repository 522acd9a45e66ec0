package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/exchange/exchangetest"
	"github.com/licet-project/licet/shared/signed"
)

// asProgram makes this test binary the real program, so that tests can kill it.
const asProgram = "LICET_SIM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a real licet-sim activation-server.
type process struct {
	cmd    *exec.Cmd
	ready  string
	URL    string
	client *exchange.Client
	read   chan struct{} // closed when standard error is read to its end
}

func activationServerArgs(dir string) []string {
	return []string{
		"activation-server", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--orders", "testdata/orders.yaml",
		"--catalog", "testdata/catalog.yaml", "--ready-file", filepath.Join(dir, "ready.json"),
	}
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], activationServerArgs(dir)...), ready: filepath.Join(dir, "ready.json"), read: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.read; _ = p.cmd.Wait() })
	serves := make(chan struct{})
	go func() {
		defer close(p.read)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "activation server serves") {
				close(serves)
			}
		}
	}()
	select {
	case <-serves:
	case <-p.read:
		require.FailNow(t, "the activation server ended at once")
	}
	data, err := os.ReadFile(p.ready)
	require.NoError(t, err)
	var ready map[string]any
	require.NoError(t, json.Unmarshal(data, &ready))
	require.Equal(t, map[string]any{"pid": float64(p.cmd.Process.Pid), "listen": ready["listen"]}, ready)
	p.URL = ready["listen"].(string)
	require.True(t, strings.HasPrefix(p.URL, "http://127.0.0.1:"), p.URL)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p.client = &exchange.Client{Base: p.URL, HTTP: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
	return p
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	<-p.read
	require.Error(t, p.cmd.Wait())
}

// traffic is what hosts said and were answered, by message.
type traffic struct {
	mu      sync.Mutex
	answers map[string][]byte
	enough  chan struct{} // closed after as many answers as were wanted
	want    int
}

func (a *traffic) add(message, answer []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[string(message)] = answer
	if len(a.answers) == a.want {
		close(a.enough)
	}
}

// run exchanges until the server is gone.
func (a *traffic) run(ctx context.Context, client *exchange.Client, h *exchangetest.Host) error {
	send := func(message []byte, err error) ([]byte, bool, error) {
		if err != nil {
			return nil, false, err
		}
		answer, err := client.Post(ctx, message)
		if err != nil {
			return nil, false, nil // killed
		}
		a.add(message, answer)
		return answer, true, nil
	}
	for g := int64(1); ; g++ {
		order := exchange.Order{Epoch: 1, Generation: g}
		response, goOn, err := send(h.Request(order, map[string]int{"DEMO-ACT-7f3a-0005": int(g % 4)}))
		if !goOn {
			return err
		}
		if _, goOn, err = send(h.Apply(response)); !goOn {
			return err
		}
	}
}

func TestActivationServerComesBackExactAfterAKill(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	keys, err := p.client.Keys(t.Context())
	require.NoError(t, err)
	seen := &traffic{answers: map[string][]byte{}, enough: make(chan struct{}), want: 60}
	var hosts sync.WaitGroup
	errs := make(chan error, 4)
	for i := range 4 {
		h, err := exchangetest.NewHost(fmt.Sprintf("DEMO-host-%d", i), func() signed.KeySet { return keys })
		require.NoError(t, err)
		hosts.Go(func() { errs <- seen.run(t.Context(), p.client, h) })
	}
	<-seen.enough
	p.kill(t)
	hosts.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}

	p = startProcess(t, dir)
	again, err := p.client.Keys(t.Context())
	require.NoError(t, err)
	require.Equal(t, keys, again)
	for message, want := range seen.answers {
		got, err := p.client.Post(t.Context(), []byte(message))
		require.NoError(t, err)
		require.Equal(t, want, got, "the same bytes, over a kill")
	}
	taken := 0
	for i := range 4 {
		state, err := p.client.HostState(t.Context(), fmt.Sprintf("DEMO-host-%d", i))
		require.NoError(t, err)
		for _, r := range state.Rights {
			taken += r.Count + r.Pending
		}
	}
	require.LessOrEqual(t, taken, 12)

	info, err := os.Stat(filepath.Join(dir, "data", "signing.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(dir, "data"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		require.NoError(t, p.cmd.Process.Signal(signal))
		<-p.read
		require.NoError(t, p.cmd.Wait(), "a clean end has exit code 0")
		require.NoFileExists(t, p.ready)
		p = startProcess(t, dir)
	}
}

func TestActivationServerThatCannotStartSaysWhy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	damaged := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "journal"), []byte("garbage\nmore\n"), 0o600))
	used := t.TempDir()
	other, err := exchangetest.New(exchangetest.Options{Dir: used})
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()

	for name, c := range map[string]struct {
		flag, value string
		code        int
		want        string
	}{
		"data is a file":     {"--data", file, exitFailed, "licet-sim: start the activation server: make the data folder: mkdir"},
		"data cannot be":     {"--data", "/proc/none", exitFailed, "licet-sim: start the activation server: make the data folder: mkdir"},
		"data is in use":     {"--data", used, exitFailed, "another process uses it: " + used},
		"data is damaged":    {"--data", damaged, exitFailed, "the record at byte 0: it is damaged"},
		"port is taken":      {"--listen", listener.Addr().String(), exitFailed, "address already in use"},
		"address is none":    {"--listen", "nowhere", exitFailed, "licet-sim: start the activation server: listen tcp"},
		"no orders":          {"--orders", "none.yaml", exitFailed, "licet-sim: read what is sold: open none.yaml"},
		"orders are none":    {"--orders", "testdata/catalog.yaml", exitFailed, "testdata/catalog.yaml: orders line"},
		"catalog is none":    {"--catalog", "testdata/orders.yaml", exitFailed, "testdata/orders.yaml: catalog line"},
		"ready file cannot":  {"--ready-file", filepath.Join(file, "x"), exitFailed, "the ready file"},
		"data is missing":    {"--data", "", exitUsage, "licet-sim: read the command line: --data is missing"},
		"catalog is missing": {"--catalog", "", exitUsage, "licet-sim: read the command line: --catalog is missing"},
		"an unknown flag":    {"--date", "x", exitUsage, "licet-sim: read the command line: unknown flag: --date"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			args := append(activationServerArgs(dir), c.flag, c.value)
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), args, &stdout, &stderr), stderr.String())
			require.Contains(t, stderr.String(), c.want)
			require.Contains(t, stderr.String(), "\nhint: ")
			require.Empty(t, stdout.String())
			require.NoFileExists(t, filepath.Join(dir, "ready.json"))
			require.NotContains(t, stderr.String(), "DEMO-")
		})
	}
}

func TestCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"help":               {[]string{"--help"}, exitDone, "activation-server", ""},
		"help for a command": {[]string{"activation-server", "--help"}, exitDone, "--ready-file", ""},
		"nothing":            {nil, exitUsage, "", "licet-sim: read the command line: a command is missing\nhint: licet-sim --help\n"},
		"no such command":    {[]string{"fly"}, exitUsage, "", "licet-sim: read the command line: there is no command \"fly\"\nhint: licet-sim --help\n"},
		"no such flag":       {[]string{"--fly"}, exitUsage, "", "licet-sim: read the command line: unknown flag: --fly\nhint: licet-sim --help\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), c.args, &stdout, &stderr))
			require.Contains(t, stdout.String(), c.stdout)
			require.Equal(t, c.stderr, stderr.String())
		})
	}
}
