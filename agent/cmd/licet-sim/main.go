// Command licet-sim simulates what Licet works with: a License Activation Server and BMS servers. It also prints entitlement
// certificates. For development, demonstrations and tests.
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

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands are all there are; each has its file.
func commands() []*cobra.Command {
	return []*cobra.Command{
		activationServerCommand(),
		bmsServerCommand(),
		entitlementCommand(),
	}
}

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "licet-sim",
		Short:         "Simulate a License Activation Server and BMS servers",
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, fmt.Errorf("there is no command %q", args[0]))
			}
			return usage(cmd, errors.New("a command is missing"))
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetArgs(args)
	root.SetIn(strings.NewReader(""))
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(usage)
	root.AddCommand(commands()...)
	if err := root.ExecuteContext(ctx); err != nil {
		return explain(stderr, err)
	}
	return exitDone
}

// logger writes what a long-running command does to standard error.
func logger(cmd *cobra.Command) zerolog.Logger {
	return zerolog.New(cmd.ErrOrStderr()).With().Timestamp().Logger()
}
