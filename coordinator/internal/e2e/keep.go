package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// start starts the process of a role and, under Endure, keeps it.
func (t *Thread) start(ctx context.Context, role, program string, args ...string) (*Process, error) {
	c := Command{
		Program: filepath.Join(t.options.Bin, program), Args: args, Env: t.options.Env[program],
		Log: t.path("logs", role+".log"), Ready: t.path("ready", role+".json"),
	}
	if program == "licet-agent" {
		c.Ready = "" // an agent serves nobody
	}
	p, err := Start(ctx, c)
	if died := (*EndedError)(nil); errors.As(err, &died) && died.Killed && t.options.Endure {
		t.mourn(role)
		c.Env = nil
		p, err = Start(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	return p, t.adopt(ctx, role, p)
}

// again starts a process where the old one was: same folder, same addresses, no extra environment.
func (t *Thread) again(ctx context.Context, role string, old *Process) error {
	c := old.Command
	c.Env = nil
	c.Args = pinned(c.Args, old.Ready)
	p, err := Start(ctx, c)
	if err != nil {
		return fmt.Errorf("start %s again: %w", role, err)
	}
	return t.adopt(ctx, role, p)
}

func (t *Thread) adopt(ctx context.Context, role string, p *Process) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return p.Stop()
	}
	t.processes[role] = p
	close(t.changed)
	t.changed = make(chan struct{})
	if t.options.Endure {
		t.keepers.Go(func() { t.keep(ctx, role, p) })
	}
	return nil
}

// keep waits for the end of a process and starts it again if it was killed.
func (t *Thread) keep(ctx context.Context, role string, p *Process) {
	<-p.Ended()
	t.mu.Lock()
	over := t.closing || !p.Killed()
	t.mu.Unlock()
	if over {
		return
	}
	t.mourn(role)
	if err := t.again(ctx, role, p); err != nil {
		t.mu.Lock()
		t.failure = errors.Join(t.failure, err)
		t.mu.Unlock()
	}
}

func (t *Thread) mourn(role string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaths = append(t.deaths, role)
}

// Await waits until the process of a role lives, after a death that is being mended.
func (t *Thread) Await(ctx context.Context, role string) error {
	for {
		t.mu.Lock()
		p, changed, failure := t.processes[role], t.changed, t.failure
		t.mu.Unlock()
		if failure != nil {
			return failure
		}
		if p != nil {
			select {
			case <-p.Ended():
			default:
				return nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", role, context.Cause(ctx))
		}
	}
}

// pinned replaces the addresses with port 0 by those that were really taken, so that others find the process again.
func pinned(args []string, r Ready) []string {
	args = slices.Clone(args)
	for i := range args[:len(args)-1] {
		url := map[string]string{"--http": r.HTTP, "--mqtt": r.MQTT, "--listen": r.Listen}[args[i]]
		if _, address, ok := strings.Cut(url, "://"); ok {
			args[i+1] = address
		}
	}
	if i := slices.Index(args, "--ready-file"); i >= 0 {
		args = slices.Delete(args, i, i+2)
	}
	return args
}
