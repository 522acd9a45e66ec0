package client

import (
	"context"
	"net/http"
	"time"
)

// Phase of an assignment, computed from its counts and its server's exchange.
type Phase string

// Phases.
const (
	Freed             Phase = "freed"
	Failed            Phase = "failed"
	Assigned          Phase = "assigned"
	Returning         Phase = "returning"
	ReturnUnconfirmed Phase = "return-unconfirmed"
	Activated         Phase = "activated"
	Issued            Phase = "issued"
	Requested         Phase = "requested"
	Ordered           Phase = "ordered"
)

// Phases is every phase, in the order of an assignment's life.
func Phases() []Phase {
	return []Phase{Assigned, Ordered, Requested, Issued, Activated, Failed, Returning, ReturnUnconfirmed, Freed}
}

// Assignment is one activation ID on one server. Held is the greatest of want, ordered and exposed.
type Assignment struct {
	Server       string     `json:"server" doc:"The server's ID."`
	HostID       string     `json:"host_id,omitempty"`
	Name         string     `json:"name" doc:"The server's name."`
	Site         string     `json:"site"`
	Line         string     `json:"line" doc:"Ref of the entitlement line."`
	ActivationID string     `json:"activation_id" doc:"Masked but for its last characters."`
	PartNumber   string     `json:"part_number"`
	Want         int        `json:"want" doc:"Decided, and held for it."`
	Ordered      int        `json:"ordered" doc:"Told to the server's agent."`
	Exposed      int        `json:"exposed" doc:"The most that the activation server may hold for it."`
	Proved       int        `json:"proved" doc:"By the newest valid receipt."`
	Held         int        `json:"held"`
	Phase        Phase      `json:"phase"`
	Code         string     `json:"code,omitempty" doc:"Why it failed."`
	Reason       string     `json:"reason,omitempty" doc:"Why it failed, for a person."`
	Hint         string     `json:"hint,omitempty" doc:"What to do next."`
	Conditions   []string   `json:"conditions,omitempty"`
	Proof        string     `json:"proof,omitempty" doc:"signed: by a receipt of the activation server."`
	ProvedAt     *time.Time `json:"proved_at,omitempty"`
}

// Settled reports whether nothing more happens by itself: activated, failed or freed.
func (a Assignment) Settled() bool {
	return a.Phase == Activated || a.Phase == Failed || a.Phase == Freed
}

// Assignments is a selection of assignments.
type Assignments struct {
	At          time.Time    `json:"at"`
	Newest      int64        `json:"newest" doc:"ID of the newest change that this answer shows: where to follow the events from."`
	Assignments []Assignment `json:"assignments" nullable:"false"`
}

// AssignRequest asks to hold count seats of a product for every selected server.
type AssignRequest struct {
	Select  string `json:"select" maxLength:"4096" doc:"Which servers; empty selects all."`
	Product string `json:"product" minLength:"1" maxLength:"255" doc:"Part number."`
	Count   int    `json:"count" minimum:"1" maximum:"1000000000" doc:"Absolute count for each server."`
	Wait    string `json:"wait,omitempty" maxLength:"20" doc:"How long to wait for servers that are being adopted, for example 30s (the default)."`
}

// AssignResult is what was assigned.
type AssignResult struct {
	Servers   int    `json:"servers"`
	SeatsHeld int    `json:"seats_held" doc:"Newly held; 0 if every server had them already."`
	Changed   int    `json:"changed" doc:"How many of the servers held another count before."`
	Left      int    `json:"left" doc:"Seats of the product that are left to these servers' owners."`
	Product   string `json:"product"`
}

// UnassignRequest asks to lower what every selected server holds.
type UnassignRequest struct {
	Select  string `json:"select" maxLength:"4096" doc:"Which servers; empty selects all."`
	Product string `json:"product" maxLength:"255" doc:"Part number; empty means every product."`
	Count   int    `json:"count,omitempty" minimum:"0" maximum:"1000000000" doc:"What each server keeps of the product."`
}

// UnassignResult is what was unassigned. What was already ordered is a return: it is ordered at once, and held until the
// activation server's receipt.
type UnassignResult struct {
	Servers   int    `json:"servers" doc:"That were selected."`
	Changed   int    `json:"changed" doc:"That held some of it."`
	Freed     int    `json:"freed" doc:"Seats that are free again at once."`
	Returning int    `json:"returning" doc:"Seats that are held until they are returned and proved."`
	Product   string `json:"product"`
}

// ActivateRequest asks to order what is wanted on every selected server; also again what failed.
type ActivateRequest struct {
	Select string `json:"select" maxLength:"4096" doc:"Which servers; empty selects all."`
}

// ActivateResult is what was ordered.
type ActivateResult struct {
	Servers     int `json:"servers" doc:"With a new order."`
	Assignments int `json:"assignments" doc:"That were ordered, or are tried again."`
	Retried     int `json:"retried" doc:"Of these, those that had failed."`
	Returns     int `json:"returns" doc:"Of these, those that are lowered."`
}

// Assign holds seats.
func (c *Client) Assign(ctx context.Context, r AssignRequest) (AssignResult, error) {
	var answer AssignResult
	err := c.post(ctx, "/v1/assignments", r, &answer)
	return answer, err
}

// Unassign gives seats back, or has them returned where they were ordered.
func (c *Client) Unassign(ctx context.Context, r UnassignRequest) (UnassignResult, error) {
	var answer UnassignResult
	err := c.post(ctx, "/v1/unassignments", r, &answer)
	return answer, err
}

// Activate orders what is wanted.
func (c *Client) Activate(ctx context.Context, r ActivateRequest) (ActivateResult, error) {
	var answer ActivateResult
	err := c.post(ctx, "/v1/activations", r, &answer)
	return answer, err
}

// Assignments lists the assignments of the selected servers.
func (c *Client) Assignments(ctx context.Context, selector string) (Assignments, error) {
	var answer Assignments
	err := c.do(ctx, call{method: http.MethodGet, path: "/v1/assignments", query: selected(selector)}, &answer)
	return answer, err
}
