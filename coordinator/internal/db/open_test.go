package db_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

// refused opens what cannot be opened and gives the one line and its hint.
func refused(t *testing.T, dsn string) (line, hint string) {
	t.Helper()
	_, err := db.Open(context.Background(), dsn, db.Options{})
	var open *db.OpenError
	require.ErrorAs(t, err, &open)
	require.NotContains(t, err.Error(), "\n")
	require.NotEmpty(t, open.Hint())
	return err.Error(), open.Hint()
}

func TestFilesThatAreNoDatabase(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "notes.txt")
	require.NoError(t, os.WriteFile(text, []byte("milk, bread, and a longer text than a header"), 0o600))
	short := filepath.Join(folder, "short")
	require.NoError(t, os.WriteFile(short, []byte("x"), 0o600))
	for path, want := range map[string]string{
		folder:                               "it is a folder, not a file",
		filepath.Join(folder, "no", "licet"): "the folder " + filepath.Join(folder, "no") + " does not exist",
		text:                                 "it is not an SQLite database",
		short:                                "it is not an SQLite database",
		"/proc/licet.db":                     "",
	} {
		line, _ := refused(t, path)
		require.True(t, strings.HasPrefix(line, "open the database "+path+": "+want), line)
	}
	data, err := os.ReadFile(text)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(data), "milk"), "it was not touched")
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 2)
}

func TestFolderNotWritable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere: run the tests as an ordinary user")
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "licet.db")
	require.NoError(t, os.Chmod(folder, 0o500))
	line, hint := refused(t, path)
	require.Contains(t, line, "it cannot be written")
	require.Contains(t, hint, folder)
}

func TestFileIsPrivateAndHasAnyName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a 100% odd?name#1&x=y;.db")
	d := dbtest.Open(t, path, db.Options{})
	update(t, d, changed("server", "a"))
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), suffix)
	}
}

func TestSQLiteSettings(t *testing.T) {
	d := dbtest.Open(t, dbtest.DSN(t, dbtest.SQLite), db.Options{})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		update(t, d, func(tx *db.Tx) error { return tx.QueryRow("PRAGMA " + pragma).Scan(&got) })
		require.Equal(t, want, got, pragma)
	}
}

func TestPostgresThatDoesNotLetUsIn(t *testing.T) {
	good, err := url.Parse(dbtest.DSN(t, dbtest.Postgres))
	require.NoError(t, err)
	const secret = "not-the-pass-word"
	with := func(change func(u *url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	for dsn, want := range map[string]string{
		with(func(u *url.URL) { u.User = url.UserPassword("postgres", secret) }):                           `it does not let the user "postgres" in`,
		with(func(u *url.URL) { u.User = url.UserPassword("nobody", secret) }):                             `it does not let the user "nobody" in`,
		with(func(u *url.URL) { u.Path = "/nothing" }):                                                     `there is no database "nothing"`,
		with(func(u *url.URL) { u.User = url.UserPassword("p", secret); u.Host = closed.Addr().String() }): "it cannot be reached: dial tcp " + closed.Addr().String() + ": connect: connection refused",
		"postgres://u:" + secret + "@[::1/licet":                                                           "the address cannot be read",
		"postgres://u:" + secret + "@127.0.0.1:99999/licet":                                                "the address cannot be read",
	} {
		line, _ := refused(t, dsn)
		require.True(t, strings.HasSuffix(line, ": "+want), line)
		require.NotContains(t, line, secret)
		password, _ := good.User.Password()
		require.NotContains(t, line, password)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	dbtest.EachDSN(t, func(t *testing.T, dsn string) {
		d, err := db.Open(context.Background(), dsn, db.Options{})
		require.NoError(t, err)
		update(t, d, func(tx *db.Tx) error {
			_, err := tx.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, $1)", true)
			return err
		})
		before := dbtest.Dump(t, d)
		require.NoError(t, d.Close())
		line, hint := refused(t, dsn)
		require.Contains(t, line, "it has version 99999, this program knows ")
		require.Contains(t, hint, "newer program")
		require.NotEmpty(t, before)
	})
}

// TestProcessesMigrateAtOnce: a fresh database is opened by many at the same time.
func TestProcessesMigrateAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			dsn := dbtest.DSN(t, engine)
			if engine == dbtest.Postgres {
				empty(t, dsn)
			}
			const many = 6
			errs := make([]error, many)
			var all sync.WaitGroup
			for i := range many {
				all.Go(func() {
					d, err := db.Open(context.Background(), dsn, db.Options{})
					if err == nil {
						err = errors.Join(d.Update(context.Background(), changed("server", "a")), d.Close())
					}
					errs[i] = err
				})
			}
			all.Wait()
			require.NoError(t, errors.Join(errs...))
			require.Len(t, dbtest.Dump(t, dbtest.Open(t, dsn, db.Options{}))["changes"], many)
		})
	}
}

// empty takes every table out of a database that was made from the template.
func empty(t *testing.T, dsn string) {
	t.Helper()
	pool, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	_, err = pool.Exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	require.NoError(t, errors.Join(err, pool.Close()))
}

// TestRestoredIntoAnotherCluster: the feed of a dump can be ahead of the transaction IDs of the cluster it was read into.
func TestRestoredIntoAnotherCluster(t *testing.T) {
	dsn := dbtest.DSN(t, dbtest.Postgres)
	d, err := db.Open(context.Background(), dsn, db.Options{})
	require.NoError(t, err)
	const ahead = int64(1) << 50
	update(t, d, func(tx *db.Tx) error {
		_, err := tx.Exec("INSERT INTO changes (id, at, kind, key) VALUES ($1, 0, 'server', 'old')", ahead)
		return err
	})
	require.NoError(t, d.Close())
	d = dbtest.Open(t, dsn, db.Options{})
	_, err = d.Changes(context.Background(), ahead, 10)
	require.ErrorIs(t, err, db.ErrCursorTooOld)
	update(t, d, changed("server", "new"))
	keys, _ := follow(t, d, 0)
	require.Equal(t, []string{"new"}, keys)
}

// Who only looks makes no table, on either engine.
func TestExistingChangesNothing(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			dsn := dbtest.DSN(t, engine)
			first := dbtest.Open(t, dsn, db.Options{})
			require.NoError(t, first.Close())
			again, err := db.Open(t.Context(), dsn, db.Options{Existing: true})
			require.NoError(t, err)
			require.NoError(t, again.Close())
		})
	}
	empty := filepath.Join(t.TempDir(), "empty.db")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	_, err := db.Open(t.Context(), empty, db.Options{Existing: true})
	require.ErrorContains(t, err, "no database of Licet's")
}
