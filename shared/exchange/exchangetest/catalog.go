package exchangetest

import (
	_ "embed"
	"errors"
	"fmt"
)

// Catalog is what the activation server knows of products: the features that they unlock.
type Catalog struct{ Products []Product }

// Product is one part number.
type Product struct {
	PartNumber string
	Name       string
	Version    string // the oldest server version that it applies to; may be empty
	Scope      string // server, or system
	ManagedBy  string // empty, or who hands it out instead: then no host gets it here
	Features   []Feature
}

// Feature is what one seat of a product unlocks.
type Feature struct {
	Name  string
	Count int
}

// Product is the product with this part number.
func (c Catalog) Product(partNumber string) (Product, bool) {
	for _, p := range c.Products {
		if p.PartNumber == partNumber {
			return p, true
		}
	}
	return Product{}, false
}

//go:embed testdata/catalog.yaml
var sampleCatalog []byte

// SampleCatalog is the catalog of the samples.
func SampleCatalog() Catalog {
	c, err := ParseCatalog(sampleCatalog)
	if err != nil {
		panic(err) // it is part of this program, and a test reads it
	}
	return c
}

// catalogFile has every key that a catalog may have; what the activation server does not need is read and left alone.
type catalogFile struct {
	Products []struct {
		PartNumber  string        `yaml:"part_number"`
		Name        string        `yaml:"name"`
		Features    []featureFile `yaml:"features"`
		Unit        any           `yaml:"unit"`
		AppliesTo   appliesToFile `yaml:"applies_to"`
		Placement   any           `yaml:"placement"`
		Scope       string        `yaml:"scope"`
		ExclusiveIn any           `yaml:"exclusive_in"`
		Excludes    any           `yaml:"excludes"`
		ManagedBy   string        `yaml:"managed_by"`
	} `yaml:"products"`
}

type featureFile struct {
	Name  string `yaml:"name"`
	Count int    `yaml:"count"`
}

type appliesToFile struct {
	Types      any    `yaml:"types"`
	MinVersion string `yaml:"min_version"`
}

// ParseCatalog reads a catalog and names every mistake in what is needed here, with its place.
func ParseCatalog(data []byte) (Catalog, error) {
	var file catalogFile
	place, err := readYAML("catalog", data, &file)
	if err != nil {
		return Catalog{}, err
	}
	var catalog Catalog
	var problems []error
	seen := map[string]bool{}
	for i, p := range file.Products {
		wrong := func(text string, path ...any) {
			problems = append(problems, fmt.Errorf("catalog %s: %s", place(append([]any{"products", i}, path...)...), text))
		}
		product := Product{
			PartNumber: p.PartNumber, Name: p.Name, Version: p.AppliesTo.MinVersion, Scope: p.Scope, ManagedBy: p.ManagedBy,
		}
		switch {
		case p.PartNumber == "":
			wrong("part_number is missing")
		case seen[p.PartNumber]:
			wrong("part_number "+quoted(p.PartNumber)+" is there twice", "part_number")
		}
		seen[p.PartNumber] = true
		if p.ManagedBy == "" {
			if p.Scope != "server" && p.Scope != "system" {
				wrong("scope is not server or system", "scope")
			}
			if len(p.Features) == 0 {
				wrong("features are missing")
			}
		}
		names := map[string]bool{}
		for j, f := range p.Features {
			if f.Name == "" || names[f.Name] {
				wrong("a feature's name is missing or there twice", "features", j)
			}
			names[f.Name] = true
			if f.Count < 1 || f.Count > maxPerSeat {
				wrong(fmt.Sprintf("a feature's count is not between 1 and %d", maxPerSeat), "features", j, "count")
			}
			product.Features = append(product.Features, Feature(f))
		}
		catalog.Products = append(catalog.Products, product)
	}
	if len(problems) == 0 && len(catalog.Products) == 0 {
		problems = append(problems, errors.New("catalog: it has no product"))
	}
	return catalog, errors.Join(problems...)
}

// maxPerSeat keeps features x seats within an int everywhere.
const maxPerSeat = 1_000_000
