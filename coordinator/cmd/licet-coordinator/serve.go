package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/internal/coordinator"
)

func serveCommand() *cobra.Command {
	o := coordinator.Options{Version: version}
	var logLevel string
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Serve agents and operators until interrupted",
		Long: `Serve agents over MQTT and operators over HTTP until interrupted.

Everything lives in the data folder; no configuration is needed. The ready file names the addresses that were taken, as
JSON: pid, http (API and status page), mqtt (broker), metrics (health and Prometheus metrics).`,
		Example: "  licet-coordinator serve --data /var/lib/licet --http 127.0.0.1:8080 --mqtt 0.0.0.0:1883",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level, err := zerolog.ParseLevel(logLevel)
			if err != nil {
				return &usageError{fmt.Errorf("--log-level: %w", err), cmd.CommandPath()}
			}
			if o.Data == "" {
				return &usageError{errors.New("--data is missing"), cmd.CommandPath()}
			}
			if (o.ActivationServer == "") != (o.ActivationKeys == "") {
				return &usageError{errors.New("--activation-server and --activation-keys go together: receipts are checked with those keys"), cmd.CommandPath()}
			}
			o.Logger = zerolog.New(os.Stderr).Level(level).With().Timestamp().Logger()
			return coordinator.Run(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Data, "data", "", "`folder` of everything that is kept")
	flags.StringVar(&o.HTTP, "http", "127.0.0.1:8080", "`address` of the API and the status page")
	flags.StringVar(&o.MQTT, "mqtt", "127.0.0.1:1883", "`address` of the broker for agents")
	flags.StringVar(&o.Metrics, "metrics", "127.0.0.1:0", "`address` of health and metrics")
	flags.StringVar(&o.Database, "database", "", "`postgres://...` instead of a file in the data folder")
	flags.StringVar(&o.ActivationServer, "activation-server", "", "`URL` of the License Activation Server")
	flags.StringVar(&o.ActivationKeys, "activation-keys", "", "`file` with its public keys, as GET /v1/keys answers them")
	flags.StringVar(&o.ReadyFile, "ready-file", "", "`file` that is written once everything serves")
	flags.DurationVar(&o.Heartbeat, "heartbeat", time.Minute, "how often an agent says that it lives")
	flags.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("%q is not understood here", args[0]), cmd.CommandPath()}
	}
	return nil
}
