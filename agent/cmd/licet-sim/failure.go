package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes, as everywhere in Licet.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3 // nothing was changed or written
)

// failure is an error with the exit code that it ends the program with, and what a person can do about it.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed is a failure with exit code 1.
func failed(doing string, err error, hint string) error {
	return &failure{exitFailed, fmt.Errorf("%s: %w", doing, err), hint}
}

// refused is a failure with exit code 3.
func refused(doing string, err error, hint string) error {
	return &failure{exitRefused, fmt.Errorf("%s: %w", doing, err), hint}
}

// usage is a command line that cannot be understood.
func usage(cmd *cobra.Command, err error) error {
	return &failure{exitUsage, fmt.Errorf("read the command line: %w", err), cmd.CommandPath() + " --help"}
}

// required reports the first of the flags that is empty.
func required(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if value, err := cmd.Flags().GetString(name); err != nil || value == "" {
			return usage(cmd, fmt.Errorf("--%s is missing", name))
		}
	}
	return nil
}

// explain is the one place where an error becomes lines for a person and an exit code. Several mistakes are a line each.
func explain(stderr io.Writer, err error) int {
	text := strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "\n  ")
	_, _ = fmt.Fprintf(stderr, "licet-sim: %s\n", text)
	f := &failure{code: exitUsage} // what cobra itself refuses is about the command line
	if errors.As(err, &f) && f.hint != "" {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", f.hint)
	}
	return f.code
}
