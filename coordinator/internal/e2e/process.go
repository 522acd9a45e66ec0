// Package e2e runs the real binaries as an outsider would: processes, TCP, MQTT, files. The demo is one user of it, the
// stories and the crash test are others. It looks at Licet through its command line and its ready files alone.
package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Command says how to start one process.
type Command struct {
	Program string   // path of the binary
	Args    []string // without --ready-file
	Env     []string // added to this process's own
	Log     string   // file that takes standard output and error, appended
	Ready   string   // ready file to wait for; empty: ready at once
}

// Process is a started program. Whoever started it stops it; the kernel ends it if its starter dies first.
type Process struct {
	Command Command
	Ready   Ready // as of the last start

	cmd    *exec.Cmd
	ended  chan struct{} // closed once Wait has returned
	result error         // owned by the waiting goroutine until ended is closed
	stop   sync.Once
}

// Ready is what a program writes once it serves.
type Ready struct {
	PID     int    `json:"pid"`
	HTTP    string `json:"http,omitempty"`
	MQTT    string `json:"mqtt,omitempty"`
	Listen  string `json:"listen,omitempty"`
	Metrics string `json:"metrics,omitempty"`
	Systems []struct {
		Name    string   `json:"name"`
		HostID  string   `json:"host_id"`
		Address string   `json:"address"`
		Trust   string   `json:"trust"`
		Servers []string `json:"servers"`
	} `json:"systems,omitempty"`
}

const (
	startLimit = 30 * time.Second // until a ready file is there
	stopLimit  = 10 * time.Second // between SIGTERM and SIGKILL
)

// Start starts the program and waits until it serves.
func Start(ctx context.Context, c Command) (*Process, error) {
	name := filepath.Base(c.Program)
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()

	var watch *fsnotify.Watcher
	if c.Ready != "" {
		_ = os.Remove(c.Ready)
		c.Args = append(append([]string{}, c.Args...), "--ready-file", c.Ready)
		if watch, err = watchFolder(filepath.Dir(c.Ready)); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		defer func() { _ = watch.Close() }()
	}
	p := &Process{Command: c, ended: make(chan struct{})}
	p.cmd = exec.Command(c.Program, c.Args...)
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = ownGroup()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	if watch == nil {
		return p, nil
	}
	if err := p.awaitReady(ctx, watch); err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("start %s: %w: %s", name, err, tail(c.Log))
	}
	return p, nil
}

func watchFolder(dir string) (*fsnotify.Watcher, error) {
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return watch, watch.Add(dir)
}

// awaitReady looks at the file whenever its folder changes.
func (p *Process) awaitReady(ctx context.Context, watch *fsnotify.Watcher) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, errors.New("it did not serve in time"))
	defer cancel()
	for {
		data, err := os.ReadFile(p.Command.Ready)
		if err == nil && json.Unmarshal(data, &p.Ready) == nil {
			return nil
		}
		select {
		case <-watch.Events:
		case err := <-watch.Errors:
			return err
		case <-p.ended:
			return &EndedError{Killed: p.Killed(), err: p.result}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// EndedError is a process that ended before it served.
type EndedError struct {
	Killed bool
	err    error // nil: with exit code 0
}

func (e *EndedError) Error() string { return fmt.Sprintf("it ended before it served (%v)", e.err) }

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err is how the process ended; only after Ended.
func (p *Process) Err() error { return p.result }

// Killed reports whether the process died of SIGKILL; only after Ended.
func (p *Process) Killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Stop asks the process to end, and insists after a while. Stopping twice is the same as once.
func (p *Process) Stop() error {
	p.stop.Do(func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) })
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-p.ended:
		if p.result != nil && !p.Killed() {
			return fmt.Errorf("stop %s: %w: %s", filepath.Base(p.Command.Program), p.result, tail(p.Command.Log))
		}
		return nil
	case <-timer.C:
		_ = p.Kill()
		return fmt.Errorf("stop %s: it did not end within %s", filepath.Base(p.Command.Program), stopLimit)
	}
}

// Kill ends the process at once and waits until it is gone.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// tail is the last lines of a log, for a person.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
