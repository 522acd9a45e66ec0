package ledger

import (
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/shared/exchange"
)

// EntitlementKind is the kind of entitlements in the change feed; their key is the reference.
const EntitlementKind = "entitlement"

// Imported is what an import led to.
type Imported struct {
	Unchanged bool   // it was here already and said the same; then nothing was changed
	Ref       string // names the entitlement where its ID must not appear
	Owner     string
	Lines     int
	Seats     int // sold, of all lines
}

// ImportEntitlement takes the lines of a certificate for an owner; if none is given, for the one it was sold to. What is
// left on the certificate is what this ledger has to give. The same entitlement with other content is a *DifferentError,
// an activation ID of another entitlement a *TakenError.
func ImportEntitlement(tx *db.Tx, actor audit.Actor, c entitlement.Certificate, owner string) (Imported, error) {
	if owner == "" {
		owner = c.SoldTo
	}
	if owner == "" {
		return Imported{}, &NotAssignableError{PartNumber: "the entitlement", Why: "it does not say whom it was sold to: name the owner"}
	}
	result := Imported{Owner: owner, Lines: len(c.Lines), Seats: c.Seats()}
	known, err := unchanged(tx, c, owner, &result)
	if known || err != nil {
		return result, err
	}
	if err := free(tx, c); err != nil {
		return Imported{}, err
	}
	result.Ref = newRef("ent-")
	notes, err := json.Marshal(append([]string{}, c.Notes...))
	if err != nil {
		return Imported{}, fmt.Errorf("import an entitlement: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO entitlements (ref, id, owner, sold_to, order_number, kind, issued, digest, content, notes, imported_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, result.Ref, c.ID, owner, c.SoldTo, c.OrderNumber, c.Kind,
		instant(c.Issued), string(c.Digest), string(c.Content), string(notes), db.Millis(tx.Now()))
	if err != nil {
		return Imported{}, fmt.Errorf("import an entitlement: %w", err)
	}
	seats := make(map[string]int) // by product: the detail of an entry is bounded, a certificate hardly
	for place, line := range c.Lines {
		ref := newRef("line-")
		if err := insertLine(tx, ref, result, place, line); err != nil {
			return Imported{}, err
		}
		seats[line.PartNumber] += line.Count
	}
	err = audit.Record(tx, audit.Entry{Actor: actor, Action: "import", Subject: result.Ref, Detail: map[string]any{
		"owner": owner, "order_number": c.OrderNumber, "digest": string(c.Digest), "lines": len(c.Lines), "seats": seats,
	}})
	if err != nil {
		return Imported{}, err
	}
	return result, tx.Changed(EntitlementKind, result.Ref)
}

func insertLine(tx *db.Tx, ref string, of Imported, place int, line entitlement.Line) error {
	var starts, expires sql.NullInt64
	if line.Start != nil {
		starts = instant(*line.Start)
	}
	if line.Expires != nil {
		expires = instant(line.Expires.AddDate(0, 0, 1)) // the last day counts
	}
	_, err := tx.Exec(`INSERT INTO lines (ref, entitlement, place, owner, activation_id, right_id, part_number, product, version, order_line, sold, bought, starts, expires)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`, ref, of.Ref, place, of.Owner, line.ActivationID.Reveal(), string(line.ActivationID.RightID()),
		line.PartNumber, line.Product, line.Version, line.OrderLine, line.Count, line.Remaining, starts, expires)
	if err != nil {
		return fmt.Errorf("import a line of an entitlement: %w", err)
	}
	return nil
}

// unchanged is true if the entitlement is here already and says the same for the same owner; an error if it says something
// else.
func unchanged(tx *db.Tx, c entitlement.Certificate, owner string, into *Imported) (bool, error) {
	var ref, content, ownedBy string
	err := tx.QueryRow("SELECT ref, content, owner FROM entitlements WHERE id = $1", c.ID).Scan(&ref, &content, &ownedBy)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for an earlier import: %w", err)
	}
	var differences []string
	if content != string(c.Content) {
		if differences, err = compareLines(tx, ref, c); err != nil {
			return false, err
		}
	}
	if owner != ownedBy {
		differences = append(differences, fmt.Sprintf("owner: was %s, is %s", ownedBy, owner))
	}
	if len(differences) > 0 {
		*into = Imported{}
		return true, &DifferentError{Ref: ref, Differences: differences}
	}
	into.Unchanged, into.Ref = true, ref
	return true, nil
}

