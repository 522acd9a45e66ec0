package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what a Thread runs.
type Options struct {
	Bin     string    // folder of the four binaries
	Samples string    // folder with orders.yaml, catalog.yaml, sites.yaml, servers-demo.csv
	Dir     string    // everything that it writes
	Sites   []string  // sites whose systems and agents run; empty: all three of the demo
	Log     io.Writer // one line per step; nil: none
	// Database is given to the coordinator as --database; empty: its own file.
	Database string
	// Env is added to the environment of the program with this name, at its first start alone.
	Env map[string][]string
	// Endure restarts a program that was killed, as a service manager would.
	Endure bool
}

// Thread is the main job on one machine: an activation server, simulated systems, a coordinator, agents. Its methods are
// the steps of the job, in order.
type Thread struct {
	options Options
	cli     CLI

	mu        sync.Mutex
	processes map[string]*Process // by role; owned by mu
	closing   bool                // owned by mu: nothing is started again
	keepers   sync.WaitGroup      // one per process under Endure
	deaths    []string            // roles that were killed and came back; owned by mu
	changed   chan struct{}       // closed and replaced when a process takes its role; owned by mu
	failure   error               // the first restart that failed; owned by mu
}

// Roles of the processes that are not one per site or system.
const (
	roleActivation  = "activation-server"
	roleCoordinator = "coordinator"
)

var demoSites = []string{"hq", "harbour", "campus"}

// NewThread prepares the folder; nothing runs yet.
func NewThread(o Options) (*Thread, error) {
	if len(o.Sites) == 0 {
		o.Sites = demoSites
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	for _, dir := range []string{"logs", "ready", "agents"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("prepare the folder: %w", err)
		}
	}
	return &Thread{options: o, processes: map[string]*Process{}, changed: make(chan struct{}), cli: CLI{Program: filepath.Join(o.Bin, "licet")}}, nil
}

// Start brings everything up: activation server, systems, coordinator, agents.
func (t *Thread) Start(ctx context.Context) error {
	return errors.Join(t.StartServers(ctx), t.StartAgents(ctx))
}

// StartServers brings up everything but the agents.
func (t *Thread) StartServers(ctx context.Context) error {
	data, samples := t.path("las"), t.options.Samples
	t.say("starting the activation server")
	las, err := t.start(ctx, roleActivation, "licet-sim", "activation-server", "--data", data, "--listen", "127.0.0.1:0",
		"--orders", filepath.Join(samples, "orders.yaml"), "--catalog", filepath.Join(samples, "catalog.yaml"))
	if err != nil {
		return err
	}
	keys := t.path("activation-keys.json")
	if err := fetchFile(ctx, las.Ready.Listen+"/v1/keys", keys); err != nil {
		return fmt.Errorf("fetch the activation server's keys: %w", err)
	}
	for _, site := range t.options.Sites {
		t.say("starting the systems of " + site)
		_, err := t.start(ctx, "site-"+site, "licet-sim", "bms-server", "--data", t.path("bms-"+site), "--listen", "127.0.0.1:0",
			"--servers", filepath.Join(samples, "servers-demo.csv"), "--site", site, "--activation-keys", keys)
		if err != nil {
			return err
		}
	}
	t.say("starting the coordinator")
	args := []string{
		"serve", "--data", t.path("coordinator"), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
		"--activation-server", las.Ready.Listen, "--activation-keys", keys,
	}
	if t.options.Database != "" {
		args = append(args, "--database", t.options.Database)
	}
	coordinator, err := t.start(ctx, roleCoordinator, "licet-coordinator", args...)
	if err != nil {
		return err
	}
	t.cli.URL = coordinator.Ready.HTTP
	return nil
}

// StartAgents starts one agent per system.
func (t *Thread) StartAgents(ctx context.Context) error {
	broker := t.Process(roleCoordinator).Ready.MQTT
	for _, site := range t.options.Sites {
		for _, system := range t.Process("site-" + site).Ready.Systems {
			name := "agent-" + slug(system.Name)
			t.say("starting " + name)
			config := fmt.Sprintf("agent: %s\nbroker: %s\ndata: %s\nsystems:\n  - {name: local, driver: rest, address: %q, trust: %q}\n",
				name, broker, t.path("agents", name), system.Address, system.Trust)
			path := t.path("agents", name+".yaml")
			if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
				return fmt.Errorf("write the configuration of %s: %w", name, err)
			}
			if _, err := t.start(ctx, name, "licet-agent", "run", "--config", path); err != nil {
				return err
			}
		}
	}
	return nil
}

