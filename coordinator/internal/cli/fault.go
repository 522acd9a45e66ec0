package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/licet-project/licet/coordinator/client"
)

// Exit codes of every program of Licet.
const (
	exitDone        = 0
	exitDifferent   = 1 // differences found, or something failed
	exitUsage       = 2
	exitRefused     = 3 // nothing changed
	exitUnreachable = 4
)

// fault is an error with what was being done, what to do next, and the exit code.
type fault struct {
	doing string
	err   error
	hint  string
	code  int
}

func (f *fault) Error() string { return f.doing + ": " + f.err.Error() }

func (f *fault) Unwrap() error { return f.err }

// errDifferent ends a command with exit code 1 when everything is said already.
var errDifferent = errors.New("differences found")

// failed says what was being done when a call or a file went wrong.
func (s *session) failed(doing string, err error) error {
	f := &fault{doing: doing, err: err, code: exitDifferent}
	var problem *client.Problem
	var unreachable *client.Unreachable
	switch {
	case errors.As(err, &problem):
		f.hint = problem.Hint
		f.code = exitRefused
		switch {
		case problem.Status == http.StatusServiceUnavailable || problem.Status == http.StatusGatewayTimeout:
			f.code = exitUnreachable
		case problem.Status >= http.StatusInternalServerError:
			f.code = exitDifferent
		}
	case errors.Is(err, context.Canceled):
		f.err = errors.New("interrupted")
	case errors.As(err, &unreachable):
		f.code = exitUnreachable
		f.hint = "is the coordinator running, and is LICET_URL its address?"
		if errors.Is(err, context.DeadlineExceeded) {
			f.err = errors.New("no answer in time")
			f.hint = "look at the coordinator; what was asked may have happened: look before you ask again"
		}
	}
	return f
}

// report prints an error of a command in the form of every program of Licet and returns the exit code.
func (s *session) report(command string, err error) int {
	var f *fault
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errDifferent):
		return exitDifferent
	case !errors.As(err, &f): // everything that a command fails with is a fault; the rest is cobra's
		why, _, _ := strings.Cut(err.Error(), "\n")
		f = &fault{doing: "read the command line", err: errors.New(why), hint: command + " --help", code: exitUsage}
	}
	_, _ = fmt.Fprintf(s.err, "licet: %s: %s\n", f.doing, clean(f.err.Error()))
	if problem, ok := errors.AsType[*client.Problem](f.err); ok {
		for _, detail := range problem.Errors {
			_, _ = fmt.Fprintln(s.err, "  "+clean(strings.TrimPrefix(detail.Location+": "+detail.Message, ": ")))
		}
	}
	if f.hint != "" {
		_, _ = fmt.Fprintf(s.err, "hint: %s\n", clean(f.hint))
	}
	return f.code
}
