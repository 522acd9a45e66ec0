// Package entitlement reads entitlement certificates: the HTML files that arrive by e-mail when an order is approved.
//
// The vendor's real file has not been seen, so nothing goes by position: header values are found by their labels, lines by
// the headings of their columns, in any layout of tables. The file is a stranger's: its size, its nesting and its parts are
// bounded before anything is built of it, no tree is built at all (a tree can be made to grow with the square of its
// file), only text is taken from it, and every mistake is named with its place. Nothing here touches a database.
package entitlement

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Certificate is what an entitlement certificate says.
type Certificate struct {
	ID          string
	SoldTo      string
	OrderNumber string
	Kind        string          // Commercial, Engineering, Demo, ... as written; empty if the file does not say
	Issued      time.Time       // a day, as midnight UTC; zero if the file does not say
	Digest      exchange.Digest // of the file as it is
	Content     exchange.Digest // of what it grants: the same certificate in another layout has the same
	Lines       []Line          // in the order of the file; at least one
	Notes       []string        // what was read and left out, for a person
}

// Line is one product of an entitlement: one activation ID.
type Line struct {
	ActivationID exchange.ActivationID
	Product      string
	Version      string
	PartNumber   string
	OrderLine    string
	Count        int        // seats bought, at least 1
	Remaining    int        // seats that nobody held when the file was written; Count if the file does not say
	Start        *time.Time // a day, as midnight UTC; nil if the file does not say
	Expires      *time.Time // the last day, as midnight UTC; nil is permanent
}

// Seats is the sum of the counts.
func (c Certificate) Seats() int {
	seats := 0
	for _, line := range c.Lines {
		seats += line.Count
	}
	return seats
}

// meaning is the digest of what the certificate grants: its ID, and of each line the activation ID (by its own digest),
// the part number, the count and the last day. Names, order data and what remains are left out: they differ between
// layouts and between two downloads of the same certificate.
func (c Certificate) meaning() (exchange.Digest, error) {
	type grant struct {
		Right   exchange.RightID `json:"right"`
		Part    string           `json:"part"`
		Count   int              `json:"count"`
		Expires string           `json:"expires"`
	}
	said := struct {
		ID     string  `json:"id"`
		Grants []grant `json:"grants"`
	}{ID: c.ID}
	for _, line := range c.Lines {
		g := grant{Right: line.ActivationID.RightID(), Part: line.PartNumber, Count: line.Count}
		if line.Expires != nil {
			g.Expires = line.Expires.Format(time.DateOnly)
		}
		said.Grants = append(said.Grants, g)
	}
	slices.SortFunc(said.Grants, func(a, b grant) int { return cmp.Compare(a.Right, b.Right) })
	text, err := json.Marshal(said)
	if err != nil {
		return "", fmt.Errorf("digest what the certificate says: %w", err)
	}
	return exchange.DigestOf(text), nil
}
