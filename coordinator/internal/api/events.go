package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/db"
)

const (
	eventBatch  = 500              // rows read from the feed at a time
	eventPause  = 15 * time.Second // after which a silent stream says that it is still there
	kindRestart = "restart"        // the feed does not reach back to the caller's cursor: read everything anew
)

type eventsInput struct {
	After       int64  `query:"after" minimum:"0" doc:"ID of the last event that the caller knows; without it and without Last-Event-ID only what comes from now on."`
	LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"What a browser sends when it resumes; stronger than after."`
}

// registerEvents adds the change feed as server-sent events.
func (a *API) registerEvents() {
	schema := a.rest.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Event](), true, "Event")
	responses := a.problemResponses()
	responses["200"] = &huma.Response{
		Description: "Server-sent events. The id of each is its place in the change feed, the event its kind, the data an Event. " +
			"The kind restart says that the feed does not reach back to where the caller was: read everything anew.",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}
	huma.Register(a.rest, huma.Operation{
		OperationID: "follow-events", Method: http.MethodGet, Path: "/v1/events", Summary: "What changes, as it changes", Responses: responses,
	}, func(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		after, err := a.cursor(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, "follow-events", err)
		}
		select {
		case a.streams <- struct{}{}:
		default:
			return nil, a.problem(ctx, "follow-events", &client.Problem{
				Status: http.StatusServiceUnavailable, Code: client.CodeUnavailable,
				Detail: fmt.Sprintf("%d event streams are open, no more are allowed", cap(a.streams)), Hint: "try again later",
			})
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer func() { <-a.streams }()
			_, w := humago.Unwrap(ctx)
			s := stream{w: w, flush: http.NewResponseController(w)}
			if err := a.follow(ctx.Context(), s, after); err != nil && ctx.Context().Err() == nil {
				a.o.Logger.Error().Err(err).Msg("an event stream broke")
			}
		}}, nil
	})
}

// cursor is where a caller begins.
func (a *API) cursor(ctx context.Context, in *eventsInput) (int64, error) {
	if in.LastEventID != "" {
		after, err := strconv.ParseInt(in.LastEventID, 10, 64)
		if err != nil || after < 0 {
			return 0, invalid("header.Last-Event-ID", "Last-Event-ID is not the ID of an event", "leave it out to begin now")
		}
		return after, nil
	}
	if in.After > 0 {
		return in.After, nil
	}
	return a.o.DB.Newest(ctx)
}

// follow writes what changes until the caller goes, the API stops, or the caller does not read.
func (a *API) follow(ctx context.Context, s stream, after int64) error {
	wake, forget := a.o.DB.Wake() // before the first look, so that nothing falls between
	defer forget()
	pause := time.NewTicker(eventPause)
	defer pause.Stop()
	if !s.begin() {
		return nil
	}
	for {
		changes, err := a.o.DB.Changes(ctx, after, eventBatch)
		if errors.Is(err, db.ErrCursorTooOld) {
			if after, err = a.o.DB.Newest(ctx); err != nil {
				return err
			}
			changes = []db.Change{{ID: after, Kind: kindRestart, At: time.Now().UTC()}}
		}
		if err != nil {
			return err
		}
		for _, c := range changes {
			after = c.ID
			if !s.send(client.Event{ID: c.ID, Kind: c.Kind, Key: c.Key, At: c.At}) {
				return nil
			}
		}
		if len(changes) > 0 {
			if !s.sent() {
				return nil
			}
			continue // until nothing is left
		}
		select {
		case <-wake:
		case <-pause.C:
			if !s.comment() {
				return nil
			}
		case <-ctx.Done():
			return nil
		case <-a.stopping:
			return nil
		}
	}
}

// stream is the writing end of server-sent events. Its methods are false once the caller is gone or does not read.
type stream struct {
	w     http.ResponseWriter
	flush *http.ResponseController
}

func (s stream) begin() bool {
	s.w.Header().Set("Content-Type", "text/event-stream")
	s.w.Header().Set("X-Accel-Buffering", "no") // for proxies that would collect it
	s.w.WriteHeader(http.StatusOK)
	return s.comment()
}

func (s stream) comment() bool {
	_ = s.flush.SetWriteDeadline(time.Now().Add(writeTime)) // what cannot have a deadline has none
	_, err := s.w.Write([]byte(": licet\n\n"))
	return err == nil && s.flush.Flush() == nil
}

func (s stream) send(e client.Event) bool {
	data, err := json.Marshal(e)
	if err != nil {
		return false
	}
	_ = s.flush.SetWriteDeadline(time.Now().Add(writeTime))
	_, err = fmt.Fprintf(s.w, "id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, data)
	return err == nil
}

func (s stream) sent() bool { return s.flush.Flush() == nil }
