// Command licet-demo runs the whole thread on this machine, from an entitlement certificate to activated servers: with
// --check as a test whose last line is a contract, else until Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/licet-project/licet/coordinator/internal/e2e"
)

type options struct {
	bin, samples, breaking string
	check                  bool
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "`folder` of the binaries")
	flag.StringVar(&o.samples, "samples", "", "`folder` of orders, catalog, sites and inventory")
	flag.BoolVar(&o.check, "check", false, "compare everything at the end, stop, and say so in one line")
	flag.StringVar(&o.breaking, "break", "", "with --check: change one fact in the `store, ledger or activation-server` first")
	flag.Parse()
	if flag.NArg() > 0 || o.breaking != "" && (!o.check || !slices.Contains(e2e.Breakable, o.breaking)) {
		fmt.Fprintln(os.Stderr, "licet-demo: read the flags: --break needs --check and one of", strings.Join(e2e.Breakable, ", "))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "licet-demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "licet-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	thread, err := e2e.NewThread(e2e.Options{Bin: o.bin, Samples: o.samples, Dir: dir, Log: os.Stdout})
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	verdict, err := play(ctx, thread, o, os.Stdout)
	err = errors.Join(err, thread.Stop(), os.RemoveAll(dir))
	if verdict != "" {
		fmt.Println(verdict) // the last line, once everything is gone
	}
	return err
}

// play runs the job and returns the line that sums it up.
func play(ctx context.Context, thread *e2e.Thread, o options, out io.Writer) (string, error) {
	if err := thread.Start(ctx); err != nil {
		return "", err
	}
	if err := thread.Import(ctx); err != nil {
		return "", err
	}
	took, err := e2e.Took(func() error {
		if err := thread.Assign(ctx); err != nil {
			return err
		}
		return thread.Activate(ctx)
	})
	if err != nil {
		return "", err
	}
	if !o.check {
		return "", show(ctx, thread, out, took.Seconds())
	}
	if o.breaking != "" {
		if err := thread.Break(ctx, o.breaking); err != nil {
			return "", err
		}
	}
	counts, differs := thread.Check(ctx)
	return fmt.Sprintf("%s seconds=%.1f", counts, took.Seconds()), differs
}

// show prints the fleet and waits for Ctrl-C.
func show(ctx context.Context, thread *e2e.Thread, out io.Writer, seconds float64) error {
	for _, args := range [][]string{{"assignment", "list"}, {"status"}} {
		table, err := thread.CLI().Run(ctx, args...)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "\n%s", table)
	}
	url := thread.CLI().URL
	_, _ = fmt.Fprintf(out, "\nFrom the first assignment to the last receipt: %.1f s.\nStatus page: %s/\nTry: LICET_URL=%s bin/licet server list\nCtrl-C ends the demo.\n",
		seconds, url, url)
	<-ctx.Done()
	return nil
}
