package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// machine is a machine that systemd runs: the unit goes to a home folder, and a script stands in for systemctl. It notes
// how it was called, and knows of the unit what the files say.
type machine struct {
	t    *testing.T
	home string
	m    manager
}

const systemctl = `#!/bin/sh
echo "$@" >> "$HOME/calls"
unit="$HOME/.config/systemd/user/licet-agent.service"
case "$1 $2" in
"--version"*) echo "systemd 252" ;;
"is-active"*)
	if [ -e "$HOME/running" ]; then echo active; else echo inactive; exit 3; fi ;;
"list-unit-files"*) if [ -e "$unit" ]; then echo "licet-agent.service enabled"; fi ;;
"enable"*) if [ -e "$HOME/refuse" ]; then echo "access denied" >&2; exit 1; fi ;;
"start"*) touch "$HOME/running" ;;
"stop"*) rm -f "$HOME/running" ;;
esac
`

func newMachine(t *testing.T) *machine {
	home := t.TempDir()
	t.Setenv("HOME", home)
	bin := filepath.Join(home, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	m := manager{user: true, unit: filepath.Join(home, ".config/systemd/user", serviceName+".service")}
	for _, s := range service.AvailableSystems() {
		if s.String() == "linux-systemd" {
			m.system = s
		}
	}
	require.NotNil(t, m.system)
	return &machine{t: t, home: home, m: m}
}

// do runs a service command.
func (m *machine) do(args ...string) (code int, stdout, stderr string) {
	var out, problems bytes.Buffer
	root := &cobra.Command{Use: "licet-agent", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(serviceCommands(m.m)...)
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(io.Discard)
	if err := root.ExecuteContext(context.Background()); err != nil {
		code = explain(&problems, err)
	}
	return code, out.String(), problems.String()
}

func (m *machine) install() (code int, stdout, stderr string) {
	return m.do("install", "--config", "testdata/good.yaml", "--data", filepath.Join(m.home, "data"))
}

func (m *machine) file(path string) string {
	text, err := os.ReadFile(path)
	require.NoError(m.t, err)
	return string(text)
}

func TestInstall(t *testing.T) {
	m := newMachine(t)
	code, out, problems := m.install()
	require.Zero(t, code, problems)
	require.Equal(t, "installed; licet-agent start starts it\n", out)

	config, err := filepath.Abs("testdata/good.yaml")
	require.NoError(t, err)
	unit := m.file(m.m.unit)
	data := filepath.Join(m.home, "data")
	for _, line := range []string{
		"Description=Licet agent: licenses of BMS servers", "Restart=on-failure", "After=network-online.target", "Wants=network-online.target",
		`"run" "--config" "` + config + `" "--agent" "agent-hq" "--broker" "tcp://127.0.0.1:1883" "--data" "` + data + `"`, "WantedBy=multi-user.target",
	} {
		require.Contains(t, unit, line)
	}
	added := m.file(filepath.Join(m.m.unit+".d", dropinName))
	require.Contains(t, added, "RestartSec=5\n")
	require.Contains(t, added, `ReadWritePaths="`+data+`"`)
	require.Contains(t, added, "NoNewPrivileges=yes\n")
	info, err := os.Stat(data)
	require.NoError(t, err, "made, since the unit may write nowhere else")
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.Contains(t, m.file(filepath.Join(m.home, "calls")), "enable --user licet-agent.service\ndaemon-reload --user\n")

	code, _, problems = m.install()
	require.Equal(t, exitRefused, code)
	require.Equal(t, "licet-agent: install the service: it is installed already (stopped)\nhint: licet-agent uninstall, then install again\n", problems)
}

func TestServiceLife(t *testing.T) {
	m := newMachine(t)
	for _, command := range []string{"start", "stop", "uninstall"} {
		code, _, problems := m.do(command)
		require.Equal(t, exitRefused, code)
		require.Contains(t, problems, "licet-agent: "+command+" the service: it is not installed\n")
	}
	code, out, _ := m.do("status")
	require.Equal(t, exitFailed, code)
	require.Equal(t, "not installed\n", out)

	code, _, problems := m.install()
	require.Zero(t, code, problems)
	for _, step := range []struct {
		command, out string
		code         int
	}{
		{"status", "stopped\n", exitFailed},
		{"start", "started; licet-agent status tells how it is\n", exitDone},
		{"status", "running\n", exitDone},
		{"stop", "stopped\n", exitDone},
		{"status", "stopped\n", exitFailed},
		{"start", "started; licet-agent status tells how it is\n", exitDone},
		{"uninstall", "uninstalled; the data folder is still there\n", exitDone},
	} {
		code, out, problems := m.do(step.command)
		require.Equal(t, step.code, code, "%s: %s", step.command, problems)
		require.Equal(t, step.out, out)
	}
	require.NoFileExists(t, m.m.unit)
	require.NoDirExists(t, m.m.unit+".d")
	require.NoFileExists(t, filepath.Join(m.home, "running"))
	require.DirExists(t, filepath.Join(m.home, "data"))
}

func TestInstallThatFailsLeavesNothing(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, os.WriteFile(filepath.Join(m.home, "refuse"), nil, 0o600))
	code, _, problems := m.install()
	require.Equal(t, exitFailed, code)
	require.Equal(t, "licet-agent: install the service: exit status 1\nhint: installing needs the rights of root\n", problems)
	require.NoFileExists(t, m.m.unit)
	require.NoDirExists(t, m.m.unit+".d")
}

func TestInstallRefuses(t *testing.T) {
	m := newMachine(t)
	code, _, problems := m.do("install", "--config", "testdata/bad/agent-name.yaml")
	require.Equal(t, exitUsage, code)
	require.Contains(t, problems, `agent: "Agent HQ" is not`)
	code, _, problems = m.do("install", "--config", "testdata/good.yaml", "--data", filepath.Join(m.home, "100%"))
	require.Equal(t, exitFailed, code)
	require.Contains(t, problems, "choose a path without %")
	require.NoFileExists(t, m.m.unit)
}

func TestMachineWithoutSystemd(t *testing.T) {
	m := &machine{t: t}
	for _, args := range [][]string{{"start"}, {"stop"}, {"status"}, {"uninstall"}, {"install", "--config", "testdata/good.yaml", "--data", t.TempDir()}} {
		code, _, problems := m.do(args...)
		require.Equal(t, exitRefused, code)
		require.Equal(t, "licet-agent: "+args[0]+" the service: this machine is not run by systemd\n"+
			"hint: start `licet-agent run --config FILE` with this machine's own service manager\n", problems)
	}
	if systemd().system == nil {
		t.Log("this machine is not run by systemd")
	}
}

func TestDropinHasNoDuplicatesAndOnlyKnownForms(t *testing.T) {
	seen := make(map[string]bool)
	for line := range strings.Lines(dropin("/var/lib/licet")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			continue
		}
		key, _, found := strings.Cut(line, "=")
		require.True(t, found, line)
		require.False(t, seen[key], key)
		seen[key] = true
	}
}
