package exchange

import (
	"fmt"
	"time"
)

// Refusal is an answer that says no: from an activation server, a carrier, or a BMS server that does not apply a response.
// It travels as an RFC 9457 problem document.
type Refusal struct {
	Code       Code
	Retry      Retry         // as stated by the other side; empty means the code's own
	Detail     string        // the other side's words, already stripped of control characters
	RetryAfter time.Duration // 0 if nothing was said
	Status     int           // HTTP status, 0 if there was none
}

func (r *Refusal) Error() string {
	text := r.Code.Meaning().Text
	if r.Detail != "" && r.Detail != text {
		text += " (" + r.Detail + ")"
	}
	return fmt.Sprintf("%s: %s", r.Code, text)
}

// When is when to try again.
func (r *Refusal) When() Retry {
	switch r.Retry {
	case RetryNever, RetryLater, RetryAfterOperator:
		return r.Retry
	}
	return r.Code.Meaning().Retry
}

// Problem is the RFC 9457 document of a refusal.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title,omitempty"`
	Status int    `json:"status,omitempty"`
	Detail string `json:"detail,omitempty"`
	Code   Code   `json:"code,omitempty"`
	Retry  Retry  `json:"retry,omitempty"`
}

// Refusal is p as a stranger wrote it: a code that this version does not know becomes Unknown, the detail plain text.
func (p Problem) Refusal(status int, retryAfter time.Duration) *Refusal {
	return &Refusal{Code: p.Code.Known(), Retry: p.Retry, Detail: plain(p.Detail), RetryAfter: retryAfter, Status: status}
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is how r travels.
func (r *Refusal) Problem() Problem {
	return Problem{Type: "about:blank", Title: r.Code.Meaning().Text, Status: r.Status, Detail: r.Detail, Code: r.Code, Retry: r.When()}
}
