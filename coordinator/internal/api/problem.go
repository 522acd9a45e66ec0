package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// problem is the one place where an error of the inside becomes an answer to the outside. What is not known here is
// internal: its detail goes to the log and nowhere else.
func (a *API) problem(ctx context.Context, operation string, err error) *client.Problem {
	p := known(err)
	if p == nil && ctx.Err() != nil { // whatever failed, failed because time was up or the caller has gone
		p = &client.Problem{
			Status: http.StatusServiceUnavailable, Code: client.CodeTimeout,
			Detail: "it took longer than the coordinator allows", Hint: "look whether it happened, then try again",
		}
	}
	if p == nil {
		a.o.Logger.Error().Err(err).Str("operation", operation).Msg("an operation failed")
		p = &client.Problem{
			Status: http.StatusInternalServerError, Code: client.CodeInternal,
			Detail: "something went wrong inside the coordinator; nothing was changed", Hint: "read the coordinator's log",
		}
		if errors.Is(err, db.ErrOutcomeUnknown) {
			p.Detail, p.Hint = "the database was lost while it was written; nobody knows whether it happened", "look before you ask again"
		}
	}
	p.Title = http.StatusText(p.Status)
	return p
}

// known maps the errors that a caller can do something about, or is nil.
func known(err error) *client.Problem {
	var p *client.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, db.ErrClosed):
		return &client.Problem{
			Status: http.StatusServiceUnavailable, Code: client.CodeUnavailable,
			Detail: "the coordinator is stopping", Hint: "try again in a moment",
		}
	case errors.Is(err, db.ErrBusy):
		return &client.Problem{
			Status: http.StatusServiceUnavailable, Code: client.CodeUnavailable,
			Detail: "too many others change the same thing; nothing was changed", Hint: "try again in a moment",
		}
	}
	if p = unreadable(err); p == nil {
		p = refusal(err)
	}
	return p
}

// invalid is a request that cannot be understood.
func invalid(location, detail, hint string) *client.Problem {
	p := &client.Problem{Status: http.StatusUnprocessableEntity, Code: client.CodeInvalid, Detail: detail, Hint: hint}
	if location != "" {
		p.Errors = []client.ProblemDetail{{Location: location, Message: detail}}
	}
	return p
}

// transform turns the library's refusals into ours, and drops the values that they would echo.
func (a *API) transform(_ huma.Context, _ string, body any) (any, error) {
	model, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	p := &client.Problem{Title: model.Title, Status: model.Status, Detail: model.Detail, Code: client.CodeHTTP}
	switch model.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		p.Code, p.Detail = client.CodeInvalid, "the request is not valid"
		p.Hint = "compare it with /v1/openapi.json"
	case http.StatusRequestEntityTooLarge:
		p.Code, p.Hint = client.CodeTooLarge, "send less"
	case http.StatusUnsupportedMediaType:
		p.Code = client.CodeMediaType
	}
	var all []string
	for _, detail := range model.Errors {
		p.Errors = append(p.Errors, client.ProblemDetail{Location: detail.Location, Message: detail.Message})
		all = append(all, strings.TrimPrefix(detail.Location+": "+detail.Message, ": "))
	}
	if len(all) == 1 {
		p.Detail += ": " + all[0]
		p.Errors = nil
	}
	return p, nil
}

// answerProblem answers with a problem where no operation is involved.
func answerProblem(w http.ResponseWriter, p client.Problem) {
	w.Header().Set("Content-Type", client.ProblemType)
	w.WriteHeader(p.Status)
	p.Title = http.StatusText(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a caller that has gone is no concern of ours
}

func (a *API) nothingHere(w http.ResponseWriter, r *http.Request) {
	answerProblem(w, client.Problem{
		Status: http.StatusNotFound, Code: client.CodeNotFound,
		Detail: "there is nothing at " + r.Method + " " + r.URL.Path, Hint: "the API is described at /v1/openapi.json",
	})
}

func (a *API) otherOrigin(w http.ResponseWriter, _ *http.Request) {
	answerProblem(w, client.Problem{
		Status: http.StatusForbidden, Code: client.CodeForbidden,
		Detail: "a page of another origin must not change anything here", Hint: "use the page of this coordinator, or licet",
	})
}