// Import gives the coordinator what the simulator sold: catalog, sites, inventory, and the two certificates printed.
func (t *Thread) Import(ctx context.Context) error {
	samples := t.options.Samples
	inventory, err := t.inventory()
	if err != nil {
		return err
	}
	for _, step := range [][]string{
		{"catalog", "import", filepath.Join(samples, "catalog.yaml")},
		{"site", "import", filepath.Join(samples, "sites.yaml")},
		{"server", "import", inventory},
	} {
		if err := t.do(ctx, step...); err != nil {
			return err
		}
	}
	for _, c := range []struct{ id, layout, file string }{
		{"DEMO-ENT-2026-000123", "plain", "hq.html"},
		{"DEMO-ENT-2026-000777", "mail", "harbour.html"},
	} {
		path := t.path(c.file)
		if err := t.printCertificate(ctx, c.id, c.layout, path); err != nil {
			return err
		}
		if err := t.do(ctx, "entitlement", "import", path); err != nil {
			return err
		}
	}
	return nil
}

// inventory is the sample's rows of the sites that run here.
func (t *Thread) inventory() (string, error) {
	data, err := os.ReadFile(filepath.Join(t.options.Samples, "servers-demo.csv"))
	if err != nil {
		return "", fmt.Errorf("read the inventory: %w", err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	kept := lines[:1]
	for _, line := range lines[1:] {
		if fields := strings.Split(line, ","); len(fields) > 4 && slices.Contains(t.options.Sites, fields[4]) {
			kept = append(kept, line)
		}
	}
	path := t.path("servers.csv")
	return path, os.WriteFile(path, []byte(strings.Join(kept, "")), 0o600)
}

// printCertificate has the simulator print the certificate of an order.
func (t *Thread) printCertificate(ctx context.Context, id, layout, path string) error {
	samples := t.options.Samples
	sim := CLI{Program: filepath.Join(t.options.Bin, "licet-sim")}
	out, err := sim.Run(ctx, "entitlement", "--orders", filepath.Join(samples, "orders.yaml"),
		"--catalog", filepath.Join(samples, "catalog.yaml"), "--id", id, "--layout", layout)
	if err != nil {
		return fmt.Errorf("print a certificate: %w", err)
	}
	return os.WriteFile(path, []byte(out), 0o600)
}

// Assignments of the demo, as the README tells them.
var Assignments = [][]string{
	{"assign", "--select", "role=top,site=hq", "--product", "SAMPLE-TIER-ADV", "--count", "1"},
	{"assign", "--select", "role=top,site!=hq", "--product", "SAMPLE-TIER-ESS", "--count", "1"},
	{"assign", "--select", "role=top", "--product", "SAMPLE-DEV-100", "--count", "2"},
	{"assign", "--select", "", "--product", "SAMPLE-SNMP", "--count", "1"},
}

// Assign holds the demo's seats.
func (t *Thread) Assign(ctx context.Context) error {
	for _, step := range Assignments {
		if err := t.do(ctx, step...); err != nil {
			return err
		}
	}
	return nil
}

// Activate orders what is assigned and waits for the receipts.
func (t *Thread) Activate(ctx context.Context) error {
	return t.do(ctx, "activate", "--select", "", "--watch")
}

// CLI is the operator's command line, pointed at this thread's coordinator.
func (t *Thread) CLI() CLI { return t.cli }

// Process is the running process of a role, or nil.
func (t *Thread) Process(role string) *Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.processes[role]
}

// Roles are the names of all processes.
func (t *Thread) Roles() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var roles []string
	for role := range t.processes {
		roles = append(roles, role)
	}
	slices.Sort(roles)
	return roles
}

// Stop ends every process, agents first, and waits for them.
func (t *Thread) Stop() error {
	t.mu.Lock()
	t.closing = true
	t.mu.Unlock()
	var failures []error
	for _, prefix := range []string{"agent-", roleCoordinator, "site-", roleActivation} {
		for _, role := range t.Roles() {
			if strings.HasPrefix(role, prefix) {
				failures = append(failures, t.Process(role).Stop())
			}
		}
	}
	t.keepers.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(append(failures, t.failure)...)
}

// Restart stops a process and starts it again where it was.
func (t *Thread) Restart(ctx context.Context, role string) error {
	old := t.Process(role)
	if err := old.Stop(); err != nil {
		return err
	}
	return t.again(ctx, role, old)
}

// Deaths are the roles whose process was killed and came back.
func (t *Thread) Deaths() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.deaths)
}

func (t *Thread) path(parts ...string) string {
	return filepath.Join(append([]string{t.options.Dir}, parts...)...)
}

func (t *Thread) say(line string) { _, _ = fmt.Fprintln(t.options.Log, line) }

// do runs a command of the operator and shows its last line.
func (t *Thread) do(ctx context.Context, args ...string) error {
	out, err := t.cli.Run(ctx, args...)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	t.say(lines[len(lines)-1])
	return nil
}

func slug(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name)), "-")
}

// Took is how long f ran.
func Took(f func() error) (time.Duration, error) {
	begun := time.Now()
	err := f()
	return time.Since(begun), err
}