// compareLines says how the certificate differs from what was imported of it.
func compareLines(tx *db.Tx, ref string, c entitlement.Certificate) ([]string, error) {
	type line struct {
		product string
		count   int
		expires sql.NullInt64
	}
	was := make(map[exchange.ActivationID]line)
	var ids []exchange.ActivationID
	err := each(tx, "SELECT activation_id, part_number, sold, expires FROM lines WHERE entitlement = $1 ORDER BY place", []any{ref}, func(scan func(...any) error) error {
		var id exchange.ActivationID
		var l line
		err := scan(&id, &l.product, &l.count, &l.expires)
		was[id] = l
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("compare with the earlier import: %w", err)
	}
	var differences []string
	differ := func(id exchange.ActivationID, what, before, now string) {
		if before != now {
			differences = append(differences, fmt.Sprintf("line %s: %s was %s, is %s", id, what, before, now))
		}
	}
	for _, now := range c.Lines {
		before, ok := was[now.ActivationID]
		if !ok {
			differences = append(differences, fmt.Sprintf("line %s is new: %d of %s", now.ActivationID, now.Count, now.PartNumber))
			continue
		}
		differ(now.ActivationID, "the product", before.product, now.PartNumber)
		differ(now.ActivationID, "the seat count", fmt.Sprint(before.count), fmt.Sprint(now.Count))
		differ(now.ActivationID, "the last day", lastDay(before.expires), dayOf(now.Expires))
		delete(was, now.ActivationID)
	}
	for _, id := range ids {
		if _, gone := was[id]; gone {
			differences = append(differences, fmt.Sprintf("line %s is missing", id))
		}
	}
	if len(differences) == 0 {
		differences = []string{"what it grants, in a value that is not kept"}
	}
	return differences, nil
}

// free is an error if an activation ID of the certificate stands in another entitlement.
func free(tx *db.Tx, c entitlement.Certificate) error {
	ids := make(map[string]exchange.ActivationID, len(c.Lines))
	var rights []string
	for _, line := range c.Lines {
		right := string(line.ActivationID.RightID())
		ids[right] = line.ActivationID
		rights = append(rights, right)
	}
	taken := &TakenError{}
	for some := range slices.Chunk(rights, chunk) {
		err := each(tx, "SELECT right_id, entitlement FROM lines WHERE right_id IN ("+marks(1, len(some))+") ORDER BY entitlement, ref", anys(some), func(scan func(...any) error) error {
			var right, ref string
			err := scan(&right, &ref)
			taken.Lines = append(taken.Lines, fmt.Sprintf("%s (in %s)", ids[right], ref))
			return err
		})
		if err != nil {
			return fmt.Errorf("look for activation IDs in other entitlements: %w", err)
		}
	}
	if len(taken.Lines) > 0 {
		return taken
	}
	return nil
}

// instant is how a time is stored; the zero time is NULL.
func instant(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: db.Millis(t), Valid: !t.IsZero()}
}

func lastDay(expires sql.NullInt64) string {
	if !expires.Valid {
		return "never"
	}
	return db.Time(expires.Int64).AddDate(0, 0, -1).Format(time.DateOnly)
}

func dayOf(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.Format(time.DateOnly)
}

// newRef is random: 50 bits, which the database refuses to have twice.
func newRef(prefix string) string {
	var raw [7]byte
	_, _ = rand.Read(raw[:]) // never fails
	return prefix + strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))[:10]
}
