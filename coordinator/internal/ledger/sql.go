package ledger

import (
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/licet-project/licet/coordinator/internal/db"
)

// chunk bounds how many IDs or rows one statement names: both engines take many more parameters, and gain nothing by them.
const chunk = 200

// marks is "$from, $from+1, ..." for n arguments.
func marks(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	return b.String()
}

// anys makes arguments of texts.
func anys(texts []string) []any {
	args := make([]any, len(texts))
	for i, text := range texts {
		args[i] = text
	}
	return args
}

// each runs a query and calls row for each of its rows, then closes them.
func each(tx *db.Tx, query string, args []any, row func(scan func(...any) error) error) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// texts is the first column of a query.
func texts(tx *db.Tx, query string, args ...any) ([]string, error) {
	var all []string
	err := each(tx, query, args, func(scan func(...any) error) error {
		var text string
		err := scan(&text)
		all = append(all, text)
		return err
	})
	return all, err
}

// changed leaves a row in the change feed for each server.
func changed(tx *db.Tx, servers ...string) error {
	for _, server := range servers {
		if err := tx.Changed(FeedKind, server); err != nil {
			return fmt.Errorf("note that server %s changed: %w", server, err)
		}
	}
	return nil
}

func number(b bool) int64 { return int64(b2i(b)) }

func nullInt(n *int) sql.NullInt64 {
	if n == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: int64(*n), Valid: true}
}
