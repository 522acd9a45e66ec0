package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/shared/exchange"
)

// Entitlement is an imported entitlement. Its ID is for people who may see it: it goes into no log, topic, metric or URL.
type Entitlement struct {
	Ref         string
	ID          string
	Owner       string
	SoldTo      string
	OrderNumber string
	Kind        string
	Issued      time.Time // zero: not said
	ImportedAt  time.Time
	Notes       []string
	Lines       []Line
}

// Line is one activation ID of an entitlement.
type Line struct {
	Ref           string
	Masked        string // the activation ID, masked
	PartNumber    string
	Product       string
	Version       string
	OrderLine     string
	Sold          int
	Bought        int // what of it was left for this ledger
	Held          int
	Overcommitted bool
	Starts        time.Time // zero: not said
	Expires       time.Time // the first instant at which it is of no use; zero: never
}

// Left is how many seats nobody holds; negative if more are held than were bought.
func (l Line) Left() int { return l.Bought - l.Held }

// Entitlements is every entitlement, the first imported first, with its lines in the order of the certificate.
func Entitlements(tx *db.Tx) ([]Entitlement, error) {
	var all []Entitlement
	place := make(map[string]int)
	err := each(tx, `SELECT ref, id, owner, sold_to, order_number, kind, COALESCE(issued, 0), imported_at, notes FROM entitlements ORDER BY imported_at, ref`,
		nil, func(scan func(...any) error) error {
			var e Entitlement
			var issued, imported int64
			var notes string
			if err := scan(&e.Ref, &e.ID, &e.Owner, &e.SoldTo, &e.OrderNumber, &e.Kind, &issued, &imported, &notes); err != nil {
				return err
			}
			e.Issued, e.ImportedAt = moment(issued), db.Time(imported)
			place[e.Ref] = len(all)
			all = append(all, e)
			return json.Unmarshal([]byte(notes), &all[len(all)-1].Notes)
		})
	if err != nil {
		return nil, fmt.Errorf("read entitlements: %w", err)
	}
	err = each(tx, `SELECT entitlement, ref, activation_id, part_number, product, version, order_line, sold, bought, held, overcommitted,
		COALESCE(starts, 0), COALESCE(expires, 0) FROM lines ORDER BY entitlement, place`, nil, func(scan func(...any) error) error {
		var l Line
		var id exchange.ActivationID
		var ref string
		var over, starts, expires int64
		err := scan(&ref, &l.Ref, &id, &l.PartNumber, &l.Product, &l.Version, &l.OrderLine, &l.Sold, &l.Bought, &l.Held, &over, &starts, &expires)
		l.Masked, l.Overcommitted, l.Starts, l.Expires = id.String(), over != 0, moment(starts), moment(expires)
		if at, ok := place[ref]; ok {
			all[at].Lines = append(all[at].Lines, l)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the lines of entitlements: %w", err)
	}
	return all, nil
}

// moment is a stored time; 0 is none.
func moment(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return db.Time(millis)
}
