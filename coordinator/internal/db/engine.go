package db

import (
	"context"
	"database/sql"
)

// engine is all that the two databases differ in.
type engine struct {
	name         string
	update, view *sql.TxOptions

	// statements is the context of a group's statements and how long they may take together. SQLite's cannot be canceled:
	// an interrupted write would take the whole group with it.
	statements func() (context.Context, context.CancelFunc)

	again      func(error) bool // the transaction lost against another one: run it again
	constraint func(error) bool // a constraint says no; at a commit, a deferred one
	lost       func(error) bool // after a commit: nobody knows whether it happened

	feed    func(at int64, changes []change) (query string, args []any, err error) // the statement that writes them
	horizon string                                                                 // SQL: every row of the feed below this ID is visible or will never be

	listen func(ctx context.Context, wake func()) // commits of other processes; nil if there are none
}
