// Package catalog knows the products that can be assigned: which features they unlock, which servers may hold them, where
// they sit and whom they serve. The vendor's rules for 7.0 are not public, so they are data, never code.
package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/licet-project/licet/shared/protocol"
)

// Where a product sits in a system.
const (
	PlacementTop  = "top"  // on the top server
	PlacementEach = "each" // on every server that uses it
)

// Whom a product serves, and how far it excludes others.
const (
	ScopeServer = "server" // the server that holds it
	ScopeSystem = "system" // every server of the system
)

// ManagedByLicenseAdministrator marks products that the vendor's older tool manages: shown, never assigned here.
const ManagedByLicenseAdministrator = "license-administrator"

// ServerTypes are the types of BMS servers that exist.
func ServerTypes() []string { return []string{"EC", "ES", "AS-P", "AS-P-3", "AS-B", "EDGE"} }

// Product is something that an entitlement line sells.
type Product struct {
	PartNumber  string    `yaml:"part_number" json:"part_number"`
	Name        string    `yaml:"name" json:"name"`
	Features    []Feature `yaml:"features" json:"features,omitempty"`
	Unit        *Unit     `yaml:"unit" json:"unit,omitempty"` // nil: it is not counted by what it serves
	AppliesTo   AppliesTo `yaml:"applies_to" json:"applies_to"`
	Placement   string    `yaml:"placement" json:"placement,omitempty"`
	Scope       string    `yaml:"scope" json:"scope,omitempty"`
	ExclusiveIn string    `yaml:"exclusive_in" json:"exclusive_in,omitempty"` // ScopeServer or ScopeSystem: where none of Excludes may be; empty: nowhere
	Excludes    []string  `yaml:"excludes" json:"excludes,omitempty"`         // part numbers
	ManagedBy   string    `yaml:"managed_by" json:"managed_by,omitempty"`     // empty: Licet
}

// Feature is what a license unlocks; Count is how much of it one license gives.
type Feature struct {
	Name  string `yaml:"name" json:"name"`
	Count int    `yaml:"count" json:"count"`
}

// Unit is what a license is counted by.
type Unit struct {
	Name       string `yaml:"name" json:"name"`
	PerLicense int    `yaml:"per_license" json:"per_license"`
}

// AppliesTo says which servers may hold a product.
type AppliesTo struct {
	Types      []string `yaml:"types" json:"types,omitempty"`
	MinVersion string   `yaml:"min_version" json:"min_version,omitempty"` // empty: every version that is not classic
}

// Candidate is a server that may be given a product.
type Candidate struct {
	Type    string
	Version string // empty: not known yet
	Role    string // protocol.RoleTop or RoleField
}

// ErrDoesNotApply is in every error of Problem.
var ErrDoesNotApply = errors.New("the product does not apply to this server")

// Problem says every reason why the server may not hold the product, with the numbers; nil: it may.
func (p Product) Problem(c Candidate) error {
	var reasons []string
	because := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	if p.ManagedBy != "" {
		because("it is managed by %s", strings.ReplaceAll(p.ManagedBy, "-", " "))
	} else if !slices.Contains(p.AppliesTo.Types, c.Type) {
		because("it applies to %s, this is %s", strings.Join(p.AppliesTo.Types, ", "), named(c.Type, "a server of unknown type"))
	}
	version, err := ParseVersion(c.Version)
	least, _ := ParseVersion(p.AppliesTo.MinVersion) // checked when the catalog was read; empty is the lowest
	switch {
	case c.Version == "":
		because("the server's version is not known yet")
	case err != nil:
		because("the server's version %q cannot be compared", c.Version)
	case version.Classic():
		because("the server is classic (version %s): servers before 7.0 are observed, nothing is assigned to them", c.Version)
	case version.Compare(least) < 0:
		because("it needs version %s or later, the server has %s", p.AppliesTo.MinVersion, c.Version)
	}
	if p.Placement == PlacementTop && c.Role != protocol.RoleTop {
		because("it sits on the top server of a system, this is a %s server", named(c.Role, "server of unknown role, not a top"))
	}
	if len(reasons) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrDoesNotApply, p.PartNumber, strings.Join(reasons, "; "))
}

func named(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
