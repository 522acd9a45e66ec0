package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

// VerifyOptions of Verify.
type VerifyOptions struct {
	Data     string // folder of the coordinator
	Database string // postgres://...; empty: the file in Data
}

// Verdict is what the invariants say.
type Verdict struct {
	Invariants       int
	BrokenInvariants int
	Broken           []string // one line for each row that breaks one
}

// Verify asks every invariant of the ledger. It changes nothing and may run beside a serving coordinator.
func Verify(ctx context.Context, o VerifyOptions) (v Verdict, err error) {
	path := dsn(o.Data, o.Database)
	if o.Database == "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return v, &hinted{fmt.Errorf("verify %s: there is no database", path), "name the coordinator's data folder with --data"}
		}
	}
	d, err := db.Open(ctx, path, db.Options{Existing: true})
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	err = d.View(ctx, func(tx *db.Tx) error {
		violations, err := ledger.Verify(tx)
		if err != nil {
			return err
		}
		v = Verdict{Invariants: len(ledger.Invariants())}
		names := map[string]bool{}
		for _, violation := range violations {
			names[violation.Invariant] = true
			v.Broken = append(v.Broken, violation.String())
		}
		v.BrokenInvariants = len(names)
		return nil
	})
	return v, err
}
