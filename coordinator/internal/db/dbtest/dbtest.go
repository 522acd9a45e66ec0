// Package dbtest runs tests on real databases: SQLite in a temporary folder, and a PostgreSQL server that the test process
// starts for itself and that ends with it.
package dbtest

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/internal/db"
)

// Engine is a kind of database.
type Engine string

// The engines that everything stored is tested on.
const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
)

// Engines are all of them.
func Engines() []Engine { return []Engine{SQLite, Postgres} }

// Each runs the test on a fresh database of each engine. Without PostgreSQL that half is skipped, unless LICET_REQUIRE=all.
func Each(t *testing.T, test func(t *testing.T, d *db.DB)) {
	t.Helper()
	EachDSN(t, func(t *testing.T, dsn string) { test(t, Open(t, dsn, db.Options{})) })
}

// EachDSN is Each for a test that opens the database itself, twice perhaps.
func EachDSN(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	for _, engine := range Engines() {
		t.Run(string(engine), func(t *testing.T) { test(t, DSN(t, engine)) })
	}
}

// EachB is Each for a benchmark. Its PostgreSQL writes to disk as in production; that of tests does not wait for the disk.
func EachB(b *testing.B, bench func(b *testing.B, d *db.DB)) {
	b.Helper()
	for _, engine := range Engines() {
		b.Run(string(engine), func(b *testing.B) {
			d := Open(b, DSN(b, engine), db.Options{})
			b.ResetTimer()
			bench(b, d)
		})
	}
}

// DSN names a fresh database of the engine; it goes with the test.
func DSN(t testing.TB, engine Engine) string {
	t.Helper()
	if engine == SQLite {
		return filepath.Join(t.TempDir(), "licet.db")
	}
	_, durable := t.(*testing.B)
	return postgres(t, durable).database(t)
}

// Open opens the database until the test ends.
func Open(t testing.TB, dsn string, o db.Options) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), dsn, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// Dump is every row of every table as text, in order, but for those of the tables left out: to show that nothing changed, or what.
func Dump(t testing.TB, d *db.DB, without ...string) map[string][]string {
	t.Helper()
	dump := make(map[string][]string)
	require.NoError(t, d.View(context.Background(), func(tx *db.Tx) error {
		tables, err := readRows(tx, tableNames[Engine(d.Engine())])
		if err != nil {
			return err
		}
		for _, row := range tables {
			name := row[0]
			if slices.Contains(without, name) {
				continue
			}
			rows, err := readRows(tx, `SELECT * FROM "`+name+`"`)
			if err != nil {
				return err
			}
			for _, row := range rows {
				dump[name] = append(dump[name], fmt.Sprintf("%q", row))
			}
			slices.Sort(dump[name])
		}
		return nil
	}))
	return dump
}

var tableNames = map[Engine]string{
	SQLite:   "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
	Postgres: "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
}

func readRows(tx *db.Tx, query string) ([][]string, error) {
	rows, err := tx.Query(query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says it all
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make([]string, len(values))
		for i, value := range values {
			if data, ok := value.([]byte); ok {
				value = string(data)
			}
			row[i] = fmt.Sprint(value)
		}
		all = append(all, row)
	}
	return all, rows.Err()
}
