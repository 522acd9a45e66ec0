package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Event is one row of the change feed: something of this kind and key changed; the API says what it is now.
type Event struct {
	ID   int64     `json:"id"`
	Kind string    `json:"kind" doc:"agent, server, ledger, entitlement, catalog, site, audit"`
	Key  string    `json:"key" doc:"What changed: for server and ledger the server's ID."`
	At   time.Time `json:"at"`
}

const (
	maxEvent   = 64 << 10         // bytes of one line of the stream
	maxSilence = 45 * time.Second // three times the pause after which the coordinator says that it is still there
)

var errSilent = errors.New("the coordinator has fallen silent")

// Follow calls handle for every event after the given ID until ctx ends, handle returns an error, or the coordinator
// refuses. A stream that breaks is resumed where it ended; only the first connection must succeed.
func (c *Client) Follow(ctx context.Context, after int64, handle func(Event) error) error {
	connected := false
	pause := 100 * time.Millisecond
	for {
		err := c.stream(ctx, after, func(e Event) error {
			after, pause = e.ID, 100*time.Millisecond
			return handle(e)
		}, func() { connected = true })
		broken := (*Unreachable)(nil)
		switch {
		case !errors.As(err, &broken):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !connected:
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// stream is one connection. It ends with an *Unreachable when the connection does.
func (c *Client) stream(ctx context.Context, after int64, handle func(Event) error, connected func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	header := http.Header{"Accept": {"text/event-stream"}, "Last-Event-Id": {strconv.FormatInt(after, 10)}}
	response, err := c.send(ctx, call{method: http.MethodGet, path: "/v1/events", header: header})
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	connected()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(make([]byte, 0, 4096), maxEvent)
	for lines.Scan() {
		silence.Reset(maxSilence)
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue // id and event repeat what data says; a comment keeps the connection alive
		}
		var event Event
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		if err := handle(event); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return &Unreachable{fmt.Errorf("read the events: %w", err)}
	}
	return &Unreachable{fmt.Errorf("read the events: %w", io.ErrUnexpectedEOF)}
}
