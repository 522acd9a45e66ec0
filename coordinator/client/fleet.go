package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Site is where servers stand.
type Site struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Owner    string   `json:"owner"`
	TimeZone string   `json:"time_zone,omitempty"`
	Carriers []string `json:"carriers,omitempty" doc:"How requests may reach the activation server, in order."`
	Servers  int      `json:"servers" doc:"How many servers stand there."`
}

// Sites is every site.
type Sites struct {
	At    time.Time `json:"at"`
	Sites []Site    `json:"sites" nullable:"false"`
}

// Presence of the agent that looks after a server, as the coordinator judges it.
type Presence string

// Presences.
const (
	Connected Presence = "connected"
	Suspect   Presence = "suspect" // will seen or heartbeats missed; not judged yet
	Silent    Presence = "silent"
	Stopped   Presence = "stopped" // a clean end
	NeverSeen Presence = "never seen"
)

// Server is a BMS server with what is known of it.
type Server struct {
	ID         string            `json:"id" doc:"Never changes."`
	HostID     string            `json:"host_id,omitempty" doc:"Empty until the server was met."`
	HostIDType string            `json:"host_id_type,omitempty"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Role       string            `json:"role" doc:"top or field"`
	Parent     string            `json:"parent,omitempty" doc:"Name of the server above it."`
	Site       string            `json:"site"`
	Owner      string            `json:"owner"`
	Version    string            `json:"version,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Agent      string            `json:"agent,omitempty"`
	Presence   Presence          `json:"presence" doc:"Of its agent: connected, suspect, silent, stopped, never seen."`
	Heard      *time.Time        `json:"heard,omitempty" doc:"When its agent was last heard."`
	Reported   *time.Time        `json:"reported,omitempty" doc:"When the last report of the server came."`
	Unanswered string            `json:"unanswered,omitempty" doc:"Why the server did not answer its agent; then its facts are old."`
	Adopting   bool              `json:"adopting,omitempty" doc:"Licet still takes over what the host holds; nothing is raised."`
	Conditions []string          `json:"conditions,omitempty"`
}

// Servers is a selection of servers.
type Servers struct {
	At      time.Time `json:"at"`
	Servers []Server  `json:"servers" nullable:"false"`
}

// License is one feature as the server's License Information shows it.
type License struct {
	Feature   string     `json:"feature"`
	Required  int        `json:"required"`
	Used      int        `json:"used"`
	Available int        `json:"available"`
	Activated int        `json:"activated"`
	Expires   *time.Time `json:"expires,omitempty"`
	Source    string     `json:"source,omitempty" doc:"own, or the host ID of the server that covers it."`
	Violation bool       `json:"violation,omitempty" doc:"Used is below Required, by the server's own word."`
}

// ServerDetail is everything about one server.
type ServerDetail struct {
	At          time.Time    `json:"at"`
	Server      Server       `json:"server"`
	Licenses    []License    `json:"licenses" nullable:"false" doc:"License Information, as last reported."`
	Assignments []Assignment `json:"assignments" nullable:"false"`
}

// InventoryResult is the answer to an import of servers.
type InventoryResult struct {
	Checked   bool            `json:"checked" doc:"It was a dry run: nothing changed."`
	Added     int             `json:"added"`
	Changed   int             `json:"changed"`
	Unchanged int             `json:"unchanged"`
	Changes   []InventoryLine `json:"changes,omitempty"`
	Notes     []string        `json:"notes,omitempty" doc:"What the writer of the file should know."`
}

// InventoryLine is what an import does, or would do, with one server.
type InventoryLine struct {
	Row    int    `json:"row" doc:"Line of the file."`
	Server string `json:"server"`
	Change string `json:"change"`
}

// ImportSites takes over the sites of the YAML file.
func (c *Client) ImportSites(ctx context.Context, file []byte) (Imported, error) {
	var answer Imported
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/sites", mediaType: "application/yaml", body: file}, &answer)
	return answer, err
}

// Sites lists the sites.
func (c *Client) Sites(ctx context.Context) (Sites, error) {
	var answer Sites
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/sites"}, &answer)
	return answer, err
}

// ImportServers takes over the servers of the CSV file, or only says what it would do.
func (c *Client) ImportServers(ctx context.Context, file []byte, check bool) (InventoryResult, error) {
	query := url.Values{"check": {strconv.FormatBool(check)}}
	var answer InventoryResult
	err := c.do(ctx, call{method: http.MethodPost, path: "/v1/servers/import", query: query, mediaType: "text/csv", body: file}, &answer)
	return answer, err
}

// Servers lists the servers that the selector selects; an empty one selects all.
func (c *Client) Servers(ctx context.Context, selector string) (Servers, error) {
	var answer Servers
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/servers", query: selected(selector)}, &answer)
	return answer, err
}

// Server is everything about the server with the host ID.
func (c *Client) Server(ctx context.Context, hostID string) (ServerDetail, error) {
	var answer ServerDetail
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/servers/" + url.PathEscape(hostID)}, &answer)
	return answer, err
}

func selected(selector string) url.Values {
	if selector == "" {
		return nil
	}
	return url.Values{"select": {selector}}
}
