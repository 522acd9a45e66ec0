package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/licet-project/licet/agent/internal/agent"
)

func runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Look after the servers until interrupted",
		Long: `Look after the servers that the file names until interrupted.

A broker or a BMS server that does not answer is waited for. The keys agent, broker and data are also flags and variables
of the environment (LICET_AGENT, ...); a flag is stronger than the environment, and that than the file.`,
		Example: "  licet-agent run --config /etc/licet/agent.yaml",
		Args:    noArguments,
	}
	configFlags(cmd.Flags())
	readyFile := cmd.Flags().String("ready-file", "", "`file` that is written once the agent runs")
	logLevel := cmd.Flags().String("log-level", "info", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		level, err := zerolog.ParseLevel(*logLevel)
		if err != nil || level == zerolog.NoLevel {
			return usage(cmd, fmt.Errorf("--log-level is %.50q and should be debug, info, warn or error", *logLevel))
		}
		c, err := readConfig(cmd.Flags(), os.Environ)
		if err != nil {
			return err
		}
		log := zerolog.New(zerolog.SyncWriter(cmd.ErrOrStderr())).Level(level).With().Timestamp().Logger()
		return serve(cmd, c, *readyFile, log)
	}
	return cmd
}

func serve(cmd *cobra.Command, c config, readyFile string, log zerolog.Logger) error {
	if err := removeReady(readyFile); err != nil {
		return &failure{exitFailed, err, ""}
	}
	err := agent.Run(cmd.Context(), agent.Options{
		Name: c.Agent, Broker: c.Broker, Data: c.Data, Systems: c.systems(), Version: version, Logger: log,
		Ready: func() {
			if err := writeReady(readyFile); err != nil {
				log.Error().Err(err).Msg("nobody is told that the agent runs")
			}
		},
	})
	switch {
	case err == nil:
		return removeReady(readyFile)
	case errors.Is(err, agent.ErrInUse):
		return &failure{exitRefused, fmt.Errorf("start the agent: %w", err), "stop the other agent, or give this one a --data folder of its own"}
	case errors.Is(err, fs.ErrPermission):
		return &failure{exitFailed, fmt.Errorf("start the agent: %w", err), "the agent's user must own the data folder: see the key data"}
	}
	return &failure{exitFailed, fmt.Errorf("start the agent: %w", err), ""}
}

// writeReady tells whoever waits for the file that the agent runs. The file appears whole or not at all.
func writeReady(path string) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(map[string]int{"pid": os.Getpid()})
	if err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	fresh := fmt.Sprintf("%s.%d.new", path, os.Getpid())
	if err := os.WriteFile(fresh, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(fmt.Errorf("write the ready file: %w", err), os.Remove(fresh))
	}
	return nil
}

// removeReady takes the file away: one of an earlier process must not speak for this one.
func removeReady(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the ready file: %w", err)
	}
	return nil
}
