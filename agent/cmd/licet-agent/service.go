package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"
)

const (
	serviceName = "licet-agent"
	unitFolder  = "/etc/systemd/system"
)

// manager is the service manager of this machine.
type manager struct {
	system service.System // nil: this machine is not run by systemd
	unit   string         // the file that the unit is written to
	user   bool           // the user's own manager; for tests
}

// systemd is the manager, if systemd runs this machine. Other managers would be guesses that nobody has tried.
func systemd() manager {
	m := manager{unit: filepath.Join(unitFolder, serviceName+".service")}
	for _, s := range service.AvailableSystems() {
		if s.String() == "linux-systemd" && s.Detect() {
			m.system = s
		}
	}
	return m
}

func serviceCommands(m manager) []*cobra.Command {
	install := &cobra.Command{
		Use: "install", Short: "Install the agent as a service that starts with the machine", Args: noArguments,
		Long: `Install the agent as a systemd service that starts with the machine and after a failure.

The file is checked first; with a mistake in it nothing is installed. What LICET_... variables and flags say is written into
the service. The unit gets a drop-in that takes away every right the agent does not need.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return m.install(cmd) },
	}
	configFlags(install.Flags())
	return []*cobra.Command{
		install,
		m.command("uninstall", "Stop the service and remove it; the data folder stays", manager.uninstall),
		m.command("start", "Start the installed service", manager.start),
		m.command("stop", "Stop the installed service", manager.stop),
		m.command("status", "Say whether the service runs; exit code 0 if it does", manager.status),
	}
}

func (m manager) command(name, short string, do func(manager, *cobra.Command, service.Service) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := m.service(name, nil)
			if err != nil {
				return err
			}
			return do(m, cmd, s)
		},
	}
}

// service is the service as the manager knows it, started with the arguments.
func (m manager) service(doing string, arguments []string) (service.Service, error) {
	if m.system == nil {
		return nil, &failure{
			exitRefused, fmt.Errorf("%s the service: this machine is not run by systemd", doing),
			"start `licet-agent run --config FILE` with this machine's own service manager",
		}
	}
	s, err := m.system.New(program{}, &service.Config{
		Name: serviceName, DisplayName: "Licet agent", Description: "Licet agent: licenses of BMS servers",
		Arguments:    arguments,
		Dependencies: []string{"Wants=network-online.target", "After=network-online.target"},
		Option:       service.KeyValue{"Restart": "on-failure", "UserService": m.user},
	})
	if err != nil {
		return nil, &failure{exitFailed, fmt.Errorf("%s the service: %w", doing, err), ""}
	}
	return s, nil
}

// program is what kardianos/service would run. It is never run: the unit starts `licet-agent run`, which needs no library
// to be a service.
type program struct{}

func (program) Start(service.Service) error { return nil }
func (program) Stop(service.Service) error  { return nil }

func (m manager) install(cmd *cobra.Command) error {
	c, err := readConfig(cmd.Flags(), os.Environ)
	if err != nil {
		return err
	}
	arguments, err := m.arguments(cmd, &c)
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("install the service: %w", err), ""}
	}
	s, err := m.service("install", arguments)
	if err != nil {
		return err
	}
	if state, err := s.Status(); !errors.Is(err, service.ErrNotInstalled) {
		return &failure{
			exitRefused, fmt.Errorf("install the service: it is installed already (%s)", stateText(state, err)),
			"licet-agent uninstall, then install again",
		}
	}
	err = errors.Join(os.MkdirAll(c.Data, 0o700), m.writeDropin(c.Data))
	if err == nil {
		err = s.Install()
	}
	if err != nil {
		return &failure{exitFailed, errors.Join(fmt.Errorf("install the service: %w", err), m.clean()), "installing needs the rights of root"}
	}
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), "installed; licet-agent start starts it")
	return nil
}

// arguments are those that the unit starts the agent with: absolute, so that the unit's folder does not matter.
func (m manager) arguments(cmd *cobra.Command, c *config) ([]string, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return nil, err
	}
	arguments := []string{"run", "--config", path, "--agent", c.Agent, "--broker", c.Broker, "--data", c.Data}
	for _, argument := range arguments {
		if strings.ContainsFunc(argument, func(r rune) bool { return r == '%' || r < ' ' }) {
			return nil, fmt.Errorf("systemd would read %.200q as something else: choose a path without %% and control characters", argument)
		}
	}
	return arguments, nil
}

// clean removes what a failed installation left.
func (m manager) clean() error {
	err := os.Remove(m.unit)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(m.dropins()))
}

// dropins is the folder for what is added to the unit.
func (m manager) dropins() string { return m.unit + ".d" }

func (m manager) uninstall(cmd *cobra.Command, s service.Service) error {
	state, err := s.Status()
	if errors.Is(err, service.ErrNotInstalled) {
		return &failure{exitRefused, errors.New("uninstall the service: it is not installed"), ""}
	}
	if state == service.StatusRunning {
		if err := s.Stop(); err != nil {
			return &failure{exitFailed, fmt.Errorf("stop the service: %w", err), ""}
		}
	}
	if err := errors.Join(os.RemoveAll(m.dropins()), s.Uninstall()); err != nil {
		return &failure{exitFailed, fmt.Errorf("uninstall the service: %w", err), "uninstalling needs the rights of root"}
	}
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), "uninstalled; the data folder is still there")
	return nil
}

func (m manager) start(cmd *cobra.Command, s service.Service) error {
	return act(cmd, s, "start", s.Start, "started; licet-agent status tells how it is")
}

func (m manager) stop(cmd *cobra.Command, s service.Service) error {
	return act(cmd, s, "stop", s.Stop, "stopped")
}

func act(cmd *cobra.Command, s service.Service, doing string, do func() error, done string) error {
	if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) {
		return &failure{exitRefused, fmt.Errorf("%s the service: it is not installed", doing), "licet-agent install --config FILE"}
	}
	if err := do(); err != nil {
		return &failure{exitFailed, fmt.Errorf("%s the service: %w", doing, err), "journalctl -u " + serviceName}
	}
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), done)
	return nil
}

func (m manager) status(cmd *cobra.Command, s service.Service) error {
	state, err := s.Status()
	text := stateText(state, err)
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), text)
	if state == service.StatusRunning && err == nil {
		return nil
	}
	return &failure{exitFailed, errors.New("the service does not run: " + text), "journalctl -u " + serviceName}
}

func stateText(state service.Status, err error) string {
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return "not installed"
	case err != nil:
		return strings.TrimSpace(err.Error())
	case state == service.StatusRunning:
		return "running"
	}
	return "stopped"
}
