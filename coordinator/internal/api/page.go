package api

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
)

//go:embed page
var pageFiles embed.FS

// pageRows is how many servers the page shows; the others are selected for.
const pageRows = 500

// pagePolicy lets the page have its own style and script, and its own coordinator to talk to; nothing from elsewhere.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// registerPage adds the status page: HTML that is complete without its script.
func (a *API) registerPage(mux *http.ServeMux) error {
	pages, err := template.New("").Funcs(pageWords()).ParseFS(pageFiles, "page/page.html")
	if err != nil {
		return fmt.Errorf("read the page's template: %w", err)
	}
	mux.HandleFunc("GET /{$}", a.page(pages, "page"))
	mux.HandleFunc("GET /fleet", a.page(pages, "fleet"))
	for name, mediaType := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"} {
		content, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return fmt.Errorf("read the page's %s: %w", name, err)
		}
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, _ = w.Write(content) // a caller that has gone is no concern of ours
		})
	}
	return nil
}

// fleetPage is what the page shows.
type fleetPage struct {
	Status         client.Status
	Select         string
	Selected       int // servers that are selected; Servers has the first of them
	Servers        []serverRow
	Presence       []pageCount
	Phases         []pageCount
	Conditions     []pageCount
	ConditionCount int
	Problem        string
}

// serverRow is a server with everything below it; its conditions are those of its assignments, too.
type serverRow struct {
	client.Server
	Licenses    []client.License
	Assignments []client.Assignment
	Conditions  []string
}

// pageCount is a number with its name.
type pageCount struct {
	Name  string
	Count int
	Tone  string
}

// page answers with a part of the page. Whatever is wrong with the selector is said on the page, for a person.
func (a *API) page(pages *template.Template, part string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(callTime + writeTime)) // what cannot have a deadline has none
		ctx, cancel := context.WithTimeout(r.Context(), callTime)
		defer cancel()
		shown, status, err := a.fleetPage(ctx, r.URL.Query().Get("select"))
		var html bytes.Buffer // whole or not at all
		if err == nil {
			err = pages.ExecuteTemplate(&html, part, shown)
		}
		if err != nil {
			answerProblem(w, *a.problem(ctx, "page", err))
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", pagePolicy)
		w.Header().Set("X-Licet-At", shown.Status.At.Format(time.RFC3339Nano))
		w.WriteHeader(status)
		_, _ = w.Write(html.Bytes())
	}
}

// fleetPage is everything of one instant.
func (a *API) fleetPage(ctx context.Context, selector string) (fleetPage, int, error) {
	page, status := fleetPage{Select: selector}, http.StatusOK
	newest, err := a.o.DB.Newest(ctx)
	if err != nil {
		return page, 0, err
	}
	err = a.o.DB.View(ctx, func(tx *db.Tx) error {
		whole, err := a.statusAt(tx, newest)
		if err != nil {
			return err
		}
		page.count(whole)
		selected, err := selectServers(tx, selector)
		if problem := known(err); problem != nil {
			page.Problem, status = problem.Detail, problem.Status
			return nil
		}
		if err != nil {
			return err
		}
		page.Selected = len(selected)
		shown, err := a.picture(tx, selected[:min(len(selected), pageRows)], newest)
		if err != nil {
			return err
		}
		for _, server := range shown.servers {
			row := serverRow{Server: server, Assignments: shown.assignments[server.ID]}
			if row.Licenses, err = addDetails(tx, &row.Server); err != nil {
				return err
			}
			row.addConditions()
			page.Servers = append(page.Servers, row)
		}
		return nil
	})
	return page, status, err
}

func (p *fleetPage) count(whole client.Status) {
	p.Status = whole
	p.Presence = counts(whole.Presence, presences(), presenceTone)
	p.Phases = counts(whole.Phases, client.Phases(), phaseTone)
	p.Conditions = counts(whole.Conditions, slices.Sorted(maps.Keys(whole.Conditions)), func(string) string { return "busy" })
	for _, c := range p.Conditions {
		p.ConditionCount += c.Count
	}
}

func (r *serverRow) addConditions() {
	r.Conditions = slices.Clone(r.Server.Conditions)
	for _, assignment := range r.Assignments {
		r.Conditions = append(r.Conditions, assignment.Conditions...)
	}
	slices.Sort(r.Conditions)
	r.Conditions = slices.Compact(r.Conditions)
}

func presences() []client.Presence {
	return []client.Presence{client.Connected, client.Suspect, client.Silent, client.Stopped, client.NeverSeen}
}

// counts are the counts above zero in a given order.
func counts[K ~string](all map[K]int, order []K, tone func(K) string) []pageCount {
	var shown []pageCount
	for _, k := range order {
		if all[k] > 0 {
			shown = append(shown, pageCount{string(k), all[k], tone(k)})
		}
	}
	return shown
}

// pageAge is how old a fact was when the page was made.
type pageAge struct {
	Known bool
	Fact  time.Time
	Text  string
}

func ageOf(at time.Time, fact *time.Time) pageAge {
	if fact == nil {
		return pageAge{}
	}
	d := max(at.Sub(*fact), 0)
	n, unit := d/time.Second, "s"
	switch {
	case d >= 48*time.Hour:
		n, unit = d/(24*time.Hour), "d"
	case d >= time.Hour:
		n, unit = d/time.Hour, "h"
	case d >= time.Minute:
		n, unit = d/time.Minute, "m"
	}
	return pageAge{Known: true, Fact: *fact, Text: fmt.Sprintf("%d%s", int64(n), unit)}
}

func presenceTone(p client.Presence) string {
	switch p {
	case client.Connected:
		return "good"
	case client.Silent:
		return "bad"
	case client.NeverSeen:
		return "faint"
	}
	return "busy"
}

func phaseTone(p client.Phase) string {
	switch p {
	case client.Activated:
		return "good"
	case client.Failed:
		return "bad"
	case client.Assigned, client.Freed:
		return "faint"
	}
	return "busy"
}

// pageWords are the functions of the template.
func pageWords() template.FuncMap {
	return template.FuncMap{
		"age":          ageOf,
		"phaseTone":    phaseTone,
		"presenceTone": presenceTone,
		"instant":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"clock":        func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
		"day":          func(t *time.Time) string { return t.UTC().Format(time.DateOnly) },
	}
}
