package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	postgresReaders = 16
	connectTimeout  = 10 * time.Second
	groupTimeout    = 30 * time.Second // of the statements of one group; a stuck server must not stop us for good
)

// An ID of the feed on PostgreSQL is the ID of its transaction (64 bits wide, never again) times 2^20 plus the place within
// the transaction. So the rows of transactions that have all ended have the lowest IDs, and a cursor that stays below the
// oldest open one skips nothing, whatever order they commit in. A sequence would not do: it is drawn before the commit.
const (
	postgresHorizon = "(pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20)"
	postgresFeed    = `WITH fed AS (
		INSERT INTO changes (id, at, kind, key)
		SELECT (pg_current_xact_id()::text::bigint << 20) + c.place, $1, c.kind, c.key
		FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS c(kind, key, place))
	SELECT pg_notify('` + postgresChannel + `', '')`
	postgresChannel = "licet_changes"

	// After a restore into another cluster its transaction IDs may be lower than those in the feed: such rows go, and old
	// cursors are found to be of another life.
	postgresRestored = `WITH gone AS (DELETE FROM changes WHERE id >= (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20))
	UPDATE changes_pruned SET below = 0 WHERE below >= (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20)`
)

func postgresEngine(config *pgx.ConnConfig, d *DB) engine {
	return engine{
		name:   "postgres",
		update: &sql.TxOptions{Isolation: sql.LevelSerializable},
		view:   &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		statements: func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), groupTimeout)
		},
		again: func(err error) bool {
			code := postgresCode(err)
			return code == "40001" || code == "40P01" // serialization failure, deadlock
		},
		constraint: func(err error) bool { return strings.HasPrefix(postgresCode(err), "23") },
		lost: func(err error) bool {
			code := postgresCode(err)
			return !errors.Is(err, pgx.ErrTxCommitRollback) && (code == "" || strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P"))
		},
		feed: func(at int64, changes []change) (string, []any, error) {
			kinds, keys := make([]string, len(changes)), make([]string, len(changes))
			for i, c := range changes {
				kinds[i], keys[i] = c.kind, c.key
			}
			return postgresFeed, []any{at, kinds, keys}, nil
		},
		horizon: postgresHorizon,
		listen:  func(ctx context.Context, wake func()) { listen(ctx, config, wake, d.options.Logger) },
	}
}

// postgresCode is the SQLSTATE of an error, empty if the server did not send it.
func postgresCode(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func (d *DB) openPostgres(ctx context.Context, dsn string) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil { // its text may quote the address, with the password in it
		return &OpenError{Database: "postgres://...", Err: errors.New("the address cannot be read"), hint: "write postgres://USER@HOST:PORT/DATABASE and give the password in PGPASSWORD"}
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name": "licet-coordinator",
		// A coordinator that froze within a transaction must not hold back everybody's change feed.
		"idle_in_transaction_session_timeout": "60000",
		"timezone":                            "UTC",
	} {
		if _, ok := config.RuntimeParams[name]; !ok {
			config.RuntimeParams[name] = value
		}
	}
	place := fmt.Sprintf("%s/%s", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))), config.Database)
	d.engine = postgresEngine(config, d)
	d.writer, d.readers = stdlib.OpenDB(*config), stdlib.OpenDB(*config)
	d.writer.SetMaxOpenConns(1)
	d.readers.SetMaxOpenConns(postgresReaders)
	d.readers.SetMaxIdleConns(postgresReaders)
	if err := d.writer.PingContext(ctx); err != nil {
		hint, reason := postgresProblem(config, err)
		return &OpenError{Database: place, Err: reason, hint: hint}
	}
	if err := migratePostgres(ctx, *config, d.options.Existing); err != nil {
		hint := ""
		if newer := (*newerError)(nil); errors.As(err, &newer) {
			hint = newerHint
		}
		return &OpenError{Database: place, Err: err, hint: hint}
	}
	return nil
}

// migratePostgres uses a pool of its own: the lock holds one connection while the migration uses another.
func migratePostgres(ctx context.Context, config pgx.ConnConfig, existing bool) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return err
	}
	pool := stdlib.OpenDB(config)
	defer func() { _ = pool.Close() }() // nothing is in flight
	err = migrate(ctx, migration{
		dialect: goose.DialectPostgres, db: pool, serial: "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
		options: []goose.ProviderOption{goose.WithSessionLocker(locker)}, existing: existing,
	})
	if err != nil || existing {
		return err
	}
	_, err = pool.ExecContext(ctx, postgresRestored)
	return err
}

// postgresProblem is why the first connection failed, in plain words and without a secret.
func postgresProblem(config *pgx.ConnConfig, err error) (hint string, reason error) {
	switch code := postgresCode(err); {
	case code == "28P01" || code == "28000":
		return "look at user, password (PGPASSWORD) and pg_hba.conf", fmt.Errorf("it does not let the user %q in", config.User)
	case code == "3D000":
		return "create it: createdb " + config.Database, fmt.Errorf("there is no database %q", config.Database)
	case code == "57P03":
		return "try again in a moment", errors.New("it is starting up or shutting down")
	case code != "":
		return "look into its log", fmt.Errorf("it refuses the connection (SQLSTATE %s)", code)
	}
	if reason := (*net.OpError)(nil); errors.As(err, &reason) {
		return "look whether PostgreSQL runs and listens there", fmt.Errorf("it cannot be reached: %w", reason)
	}
	return "look at host, port and sslmode", errors.New("it cannot be reached")
}
