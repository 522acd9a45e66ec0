package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/licet-project/licet/shared/exchange/exchangetest"
)

type activationServerOptions struct {
	data, listen, orders, catalog, ready string
}

func activationServerCommand() *cobra.Command {
	var o activationServerOptions
	cmd := &cobra.Command{
		Use:   "activation-server",
		Short: "Run the reference License Activation Server",
		Long: "Run the reference License Activation Server: it sells what the order book says, and keeps its state in the data\n" +
			"folder, where a kill at any instant leaves it whole. Faults can be ordered at /v1/faults.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "data", "listen", "orders", "catalog"); err != nil {
				return err
			}
			return runActivationServer(cmd.Context(), o, logger(cmd))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "", "folder for the state and the signing key")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	flags.StringVar(&o.orders, "orders", "", "order book: what was sold (YAML)")
	flags.StringVar(&o.catalog, "catalog", "", "catalog: which features a product unlocks (YAML)")
	flags.StringVar(&o.ready, "ready-file", "", "file that appears once it serves: pid and listen, as JSON")
	return cmd
}

func runActivationServer(ctx context.Context, o activationServerOptions, log zerolog.Logger) (err error) {
	const doing = "start the activation server"
	if err := removeReady(o.ready); err != nil {
		return failed(doing, err, "name a file that this user can write with --ready-file")
	}
	orders, catalog, err := readBooks(o.orders, o.catalog)
	if err != nil {
		return err
	}
	server, err := exchangetest.New(exchangetest.Options{Orders: orders, Catalog: catalog, Dir: o.data, Logger: log})
	if err != nil {
		return failed(doing, err, dataHint(err))
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return failed(doing, err, "choose a free address with --listen; 127.0.0.1:0 takes a free port")
	}
	url := "http://" + listener.Addr().String()
	if err := writeReady(o.ready, activationServerReady{os.Getpid(), url}); err != nil {
		return errors.Join(failed(doing, err, "name a file that this user can write with --ready-file"), listener.Close())
	}
	defer func() { err = errors.Join(err, removeReady(o.ready)) }()
	log.Info().Str("listen", url).Msg("activation server serves")
	if err := server.Serve(ctx, listener); err != nil {
		return failed("run the activation server", err, "")
	}
	log.Info().Msg("activation server ended")
	return nil
}

// activationServerReady is the ready file.
type activationServerReady struct {
	PID    int    `json:"pid"`
	Listen string `json:"listen"`
}

func dataHint(err error) string {
	if errors.Is(err, exchangetest.ErrInUse) {
		return "end the other activation server, or name another folder with --data"
	}
	if errors.Is(err, exchangetest.ErrDamaged) {
		return "bring the folder back from a backup, or name an empty one with --data"
	}
	return "name a folder that this user can write with --data"
}

// readBooks reads the order book and the catalog, and names every mistake in both.
func readBooks(ordersPath, catalogPath string) (exchangetest.Orders, exchangetest.Catalog, error) {
	orders, ordersErr := readBook(ordersPath, func(data []byte) (exchangetest.Orders, error) {
		return exchangetest.ParseOrders(data, time.Now())
	})
	catalog, catalogErr := readBook(catalogPath, exchangetest.ParseCatalog)
	if err := errors.Join(ordersErr, catalogErr); err != nil {
		return orders, catalog, failed("read what is sold", err, "correct the files named with --orders and --catalog")
	}
	return orders, catalog, nil
}

func readBook[T any](path string, parse func([]byte) (T, error)) (T, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		var none T
		return none, err
	}
	book, err := parse(data)
	if err != nil {
		return book, fmt.Errorf("%s: %w", path, err)
	}
	return book, nil
}
