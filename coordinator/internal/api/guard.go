package api

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/licet-project/licet/coordinator/client"
)

// writeTime is how long an answer may take to leave once it is made; a stream of events has it anew for every event.
const writeTime = 30 * time.Second

// guard is around everything: headers that a browser obeys, names that we answer to, and an end to panics.
func (a *API) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil || cause == http.ErrAbortHandler { //nolint:errorlint // a panic's value is compared as it is.
				return
			}
			a.o.Logger.Error().Interface("panic", cause).Str("method", r.Method).Str("path", r.URL.Path).Msg("a request panicked")
			answerProblem(w, client.Problem{
				Status: http.StatusInternalServerError, Code: client.CodeInternal,
				Detail: "something went wrong inside the coordinator", Hint: "read the coordinator's log",
			})
		}()
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if !a.ours(r) {
			answerProblem(w, client.Problem{
				Status: http.StatusForbidden, Code: client.CodeForbidden, Detail: "this coordinator does not answer to that name",
				Hint: "use the address that it listens at",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ours reports whether the caller means us. Who listens on loopback answers to loopback names alone: a web page elsewhere
// can make its own name lead here, and would then be of our own origin.
func (a *API) ours(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() {
		return true
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host).IsLoopback() || slices.Contains(a.o.Names, host)
}
