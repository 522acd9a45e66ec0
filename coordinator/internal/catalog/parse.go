package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/licet-project/licet/coordinator/internal/strictyaml"
	"github.com/licet-project/licet/shared/exchange"
)

// Catalog is the products of one file.
type Catalog struct {
	Products []Product `yaml:"products"`
}

// Problem is one mistake in a catalog file.
type Problem struct {
	Row    int    `json:"row,omitempty"`    // line of the file, counted from 1; 0 if it is about the whole file
	Column string `json:"column,omitempty"` // the key
	Text   string `json:"text"`
}

// Problems are every mistake of a catalog file that is refused.
type Problems []Problem

func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, problem := range p {
		var place []string
		if problem.Row > 0 {
			place = append(place, fmt.Sprintf("line %d", problem.Row))
		}
		if problem.Column != "" {
			place = append(place, problem.Column)
		}
		texts[i] = problem.Text
		if len(place) > 0 {
			texts[i] = strings.Join(place, ", ") + ": " + problem.Text
		}
	}
	return strings.Join(texts, "\n")
}

// Limits of a catalog.
const (
	maxText     = 200 // characters
	maxProducts = 10_000
	maxProblems = 50
)

// Parse reads a catalog file. Its error is Problems: every mistake, in the order of the file.
func Parse(data []byte) (Catalog, error) {
	var catalog Catalog
	file, mistakes := strictyaml.Decode(data, &catalog)
	r := reader{file: file, numbers: make(map[string]int)}
	for _, m := range mistakes {
		r.problems = append(r.problems, Problem{m.Line, m.Key, m.Text})
	}
	if len(mistakes) == 0 {
		r.catalog(catalog)
	}
	if len(r.problems) == 0 {
		return catalog, nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Compare(a.Row, b.Row) })
	if len(r.problems) > maxProblems {
		r.problems = append(r.problems[:maxProblems], Problem{Text: fmt.Sprintf("there are more; the first %d are listed", maxProblems)})
	}
	return Catalog{}, r.problems
}

// reader checks what was read.
type reader struct {
	file     strictyaml.File
	numbers  map[string]int // place in the list, by part number
	problems Problems
}

func (r *reader) catalog(c Catalog) {
	switch n := len(c.Products); {
	case n == 0:
		r.problems = append(r.problems, Problem{Text: "there are no products"})
	case n > maxProducts:
		r.problems = append(r.problems, Problem{Text: fmt.Sprintf("%d products, at most %d are allowed", n, maxProducts)})
		return
	}
	for i, p := range c.Products {
		if before, twice := r.numbers[p.PartNumber]; twice && p.PartNumber != "" {
			r.add(i, "part_number", "%q stands already in line %d", p.PartNumber, r.file.Line("products", before, "part_number"))
			continue
		}
		r.numbers[p.PartNumber] = i
	}
	for i, p := range c.Products {
		r.text(i, "part_number", p.PartNumber)
		r.text(i, "name", p.Name)
		switch p.ManagedBy {
		case "":
			r.product(i, p)
		case ManagedByLicenseAdministrator:
			if p.Placement != "" || p.Scope != "" || len(p.AppliesTo.Types) > 0 || p.AppliesTo.MinVersion != "" || p.Unit != nil || p.ExclusiveIn != "" || len(p.Excludes) > 0 {
				r.add(i, "managed_by", "what is managed elsewhere has no rules here but its name and its features")
			}
			r.features(i, p)
		default:
			r.add(i, "managed_by", "%q is not known: leave it out, or write %s", p.ManagedBy, ManagedByLicenseAdministrator)
		}
	}
}

