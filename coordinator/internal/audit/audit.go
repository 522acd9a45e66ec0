// Package audit is the record of who did what. An entry is written in the transaction of the change that it tells of: no
// entry, no change.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// Actor is who did it.
type Actor string

// Actors until operators have names of their own.
const (
	Operator Actor = "operator"
	System   Actor = "coordinator"
)

// Kind is the kind of the change feed's rows that new entries leave; their key is the entry's ID.
const Kind = "audit"

// Entry is what somebody did.
type Entry struct {
	Actor   Actor
	Action  string         // a verb: assign, import, release
	Subject string         // what it was done to; never a secret
	Detail  map[string]any // values that JSON can carry; nil is none. Activation IDs are masked, wherever they stand.
}

// Row is an entry as it was recorded.
type Row struct {
	ID int64
	At time.Time
	Entry
}

const maxDetail = 64 << 10

// Record writes the entry into the transaction.
func Record(tx *db.Tx, e Entry) error {
	if e.Actor == "" || e.Action == "" || e.Subject == "" {
		return fmt.Errorf("record %q in the audit: actor, action and subject are needed", e.Action)
	}
	detail, err := encode(e.Detail)
	if err != nil {
		return fmt.Errorf("record %q in the audit: %w", e.Action, err)
	}
	var id int64
	err = tx.QueryRow("INSERT INTO audit (at, actor, action, subject, detail) VALUES ($1, $2, $3, $4, $5) RETURNING id",
		db.Millis(tx.Now()), string(e.Actor), e.Action, e.Subject, string(detail)).Scan(&id)
	if err == nil {
		err = tx.Changed(Kind, strconv.FormatInt(id, 10))
	}
	if err != nil {
		return fmt.Errorf("record %q in the audit: %w", e.Action, err)
	}
	return nil
}

// List is the entries after the one with this ID, oldest first, at most limit. Who follows the audit takes the IDs from the
// change feed: on PostgreSQL an entry can become visible after one with a higher ID.
func List(tx *db.Tx, after int64, limit int) ([]Row, error) {
	rows, err := tx.Query("SELECT id, at, actor, action, subject, detail FROM audit WHERE id > $1 ORDER BY id LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the audit: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says it all
	var list []Row
	for rows.Next() {
		var row Row
		var at int64
		var detail string
		err := rows.Scan(&row.ID, &at, &row.Actor, &row.Action, &row.Subject, &detail)
		if err == nil {
			row.At = db.Time(at)
			err = json.Unmarshal([]byte(detail), &row.Detail)
		}
		if err != nil {
			return nil, fmt.Errorf("list the audit: entry %d: %w", row.ID, err)
		}
		list = append(list, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the audit: %w", err)
	}
	return list, nil
}

func encode(detail map[string]any) ([]byte, error) {
	if detail == nil {
		detail = map[string]any{}
	}
	data, err := json.Marshal(masked(reflect.ValueOf(detail)))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDetail {
		return nil, errors.New("the detail is larger than 64 KiB")
	}
	return data, nil
}

var secret = reflect.TypeFor[exchange.ActivationID]()

// masked is the value with every activation ID in maps and lists masked. One within a struct makes the encoding fail, since
// it refuses to be marshaled.
func masked(v reflect.Value) any {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch {
	case !v.IsValid():
		return nil
	case v.Type() == secret:
		return exchange.ActivationID(v.String()).String()
	case v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String:
		plain := make(map[string]any, v.Len())
		for _, key := range v.MapKeys() {
			name := key.String()
			if key.Type() == secret {
				name = exchange.ActivationID(name).String()
			}
			plain[name] = masked(v.MapIndex(key))
		}
		return plain
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		plain := make([]any, v.Len())
		for i := range plain {
			plain[i] = masked(v.Index(i))
		}
		return plain
	}
	if err, ok := reflect.TypeAssert[error](v); ok {
		return err.Error()
	}
	return v.Interface()
}
