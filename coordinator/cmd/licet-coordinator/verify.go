package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/licet-project/licet/coordinator/internal/coordinator"
)

func verifyCommand() *cobra.Command {
	var o coordinator.VerifyOptions
	cmd := &cobra.Command{
		Use:   "verify --data DIR",
		Short: "Ask every invariant of the ledger; reads only, also while the coordinator serves",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Data == "" && o.Database == "" {
				return &usageError{errors.New("--data is missing"), cmd.CommandPath()}
			}
			verdict, err := coordinator.Verify(cmd.Context(), o)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			for _, broken := range verdict.Broken {
				_, _ = fmt.Fprintln(out, broken)
			}
			_, _ = fmt.Fprintf(out, "invariants=%d broken=%d\n", verdict.Invariants, verdict.BrokenInvariants)
			if verdict.BrokenInvariants > 0 {
				return errors.New("verify the database: invariants are broken, see above")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.Data, "data", "", "`folder` of the coordinator")
	cmd.Flags().StringVar(&o.Database, "database", "", "`postgres://...` if the coordinator was started with it")
	return cmd
}
