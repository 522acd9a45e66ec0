package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Status is the fleet at a glance.
type Status struct {
	At          time.Time        `json:"at"`
	Version     string           `json:"version" doc:"Of the coordinator."`
	Newest      int64            `json:"newest" doc:"ID of the newest change."`
	Servers     int              `json:"servers"`
	Sites       int              `json:"sites"`
	Presence    map[Presence]int `json:"presence" doc:"Servers by the presence of their agent."`
	Assignments int              `json:"assignments" doc:"With something wanted."`
	Phases      map[Phase]int    `json:"phases" doc:"Assignments by phase; freed ones are left out."`
	Conditions  map[string]int   `json:"conditions" doc:"Assignments and servers by condition."`
	Seats       Seats            `json:"seats"`
	Oldest      *time.Time       `json:"oldest_report,omitempty" doc:"When the server that was silent for longest was last heard of."`
	Unreported  int              `json:"unreported" doc:"Servers that never reported."`
}

// Seats of all entitlements.
type Seats struct {
	Bought int `json:"bought"`
	Held   int `json:"held"`
	Left   int `json:"left"`
}

// Health says that the coordinator serves and reaches its database.
type Health struct {
	Status  string `json:"status"`
	Version string `json:"version"`
}

// CheckRequest asks to compare what everybody says of the licenses.
type CheckRequest struct {
	Wait string `json:"wait,omitempty" maxLength:"20" doc:"How long to wait for fresh reports, for example 15s (the default)."`
}

// CheckResult is the comparison of ledger, servers and activation server.
type CheckResult struct {
	At               time.Time  `json:"at"`
	Servers          int        `json:"servers"`
	Assignments      int        `json:"assignments" doc:"With something wanted."`
	ActivationServer bool       `json:"activation_server" doc:"The activation server was asked, too."`
	Mismatches       []Mismatch `json:"mismatches" nullable:"false"`
}

// Mismatch is one disagreement: who says what of one right on one server.
type Mismatch struct {
	Server     string `json:"server"`
	HostID     string `json:"host_id,omitempty"`
	Name       string `json:"name"`
	Right      string `json:"right,omitempty" doc:"The masked activation ID, or the short digest of one that Licet does not know."`
	PartNumber string `json:"part_number,omitempty"`
	Ledger     *int   `json:"ledger,omitempty" doc:"What the ledger wants."`
	Reported   *int   `json:"reported,omitempty" doc:"What the server's store holds."`
	Activation *int   `json:"activation_server,omitempty" doc:"What the activation server thinks the host holds."`
	Phase      Phase  `json:"phase,omitempty"`
	Problem    string `json:"problem"`
}

// AuditEntry is one line of the record.
type AuditEntry struct {
	ID      int64          `json:"id"`
	At      time.Time      `json:"at"`
	Actor   string         `json:"actor"`
	Action  string         `json:"action"`
	Subject string         `json:"subject"`
	Detail  map[string]any `json:"detail,omitempty"`
}

// Audit is a stretch of the record, oldest first.
type Audit struct {
	At      time.Time    `json:"at"`
	Entries []AuditEntry `json:"entries" nullable:"false"`
	More    bool         `json:"more" doc:"There is more after the last entry."`
}

// Status is the fleet at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var answer Status
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/status"}, &answer)
	return answer, err
}

// Health asks whether the coordinator serves.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var answer Health
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/health"}, &answer)
	return answer, err
}

// Check compares ledger, servers and activation server.
func (c *Client) Check(ctx context.Context, r CheckRequest) (CheckResult, error) {
	var answer CheckResult
	err := c.post(ctx, "/v1/checks", r, &answer)
	return answer, err
}

// Audit reads the record after the entry with the ID, at most limit entries; 0 is the coordinator's default.
func (c *Client) Audit(ctx context.Context, after int64, limit int) (Audit, error) {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var answer Audit
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/audit", query: query}, &answer)
	return answer, err
}
