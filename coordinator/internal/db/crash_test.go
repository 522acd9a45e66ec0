package db_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
	"github.com/licet-project/licet/shared/crash"
)

const crashingDSN = "LICET_TEST_CRASHING_DSN"

// insertAndDie is the test's other process.
func insertAndDie(dsn string) {
	d, err := db.Open(context.Background(), dsn, db.Options{})
	if err == nil {
		_ = d.Update(context.Background(), func(tx *db.Tx) error {
			if err := tx.Changed("row", "b"); err != nil {
				return err
			}
			return put("b", 1)(tx)
		})
	}
}

func TestKilledAroundTheCommit(t *testing.T) {
	for point, want := range map[string][]string{"db.before-commit": {"a"}, "db.after-commit": {"a", "b"}} {
		t.Run(point, func(t *testing.T) {
			dbtest.EachDSN(t, func(t *testing.T, dsn string) {
				d := dbtest.Open(t, dsn, db.Options{})
				table(t, d)
				update(t, d, put("a", 1))
				self := exec.Command(os.Args[0])
				self.Env = append(os.Environ(), crashingDSN+"="+dsn, crash.Variable+"="+point)
				out, err := self.CombinedOutput()
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), string(out))
				require.Equal(t, want, names(t, d))
				changes, err := d.Changes(context.Background(), 0, 10)
				require.NoError(t, err)
				require.Len(t, changes, len(want)-1)
				update(t, d, put("c", 1)) // the dead one holds nothing
			})
		})
	}
}
