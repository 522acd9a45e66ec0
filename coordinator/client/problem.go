package client

import "fmt"

// Codes of a Problem. They are few and stable, so that a script can decide by them.
const (
	CodeInvalid     = "invalid"     // 422: the request cannot be understood; errors says where
	CodeRefused     = "refused"     // 409: understood, and a rule says no; nothing changed
	CodeNotFound    = "not-found"   // 404
	CodeForbidden   = "forbidden"   // 403: a page of another origin asked
	CodeMediaType   = "media-type"  // 415
	CodeTooLarge    = "too-large"   // 413
	CodeTimeout     = "timeout"     // 503: it took longer than the caller allowed
	CodeUnavailable = "unavailable" // 503: something that the coordinator needs is away
	CodeInternal    = "internal"    // 500: the coordinator's log says more
	CodeHTTP        = "http"        // anything else that HTTP itself refuses
	ProblemType     = "application/problem+json"
)

// Problem is an RFC 9457 problem document: what happened and what to do next.
type Problem struct {
	Type   string          `json:"type,omitempty" doc:"Always about:blank; the code tells problems apart."`
	Title  string          `json:"title" doc:"The HTTP status in words."`
	Status int             `json:"status" doc:"HTTP status."`
	Detail string          `json:"detail,omitempty" doc:"What happened, for a person."`
	Code   string          `json:"code" doc:"What happened, for a program."`
	Hint   string          `json:"hint,omitempty" doc:"What to do next."`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"Every place that is wrong, where there are several."`
}

// ProblemDetail is one of several things that are wrong.
type ProblemDetail struct {
	Location string `json:"location,omitempty" doc:"Where: a field of the body, a line of a file."`
	Message  string `json:"message" doc:"What is wrong there."`
}

func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = fmt.Sprintf("status %d", p.Status)
	}
	return text
}

// GetStatus is the HTTP status to answer with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is how a problem is labeled.
func (p *Problem) ContentType(string) string { return ProblemType }

// Unreachable means that nobody knows whether the request arrived: the coordinator did not answer, or not in its manner.
type Unreachable struct{ Err error }

func (u *Unreachable) Error() string { return u.Err.Error() }

func (u *Unreachable) Unwrap() error { return u.Err }
