package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/coordinator"
)

// What cannot work is said in one line, with what to do next in another, and nothing is left behind.
func TestWhatCannotWorkIsSaidPlainly(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	port := taken.Addr().String()
	empty := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(empty, coordinator.DatabaseFile), nil, 0o600))
	fresh := func() string { return filepath.Join(t.TempDir(), "data") }

	for name, c := range map[string]struct {
		args []string
		code int
		line string
		hint string
	}{
		"no command":                 {nil, exitUsage, "a command is missing", "--help"},
		"an unknown command":         {[]string{"server"}, exitUsage, "server", "--help"},
		"an unknown flag":            {[]string{"serve", "--dada", "x"}, exitUsage, "--dada", "serve --help"},
		"no data folder":             {[]string{"serve"}, exitUsage, "--data is missing", "serve --help"},
		"a word too many":            {[]string{"serve", "now"}, exitUsage, `"now"`, "serve --help"},
		"a server without keys":      {[]string{"serve", "--data", fresh(), "--activation-server", "http://x"}, exitUsage, "go together", "serve --help"},
		"a data folder that is none": {[]string{"serve", "--data", filepath.Join(file, "data")}, exitFailed, "make the data folder", "--data"},
		"an HTTP port that is taken": {[]string{"serve", "--data", fresh(), "--http", port, "--mqtt", "127.0.0.1:0"}, exitFailed, "address already in use", "--http"},
		"an MQTT port that is taken": {[]string{"serve", "--data", fresh(), "--http", "127.0.0.1:0", "--mqtt", port}, exitFailed, "address already in use", "--mqtt"},
		"keys that are none":         {[]string{"serve", "--data", fresh(), "--activation-server", "http://x", "--activation-keys", file}, exitFailed, "read the activation server's keys", "GET /v1/keys"},
		"keys that are not there":    {[]string{"serve", "--data", fresh(), "--activation-server", "http://x", "--activation-keys", file + "s"}, exitFailed, "read the activation server's keys", "GET /v1/keys"},
		"a ready file in no folder":  {[]string{"serve", "--data", fresh(), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--ready-file", filepath.Join(file, "r")}, exitFailed, "write the ready file", "--ready-file"},
		"an empty database":          {[]string{"verify", "--data", empty}, exitFailed, "no database of Licet's", ""},
		"nothing to verify":          {[]string{"verify", "--data", dir}, exitFailed, "there is no database", "--data"},
		"verify what":                {[]string{"verify"}, exitUsage, "--data is missing", "verify --help"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), append(c.args, logless(c.args)...), &stdout, &stderr), stderr.String())
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			if c.hint == "" {
				lines = append(lines, "hint: ")
			}
			require.Len(t, lines, 2, stderr.String())
			require.True(t, strings.HasPrefix(lines[0], "licet-coordinator: "), lines[0])
			require.Contains(t, lines[0], c.line)
			require.True(t, strings.HasPrefix(lines[1], "hint: "), lines[1])
			require.Contains(t, lines[1], c.hint)
			require.Empty(t, stdout.String())
		})
	}
}

// logless keeps the log of a serve that got far out of the test's output.
func logless(args []string) []string {
	if len(args) > 1 && args[0] == "serve" && strings.HasPrefix(args[1], "--data") {
		return []string{"--log-level", "error"}
	}
	return nil
}

func TestServeThenVerify(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	ctx, stop := newContext(t)
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{
			"serve", "--data", dir, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
			"--ready-file", ready, "--log-level", "error",
		}, &bytes.Buffer{}, os.Stderr)
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(ready); return err == nil }, 20*time.Second, 10*time.Millisecond)
	data, err := os.ReadFile(ready)
	require.NoError(t, err)
	var r coordinator.Ready
	require.NoError(t, json.Unmarshal(data, &r))
	require.Equal(t, os.Getpid(), r.PID)

	var stdout, stderr bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"verify", "--data", dir}, &stdout, &stderr), stderr.String())
	require.Regexp(t, `^invariants=\d+ broken=0\n$`, stdout.String())
	stderr.Reset()
	require.Equal(t, exitFailed, run(t.Context(), []string{"serve", "--data", dir, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "another coordinator uses it")
	stop()
	require.Equal(t, exitDone, <-ended)
	require.NoFileExists(t, ready, "who waits for it next must not read this one's addresses")

	info, err := os.Stat(filepath.Join(dir, coordinator.DatabaseFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func newContext(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
