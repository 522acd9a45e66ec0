package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/entitlement"
	"github.com/licet-project/licet/coordinator/internal/fleet"
	"github.com/licet-project/licet/coordinator/internal/ledger"
)

// unreadable maps the mistakes of a file or a selector, or is nil.
func unreadable(err error) *client.Problem {
	if problems, ok := errors.AsType[entitlement.Problems](err); ok {
		return mistakes("certificate", problems, "ask for the certificate as it was sent: an HTML file, unchanged")
	}
	if problems, ok := errors.AsType[catalog.Problems](err); ok {
		return mistakes("catalog", problems, "correct the file; nothing of it was taken")
	}
	if problems, ok := errors.AsType[fleet.Problems](err); ok {
		return mistakes("file", problems, "correct the file; nothing of it was taken")
	}
	if selector, ok := errors.AsType[*fleet.SelectorError](err); ok {
		return &client.Problem{
			Status: http.StatusUnprocessableEntity, Code: client.CodeInvalid, Detail: selector.Error(),
			Hint: "write key=value, key!=value, key in (a, b) or key, joined by commas; empty selects all",
		}
	}
	return nil
}

// mistakes is every mistake in a file; err has one in each line of its text.
func mistakes(what string, err error, hint string) *client.Problem {
	p := &client.Problem{Status: http.StatusUnprocessableEntity, Code: client.CodeInvalid, Hint: hint, Detail: err.Error()}
	if texts := strings.Split(err.Error(), "\n"); len(texts) > 1 {
		p.Detail = fmt.Sprintf("%d mistakes in the %s", len(texts), what)
		for _, text := range texts {
			p.Errors = append(p.Errors, client.ProblemDetail{Message: text})
		}
	}
	return p
}

// refusal maps a no of the ledger or the fleet, or is nil: understood, and a rule is against it. Nothing was changed.
func refusal(err error) *client.Problem {
	if errors.Is(err, fleet.ErrTwoHosts) {
		return refused(err.Error(), "licet server list -o wide shows the IDs")
	}
	if !errors.Is(err, ledger.ErrRefused) {
		return nil
	}
	if short, ok := errors.AsType[*ledger.ShortError](err); ok {
		return refused(short.Error(), "licet entitlement list shows what is held; unassign some, or import what was bought since")
	}
	if adopting, ok := errors.AsType[*ledger.AdoptingError](err); ok {
		return refused(adopting.Error(), "Licet asks the activation server what they hold: look whether it and their agents can be reached, then try again")
	}
	if not, ok := errors.AsType[*ledger.NotAssignableError](err); ok {
		p := refused(not.Error(), "licet catalog list -o wide says which servers a product is for; select those alone")
		return because(p, not.PartNumber+" cannot be assigned to", not.Reasons)
	}
	if state, ok := errors.AsType[*ledger.StateError](err); ok {
		p := refused(state.Error(), "licet server show says more; select the others alone")
		return because(p, state.What+", because of", state.Reasons)
	}
	if different, ok := errors.AsType[*ledger.DifferentError](err); ok {
		p := refused(different.Error(), "ask the vendor which of the two is right; what was imported stays as it is")
		if len(different.Differences) > 1 {
			p.Detail = fmt.Sprintf("this entitlement was imported before, as %s, and said something else", different.Ref)
			for _, difference := range different.Differences {
				p.Errors = append(p.Errors, client.ProblemDetail{Message: difference})
			}
		}
		return p
	}
	if taken, ok := errors.AsType[*ledger.TakenError](err); ok {
		return refused(taken.Error(), "an activation ID is imported once: ask the vendor why it stands in two entitlements")
	}
	return refused(err.Error(), "nothing was changed")
}

func refused(detail, hint string) *client.Problem {
	return &client.Problem{Status: http.StatusConflict, Code: client.CodeRefused, Detail: detail, Hint: hint}
}

func notFound(detail, hint string) *client.Problem {
	return &client.Problem{Status: http.StatusNotFound, Code: client.CodeNotFound, Detail: detail, Hint: hint}
}

// because names the server that stands in the way, or counts and lists them all.
func because(p *client.Problem, what string, reasons []ledger.Reason) *client.Problem {
	for _, reason := range reasons {
		p.Errors = append(p.Errors, client.ProblemDetail{Location: cmp.Or(reason.Name, reason.Server), Message: reason.Why})
	}
	switch len(reasons) {
	case 0:
	case 1:
		p.Detail = fmt.Sprintf("%s %s: %s", what, p.Errors[0].Location, p.Errors[0].Message)
		p.Errors = nil
	default:
		p.Detail = fmt.Sprintf("%s %d servers", what, len(reasons))
	}
	return p
}
