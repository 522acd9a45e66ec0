package client

import (
	"context"
	"net/http"
	"time"
)

// Imported is the answer to an import of a catalog or of sites.
type Imported struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
}

// Product is what can be bought and assigned, as the catalog says.
type Product struct {
	PartNumber  string    `json:"part_number"`
	Name        string    `json:"name"`
	Features    []Feature `json:"features,omitempty"`
	Unit        *Unit     `json:"unit,omitempty"`
	Types       []string  `json:"types,omitempty" doc:"Server types that may hold it."`
	MinVersion  string    `json:"min_version,omitempty" doc:"The lowest server version that may hold it."`
	Placement   string    `json:"placement,omitempty" doc:"top or each: where it sits."`
	Scope       string    `json:"scope,omitempty" doc:"server or system: whom it serves."`
	ExclusiveIn string    `json:"exclusive_in,omitempty" doc:"server or system: where none of those may be that it excludes."`
	Excludes    []string  `json:"excludes,omitempty"`
	ManagedBy   string    `json:"managed_by,omitempty" doc:"Who administers it instead; then it is never assigned here."`
}

// Feature is what a license of a product unlocks.
type Feature struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Unit is what a license of a product is counted in.
type Unit struct {
	Name       string `json:"name"`
	PerLicense int    `json:"per_license"`
}

// Products is the catalog.
type Products struct {
	At       time.Time `json:"at"`
	Products []Product `json:"products" nullable:"false"`
}

// ImportCatalog takes over the products of the YAML file; those that it does not name stay.
func (c *Client) ImportCatalog(ctx context.Context, file []byte) (Imported, error) {
	var answer Imported
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/catalog", mediaType: "application/yaml", body: file}, &answer)
	return answer, err
}

// Products lists the catalog.
func (c *Client) Products(ctx context.Context) (Products, error) {
	var answer Products
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/products"}, &answer)
	return answer, err
}
