package exchangetest

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/licet-project/licet/shared/exchange"
)

// statusOf is the HTTP status that a refusal with this code travels under.
func statusOf(code exchange.Code) int {
	switch code {
	case exchange.Malformed:
		return http.StatusBadRequest
	case exchange.SignatureInvalid, exchange.KeyUnknown:
		return http.StatusForbidden
	case exchange.HostUnknown:
		return http.StatusNotFound
	case exchange.TooLarge:
		return http.StatusRequestEntityTooLarge
	case exchange.RateLimited:
		return http.StatusTooManyRequests
	case exchange.Busy, exchange.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}

// answerOf is how a refusal travels: always the same bytes for the same refusal.
func answerOf(r *exchange.Refusal) answer {
	body, err := json.Marshal(r.Problem())
	if err != nil {
		panic(err) // it is strings and a number
	}
	return answer{Status: r.Status, Body: body}
}

// refusalOf reads back what answerOf wrote; nil if the answer is not a refusal.
func refusalOf(a answer) *exchange.Refusal {
	if a.Status/100 == 2 {
		return nil
	}
	var p exchange.Problem
	if err := json.Unmarshal(a.Body, &p); err != nil {
		panic(err) // it is our own, under a checksum
	}
	return &exchange.Refusal{Code: p.Code, Retry: p.Retry, Detail: p.Detail, Status: a.Status}
}

// result is an answer as Go callers want it.
func result(a answer, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if refusal := refusalOf(a); refusal != nil {
		return nil, refusal
	}
	return a.Body, nil
}

// asAnswer turns a refusal into its answer; every other error stays one.
func asAnswer(a answer, err error) (answer, error) {
	if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) {
		return answerOf(refusal), nil
	}
	return a, err
}
