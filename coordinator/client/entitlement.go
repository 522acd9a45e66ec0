package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// MaxEntitlement is the largest entitlement certificate file that is looked at, in bytes.
const MaxEntitlement = 4 << 20

// EntitlementImported is the answer to an import.
type EntitlementImported struct {
	Ref           string   `json:"ref" doc:"Names the entitlement without disclosing its ID."`
	EntitlementID string   `json:"entitlement_id"`
	Owner         string   `json:"owner" doc:"Whose seats they are."`
	Lines         int      `json:"lines"`
	Seats         int      `json:"seats" doc:"The sum of the lines' counts."`
	Unchanged     bool     `json:"unchanged" doc:"The same entitlement was imported before: nothing changed."`
	Notes         []string `json:"notes,omitempty" doc:"What the reader of the file should know."`
}

// Entitlement is an imported entitlement with what its lines hold and have left.
type Entitlement struct {
	Ref           string            `json:"ref"`
	EntitlementID string            `json:"entitlement_id"`
	Owner         string            `json:"owner"`
	SoldTo        string            `json:"sold_to,omitempty"`
	OrderNumber   string            `json:"order_number,omitempty"`
	Kind          string            `json:"kind,omitempty" doc:"commercial, engineering, demo"`
	Issued        *time.Time        `json:"issued,omitempty"`
	ImportedAt    time.Time         `json:"imported_at"`
	Lines         []EntitlementLine `json:"lines" nullable:"false"`
}

// EntitlementLine is one activation ID: the pool that assignments draw from.
type EntitlementLine struct {
	Ref          string     `json:"ref" doc:"Names the line without disclosing its activation ID."`
	ActivationID string     `json:"activation_id" doc:"Masked but for its last characters."`
	PartNumber   string     `json:"part_number"`
	Product      string     `json:"product"`
	Version      string     `json:"version,omitempty"`
	Bought       int        `json:"bought" doc:"Seats that Licet may give."`
	Held         int        `json:"held"`
	Left         int        `json:"left"`
	Starts       *time.Time `json:"starts,omitempty"`
	Expires      *time.Time `json:"expires,omitempty" doc:"Absent: permanent."`
}

// Entitlements is every entitlement there is.
type Entitlements struct {
	At           time.Time     `json:"at" doc:"The coordinator's clock."`
	Entitlements []Entitlement `json:"entitlements" nullable:"false"`
}

// Certificate is what an entitlement certificate file says, read without a coordinator.
type Certificate struct {
	EntitlementID string            `json:"entitlement_id"`
	SoldTo        string            `json:"sold_to,omitempty"`
	OrderNumber   string            `json:"order_number,omitempty"`
	Kind          string            `json:"kind,omitempty"`
	Issued        *time.Time        `json:"issued,omitempty"`
	Lines         []CertificateLine `json:"lines" nullable:"false"`
	Seats         int               `json:"seats"`
	Notes         []string          `json:"notes,omitempty"`
}

// CertificateLine is one line of a certificate file. Remaining below Count means that the rest is held elsewhere.
type CertificateLine struct {
	ActivationID string     `json:"activation_id" doc:"Masked but for its last characters."`
	PartNumber   string     `json:"part_number"`
	Product      string     `json:"product"`
	Version      string     `json:"version,omitempty"`
	OrderLine    string     `json:"order_line,omitempty"`
	Count        int        `json:"count"`
	Remaining    int        `json:"remaining"`
	Starts       *time.Time `json:"starts,omitempty"`
	Expires      *time.Time `json:"expires,omitempty"`
}

// ImportEntitlement imports an entitlement certificate file as its bytes are. An empty owner means the file's Sold To.
func (c *Client) ImportEntitlement(ctx context.Context, file []byte, owner string) (EntitlementImported, error) {
	query := url.Values{}
	if owner != "" {
		query.Set("owner", owner)
	}
	var answer EntitlementImported
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/entitlements", query: query, mediaType: "text/html", body: file}, &answer)
	return answer, err
}

// Entitlements lists the imported entitlements.
func (c *Client) Entitlements(ctx context.Context) (Entitlements, error) {
	var answer Entitlements
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/entitlements"}, &answer)
	return answer, err
}