// product checks the rules of a product that can be assigned.
func (r *reader) product(i int, p Product) {
	if len(p.Features) == 0 {
		r.add(i, "features", "it unlocks nothing: name at least one feature")
	}
	r.features(i, p)
	if p.Unit != nil {
		r.text(i, "unit", p.Unit.Name)
		r.amount(i, "unit", "per_license", p.Unit.PerLicense)
	}
	r.oneOf(i, "placement", p.Placement, PlacementTop, PlacementEach)
	r.oneOf(i, "scope", p.Scope, ScopeServer, ScopeSystem)
	if p.Scope == ScopeSystem && p.Placement == PlacementEach {
		r.add(i, "scope", "what serves a whole system sits on its top server: write placement: top")
	}
	if len(p.AppliesTo.Types) == 0 {
		r.add(i, "applies_to", "types are missing: it would apply to no server")
	}
	for j, kind := range p.AppliesTo.Types {
		if !slices.Contains(ServerTypes(), kind) {
			r.add(i, "applies_to", "%q is not a type of server: %s", kind, strings.Join(ServerTypes(), ", "))
		} else if slices.Contains(p.AppliesTo.Types[:j], kind) {
			r.add(i, "applies_to", "%q is named twice", kind)
		}
	}
	if p.AppliesTo.MinVersion != "" {
		if version, err := ParseVersion(p.AppliesTo.MinVersion); err != nil {
			r.add(i, "applies_to", "min_version: %v", err)
		} else if version.Classic() {
			r.add(i, "applies_to", "min_version %s: servers before 7.0 are observed, nothing is assigned to them", p.AppliesTo.MinVersion)
		}
	}
	r.excludes(i, p)
}

func (r *reader) excludes(i int, p Product) {
	switch {
	case p.ExclusiveIn != "":
		r.oneOf(i, "exclusive_in", p.ExclusiveIn, ScopeServer, ScopeSystem)
		if len(p.Excludes) == 0 {
			r.add(i, "exclusive_in", "it excludes nothing: name the part numbers in excludes")
		}
	case len(p.Excludes) > 0:
		r.add(i, "excludes", "it does not say where: write exclusive_in: %s or %s", ScopeServer, ScopeSystem)
	}
	for j, other := range p.Excludes {
		switch _, known := r.numbers[other]; {
		case other == p.PartNumber:
			r.add(i, "excludes", "it excludes itself")
		case !known:
			r.add(i, "excludes", "%q is not in this catalog", other)
		case slices.Contains(p.Excludes[:j], other):
			r.add(i, "excludes", "%q is named twice", other)
		}
	}
}

func (r *reader) features(i int, p Product) {
	for j, feature := range p.Features {
		r.text(i, "features", feature.Name)
		r.amount(i, "features", feature.Name, feature.Count)
		if slices.ContainsFunc(p.Features[:j], func(f Feature) bool { return f.Name == feature.Name }) && feature.Name != "" {
			r.add(i, "features", "%q is named twice", feature.Name)
		}
	}
}

func (r *reader) amount(i int, key, name string, n int) {
	if n < 1 || n > exchange.MaxCount {
		r.add(i, key, "%q: %d is not between 1 and %d", name, n, exchange.MaxCount)
	}
}

func (r *reader) oneOf(i int, key, value string, allowed ...string) {
	switch {
	case value == "":
		r.add(i, key, "it is missing: %s", strings.Join(allowed, " or "))
	case !slices.Contains(allowed, value):
		r.add(i, key, "%q is not %s", value, strings.Join(allowed, " or "))
	}
}

// text checks a name: something that a person can see, and not too much of it.
func (r *reader) text(i int, key, text string) {
	hidden := func(c rune) bool { return c != ' ' && (!unicode.IsGraphic(c) || unicode.IsSpace(c)) }
	switch n := utf8.RuneCountInString(text); {
	case strings.TrimSpace(text) == "":
		r.add(i, key, "a name is missing")
	case n > maxText:
		r.add(i, key, "%d characters, at most %d are allowed", n, maxText)
	case strings.ContainsFunc(text, hidden):
		r.add(i, key, "it has control or invisible characters")
	case text != strings.TrimSpace(text):
		r.add(i, key, "it begins or ends with a space")
	}
}

func (r *reader) add(i int, key, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.file.Line("products", i, key), key, fmt.Sprintf(format, args...)})
}
