package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const sqliteReaders = 8

// sqliteEngine has one writing connection, so transactions never meet; busy_timeout is for a backup beside us.
func sqliteEngine() engine {
	return engine{
		name:   "sqlite",
		update: &sql.TxOptions{}, // BEGIN IMMEDIATE, by the DSN
		view:   &sql.TxOptions{ReadOnly: true},
		statements: func() (context.Context, context.CancelFunc) {
			return context.Background(), func() {}
		},
		again:      func(error) bool { return false },
		constraint: func(err error) bool { return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT },
		lost:       func(error) bool { return false },
		feed: func(at int64, changes []change) (string, []any, error) {
			rows := make([][2]string, len(changes))
			for i, c := range changes {
				rows[i] = [2]string{c.kind, c.key}
			}
			text, err := json.Marshal(rows)
			return "INSERT INTO changes (at, kind, key) SELECT $1, value->>0, value->>1 FROM json_each($2)", []any{at, string(text)}, err
		},
		horizon: "9223372036854775807",
	}
}

// sqliteCode is the primary code of an SQLite error, 0 if it is none.
func sqliteCode(err error) int {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func (d *DB) openSQLite(ctx context.Context, path string) error {
	problem := func(err error, hint string) error { return &OpenError{Database: path, Err: err, hint: hint} }
	absolute, err := filepath.Abs(path)
	if err != nil {
		return problem(err, "")
	}
	if hint, err := prepareFile(absolute); err != nil {
		return problem(err, hint)
	}
	dsn := func(more url.Values) string {
		more.Add("_busy_timeout", "5000")
		more.Add("_foreign_keys", "on")
		more.Add("_synchronous", "FULL")
		more.Add("_dqs", "0") // "a" is a name, never a text, as in PostgreSQL
		return (&url.URL{Scheme: "file", Path: absolute, RawQuery: more.Encode()}).String()
	}
	d.engine = sqliteEngine()
	d.writer, err = sql.Open("sqlite", dsn(url.Values{
		"_journal_mode": {"WAL"}, "_txlock": {"immediate"}, "_pragma": {"journal_size_limit(67108864)"},
	}))
	if err != nil {
		return problem(err, "")
	}
	d.writer.SetMaxOpenConns(1)
	d.readers, err = sql.Open("sqlite", dsn(url.Values{"_query_only": {"on"}}))
	if err != nil {
		return problem(err, "")
	}
	d.readers.SetMaxOpenConns(sqliteReaders)
	d.readers.SetMaxIdleConns(sqliteReaders)
	if err := migrate(ctx, migration{dialect: goose.DialectSQLite3, db: d.writer, serial: "INTEGER PRIMARY KEY AUTOINCREMENT", existing: d.options.Existing}); err != nil {
		return sqliteProblem(err, problem)
	}
	return nil
}

func sqliteProblem(err error, problem func(error, string) error) error {
	if newer := (*newerError)(nil); errors.As(err, &newer) {
		return problem(err, newerHint)
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return problem(err, "another program holds the file; end it, then start again")
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return problem(err, "restore the newest backup")
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
		return problem(err, "look whether the folder can be written and its disk has room")
	}
	return problem(err, "")
}

// prepareFile makes the file, readable by its owner alone, or says in plain words why it cannot be a database.
func prepareFile(path string) (hint string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return "name a file inside of it", errors.New("it is a folder, not a file")
	case errors.Is(err, fs.ErrNotExist):
		return "make it first, or name another one", fmt.Errorf("the folder %s does not exist", filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "let this user write " + filepath.Dir(path) + " and the file, or name another folder", errors.New("it cannot be written")
	case err != nil:
		return "", err
	}
	header := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(file, header)
	if closeErr := file.Close(); closeErr != nil {
		return "", closeErr
	}
	if n == 0 && errors.Is(err, io.EOF) {
		return "", nil
	}
	if err != nil || string(header) != sqliteMagic {
		return "name another file; this one was not touched", errors.New("it is not an SQLite database")
	}
	// SQLite makes its two files beside this one; without them it would say only that it cannot open it.
	probe, err := os.CreateTemp(filepath.Dir(path), ".licet-*")
	if err != nil {
		return "let this user write " + filepath.Dir(path), errors.New("its folder cannot be written")
	}
	return "", errors.Join(probe.Close(), os.Remove(probe.Name()))
}

const sqliteMagic = "SQLite format 3\x00"
