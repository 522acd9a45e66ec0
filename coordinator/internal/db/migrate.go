package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

const newerHint = "start the newer program that wrote it, or restore a backup of this version"

// newerError is a database that a newer program wrote. It is not touched.
type newerError struct{ found, known int64 }

func (e *newerError) Error() string {
	return fmt.Sprintf("it has version %d, this program knows %d", e.found, e.known)
}

// olderError is a database that an older program wrote, met by one that may not change it.
type olderError struct{ found, known int64 }

func (e *olderError) Error() string {
	return fmt.Sprintf("it has version %d, this program reads %d; licet-coordinator serve brings it there", e.found, e.known)
}

// errNoTables is a database without Licet's tables, where they should be.
var errNoTables = errors.New("it is no database of Licet's")

type migration struct {
	dialect  goose.Dialect
	db       *sql.DB
	serial   string // what $SERIAL stands for: the type of an ID that the database gives, with its PRIMARY KEY
	options  []goose.ProviderOption
	existing bool // look at the version, change nothing
}

const migrateAttempts = 10

// migrate brings the tables to this program's version. Two processes may do so at once: PostgreSQL has a lock for it; on
// SQLite each step is a transaction, so the slower process fails, and finds the step done when it looks again.
func migrate(ctx context.Context, m migration) error {
	sources, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	options := append([]goose.ProviderOption{goose.WithSlog(slog.New(slog.DiscardHandler)), goose.WithDisableGlobalRegistry(true)}, m.options...)
	provider, err := goose.NewProvider(m.dialect, m.db, dialectFS{sources, m.serial}, options...)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := migrateOnce(ctx, m, provider)
		if err == nil || !contended(err) || attempt == migrateAttempts || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(time.Duration(attempt) * 20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func migrateOnce(ctx context.Context, m migration, provider *goose.Provider) error {
	if m.existing { // goose would make its own table to look into it
		if _, err := m.db.ExecContext(ctx, "SELECT COUNT(*) FROM goose_db_version"); err != nil {
			return errNoTables
		}
	}
	found, known, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if found > known {
		return &newerError{found, known}
	}
	if m.existing && found < known {
		return &olderError{found, known}
	}
	if m.existing {
		return nil
	}
	_, err = provider.Up(ctx)
	return err
}

// contended is true for what the slower of two migrating processes meets.
func contended(err error) bool {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CONSTRAINT:
		return true
	}
	switch postgresCode(err) {
	case "42P07", "23505", "42P01": // exists already, twice, does not exist yet
		return true
	}
	return strings.Contains(err.Error(), "already exists") // SQLite has no code of its own for it
}

var serialColumn = regexp.MustCompile(`\$SERIAL( PRIMARY KEY)?`)

// dialectFS gives the migrations in the engine's dialect.
type dialectFS struct {
	fs.FS
	serial string
}

func (d dialectFS) Open(name string) (fs.File, error) {
	if path.Ext(name) != ".sql" {
		return d.FS.Open(name)
	}
	file, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := fs.ReadFile(d.FS, name)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return dialectFile{file, strings.NewReader(serialColumn.ReplaceAllString(string(text), d.serial))}, nil
}

type dialectFile struct {
	fs.File
	text *strings.Reader
}

func (f dialectFile) Read(p []byte) (int, error) { return f.text.Read(p) }
