package catalog

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// Kind is a product's kind in the change feed; the key is its part number.
const Kind = "catalog"

// Summary is what an import did.
type Summary struct {
	Added     int
	Changed   int
	Unchanged int
}

// Import takes the products of the catalog over. Those that it does not name stay as they are: seats may be held of them.
// Importing the same again changes nothing and leaves no entry.
func Import(tx *db.Tx, actor audit.Actor, c Catalog) (Summary, error) {
	before, err := all(tx)
	if err != nil {
		return Summary{}, err
	}
	var did Summary
	added, changed := []string{}, []string{}
	for _, p := range c.Products {
		rules, err := json.Marshal(p)
		if err != nil {
			return Summary{}, fmt.Errorf("write product %s: %w", p.PartNumber, err)
		}
		switch old, known := before[p.PartNumber]; {
		case known && old == string(rules):
			did.Unchanged++
			continue
		case known:
			did.Changed++
			changed = append(changed, p.PartNumber)
		default:
			did.Added++
			added = append(added, p.PartNumber)
		}
		if err := write(tx, p, string(rules)); err != nil {
			return Summary{}, fmt.Errorf("write product %s: %w", p.PartNumber, err)
		}
	}
	if did.Added+did.Changed == 0 {
		return did, nil
	}
	err = audit.Record(tx, audit.Entry{
		Actor: actor, Action: "import", Subject: "catalog", Detail: map[string]any{"added": some(added), "changed": some(changed)},
	})
	return did, err
}

// Get is the product; false if the catalog does not know it.
func Get(tx *db.Tx, partNumber string) (Product, bool, error) {
	var rules string
	err := tx.QueryRow(`SELECT rules FROM products WHERE part_number = $1`, partNumber).Scan(&rules)
	if errors.Is(err, sql.ErrNoRows) {
		return Product{}, false, nil
	}
	var p Product
	if err == nil {
		err = json.Unmarshal([]byte(rules), &p)
	}
	if err != nil {
		return Product{}, false, fmt.Errorf("read product %s: %w", partNumber, err)
	}
	return p, true, nil
}

// List is every product, by part number.
func List(tx *db.Tx) ([]Product, error) {
	stored, err := all(tx)
	if err != nil {
		return nil, err
	}
	var products []Product
	for _, partNumber := range slices.Sorted(maps.Keys(stored)) {
		var p Product
		if err := json.Unmarshal([]byte(stored[partNumber]), &p); err != nil {
			return nil, fmt.Errorf("read product %s: %w", partNumber, err)
		}
		products = append(products, p)
	}
	return products, nil
}

// all is the rules of every product as they are stored, by part number.
func all(tx *db.Tx) (map[string]string, error) {
	rows, err := tx.Query(`SELECT part_number, rules FROM products`)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	stored := make(map[string]string)
	for rows.Next() {
		var partNumber, rules string
		if err := rows.Scan(&partNumber, &rules); err != nil {
			return nil, fmt.Errorf("read the catalog: %w", err)
		}
		stored[partNumber] = rules
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	return stored, nil
}

func write(tx *db.Tx, p Product, rules string) error {
	_, err := tx.Exec(`INSERT INTO products (part_number, name, rules) VALUES ($1, $2, $3)
		ON CONFLICT (part_number) DO UPDATE SET name = excluded.name, rules = excluded.rules`, p.PartNumber, p.Name, rules)
	if err != nil {
		return err
	}
	return tx.Changed(Kind, p.PartNumber)
}

// some is a list for the audit entry, short enough for one.
func some(list []string) []string {
	const most = 100
	if len(list) <= most {
		return list
	}
	return append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
}
