// Command licet-agent looks after the BMS servers of one or more systems: it makes them hold the licenses that the
// coordinator assigns, and reports. It runs as a system service on or beside a BMS server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "licet-agent",
		Short:         "Look after the licenses of BMS servers",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, fmt.Errorf("there is no command %q", args[0]))
			}
			return usage(cmd, errors.New("a command is missing"))
		},
	}
	root.SetArgs(args)
	root.SetIn(strings.NewReader(""))
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(usage)
	root.AddCommand(runCommand(), versionCommand())
	root.AddCommand(serviceCommands(systemd())...)
	if err := root.ExecuteContext(ctx); err != nil {
		return explain(stderr, err)
	}
	return exitDone
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArguments,
		Run: func(cmd *cobra.Command, _ []string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), "licet-agent", version) },
	}
}
