// Package cli is the command line of licet: noun-verb commands over the REST API. It knows the API's client and the
// reader of entitlement certificates, and nothing else of the coordinator.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/client"
)

// Options say with what a command runs. The zero value of In is no input, of Out and Err nowhere, of Getenv an empty
// environment.
type Options struct {
	Args    []string // without the program's name
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Getenv  func(string) string
	Version string
}

// session is one run of the program. Its flags are set by the command line before a command runs.
type session struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	getenv  func(string) string
	version string

	address string // --url
	format  string // --output
}

// Run runs one command and returns the exit code of the process.
func Run(ctx context.Context, o Options) int {
	s := &session{in: o.In, out: o.Out, err: o.Err, getenv: o.Getenv, version: o.Version}
	if s.in == nil {
		s.in = strings.NewReader("")
	}
	if s.out == nil {
		s.out = io.Discard
	}
	if s.err == nil {
		s.err = io.Discard
	}
	if s.getenv == nil {
		s.getenv = func(string) string { return "" }
	}
	root := s.root()
	root.SetArgs(append([]string{}, o.Args...)) // nil would mean the process's own arguments
	command, err := root.ExecuteContextC(ctx)
	return s.report(command.CommandPath(), err)
}

// root is the command tree.
func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "licet",
		Short: "assign, activate and check the licenses of BMS servers",
		Long: `licet talks to a Licet coordinator: the seats of your entitlements, who holds them, and what your BMS servers
really have.

The coordinator's address is LICET_URL, or --url. Exit codes: 0 done; 1 differences found or something failed; 2 usage;
3 refused, nothing changed; 4 could not reach the coordinator.`,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       cobra.ArbitraryArgs, // so that an unknown command gets our words
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) == 0 {
				return command.Help()
			}
			return group(command, args)
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return s.checkFormat()
		},
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.PersistentFlags().StringVar(&s.address, "url", "", "address of the coordinator (default $LICET_URL)")
	root.PersistentFlags().StringVarP(&s.format, "output", "o", formatTable, "output format: "+strings.Join(formats, ", "))
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(s.entitlement(), s.catalog(), s.product(), s.site(), s.serverCommand(), s.assign(), s.unassign(), s.assignment(),
		s.activate(), s.status(), s.audit(), s.check(), s.versionCommand())
	return root
}

// group is a command that needs another word after it.
func group(command *cobra.Command, args []string) error {
	var names []string
	for _, sub := range command.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			names = append(names, sub.Name())
		}
	}
	if len(args) == 0 {
		return fmt.Errorf("%s needs one more word: %s", command.CommandPath(), strings.Join(names, ", "))
	}
	text := fmt.Sprintf("%s does not know %q", command.CommandPath(), args[0])
	if near := command.SuggestionsFor(args[0]); len(near) > 0 {
		text += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}

// noun is a command that only groups its verbs.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: group, SuggestionsMinimumDistance: 2}
	command.AddCommand(verbs...)
	return command
}

// connect makes the client of the coordinator that the operator named.
func (s *session) connect() (*client.Client, error) {
	address := s.address
	if address == "" {
		address = s.getenv("LICET_URL")
	}
	if address == "" {
		return nil, &fault{
			doing: "find the coordinator", err: errors.New("no address given"), code: exitUsage,
			hint: "export LICET_URL=http://HOST:PORT, or give --url",
		}
	}
	c, err := client.New(address, nil)
	if err != nil {
		return nil, &fault{doing: "find the coordinator", err: err, code: exitUsage, hint: "look at LICET_URL and --url"}
	}
	return c, nil
}

func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version of this program", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			answer := struct {
				Version string `json:"version"`
			}{s.version}
			return s.show(answer, func(bool) string { return "licet " + s.version + "\n" })
		},
	}
}
