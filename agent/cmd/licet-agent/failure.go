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
	exitRefused = 3 // nothing was changed
)

// failure is an error with the exit code that it ends the program with, and what a person can do about it.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a command line that cannot be understood.
func usage(cmd *cobra.Command, err error) error {
	return &failure{exitUsage, fmt.Errorf("read the command line: %w", err), cmd.CommandPath() + " --help"}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, fmt.Errorf("%q is not understood here", args[0]))
	}
	return nil
}

// explain is the one place where an error becomes lines for a person and an exit code. Several mistakes are a line each.
func explain(stderr io.Writer, err error) int {
	text := strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "\n  ")
	_, _ = fmt.Fprintf(stderr, "licet-agent: %s\n", text)
	f := &failure{code: exitUsage} // what cobra itself refuses is about the command line
	if errors.As(err, &f) && f.hint != "" {
		_, _ = fmt.Fprintf(stderr, "hint: %s\n", f.hint)
	}
	return f.code
}
