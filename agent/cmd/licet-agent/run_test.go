package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms/bmstest"
	"github.com/licet-project/licet/shared/mqttconn/mqtttest"
	"github.com/licet-project/licet/shared/protocol"
	"github.com/licet-project/licet/shared/signed"
)

// runVariable makes the test binary be licet-agent.
const runVariable = "LICET_AGENT_TEST_ARGUMENTS"

func TestMain(m *testing.M) {
	if arguments := os.Getenv(runVariable); arguments != "" {
		os.Args = append(os.Args[:1], strings.Split(arguments, "\n")...)
		main()
		return
	}
	os.Exit(m.Run())
}

// world is a broker on a TCP port and a simulated system over HTTPS.
type world struct {
	broker *mqtttest.Broker
	config string
	dir    string
}

func newWorld(t *testing.T) *world {
	w := &world{broker: mqtttest.New(), dir: t.TempDir()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.broker.Take(conn)
		}
	})
	t.Cleanup(func() { require.NoError(t, listener.Close()); accepting.Wait(); w.broker.Close() })

	key, err := signed.NewKey()
	require.NoError(t, err)
	system, err := bmstest.New(bmstest.Options{
		Dir: filepath.Join(w.dir, "bms"), Servers: []bmstest.Server{{HostID: "HOST-1"}}, Keys: signed.NewKeySet(key.Public()),
	})
	require.NoError(t, err)
	require.NoError(t, system.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, system.Close()) })
	trust, err := system.TrustFile()
	require.NoError(t, err)
	w.config = filepath.Join(w.dir, "agent.yaml")
	require.NoError(t, os.WriteFile(w.config, []byte("agent: agent-1\nbroker: tcp://"+listener.Addr().String()+"\ndata: "+filepath.Join(w.dir, "data")+
		"\nsystems:\n  - {address: "+system.URL()+", trust: "+trust+"}\n"), 0o600))
	return w
}

// presence waits until the agent has said the state.
func (w *world) presence(t *testing.T, state protocol.State) {
	require.Eventually(t, func() bool {
		for _, m := range w.broker.Published() {
			if p, err := protocol.Decode[protocol.Presence](m.Payload); err == nil && p.State == state {
				return true
			}
		}
		return false
	}, 20*time.Second, 5*time.Millisecond, "presence %s", state)
}

func (w *world) reported(t *testing.T) protocol.Report {
	var report protocol.Report
	require.Eventually(t, func() bool {
		for _, m := range w.broker.Published() {
			if topic, err := protocol.ParseTopic(m.Topic); err == nil && topic.Kind == protocol.KindReported {
				document, err := protocol.Decode[protocol.Reported](m.Payload)
				require.NoError(t, err)
				report, err = protocol.DecodeReport(document.Report)
				require.NoError(t, err)
				return true
			}
		}
		return false
	}, 20*time.Second, 5*time.Millisecond)
	return report
}

// start runs licet-agent as a process.
func start(t *testing.T, args ...string) (process *exec.Cmd, stderr *bytes.Buffer) {
	process = exec.Command(os.Args[0])
	process.Env = append(os.Environ(), runVariable+"="+strings.Join(args, "\n"))
	stderr = &bytes.Buffer{}
	process.Stderr = stderr
	require.NoError(t, process.Start())
	t.Cleanup(func() { _ = process.Process.Kill(); _, _ = process.Process.Wait() })
	return process, stderr
}

func TestProcessReportsAndStopsInGoodOrder(t *testing.T) {
	w := newWorld(t)
	ready := filepath.Join(w.dir, "ready")
	process, stderr := start(t, "run", "--config", w.config, "--ready-file", ready)
	report := w.reported(t)
	require.Equal(t, "HOST-1", report.Facts.HostID)
	require.NotEmpty(t, report.Facts.CertificateID)
	require.Equal(t, version, report.Facts.AgentVersion)

	content, err := os.ReadFile(ready)
	require.NoError(t, err)
	var said struct{ PID int }
	require.NoError(t, json.Unmarshal(content, &said))
	require.Equal(t, process.Process.Pid, said.PID)

	second, problems := start(t, "run", "--config", w.config)
	err = second.Wait()
	require.ErrorContains(t, err, "exit status 3")
	require.Contains(t, problems.String(), "another agent uses this folder\nhint: stop the other agent")

	require.NoError(t, process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, process.Wait(), "exit code 0: %s", stderr)
	w.presence(t, protocol.Stopping)
	require.NoFileExists(t, ready)
	for _, m := range w.broker.Published() {
		require.False(t, m.Will, "a clean end leaves no will")
	}
}

func TestProcessThatIsKilledLeavesItsWill(t *testing.T) {
	w := newWorld(t)
	process, _ := start(t, "run", "--config", w.config)
	w.presence(t, protocol.Online)
	require.NoError(t, process.Process.Kill())
	_ = process.Wait()
	w.presence(t, protocol.Offline)

	again, _ := start(t, "run", "--config", w.config) // the lock went with the process
	require.Eventually(t, func() bool { return len(w.broker.Connects()) == 2 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, again.Process.Signal(syscall.SIGINT))
	require.NoError(t, again.Wait())
}

func TestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"version"}, exitDone, ""},
		{[]string{}, exitUsage, "licet-agent: read the command line: a command is missing\nhint: licet-agent --help\n"},
		{[]string{"rum"}, exitUsage, `there is no command "rum"`},
		{[]string{"run", "--confg", "x"}, exitUsage, "unknown flag: --confg\nhint: licet-agent run --help\n"},
		{[]string{"run", "x"}, exitUsage, `"x" is not understood here`},
		{[]string{"run", "--config", "testdata/none.yaml"}, exitUsage, "no such file or directory"},
		{[]string{"run", "--config", "testdata/good.yaml", "--log-level", "loud"}, exitUsage, `--log-level is "loud"`},
		{[]string{"run", "--config", "testdata/good.yaml", "--data", file}, exitFailed, "licet-agent: start the agent: open the data folder: mkdir " + file},
	} {
		var out, problems bytes.Buffer
		require.Equal(t, c.code, run(context.Background(), c.args, &out, &problems), "%v: %s", c.args, &problems)
		require.Contains(t, problems.String(), c.want)
	}
}
