package api_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/api"
	"github.com/licet-project/licet/coordinator/internal/db"
	"github.com/licet-project/licet/coordinator/internal/db/dbtest"
)

func change(t *testing.T, d *db.DB, kind string, keys ...string) {
	t.Helper()
	require.NoError(t, d.Update(t.Context(), func(tx *db.Tx) error {
		var errs []error
		for _, key := range keys {
			errs = append(errs, tx.Changed(kind, key))
		}
		return errors.Join(errs...)
	}))
}

var errEnough = errors.New("enough")

// collect follows until n events came.
func collect(t *testing.T, h *house, after int64, n int) []client.Event {
	t.Helper()
	var events []client.Event
	err := h.Follow(t.Context(), after, func(e client.Event) error {
		if events = append(events, e); len(events) == n {
			return errEnough
		}
		return nil
	})
	require.ErrorIs(t, err, errEnough)
	return events
}

func TestEventsAreTheChangeFeed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		h := open(t, d)
		change(t, d, "site", "hq")
		change(t, d, "server", "srv-1", "srv-2")
		events := collect(t, h, 0, 3)
		var keys []string
		for _, e := range events {
			keys = append(keys, e.Kind+"/"+e.Key)
			require.NotZero(t, e.At)
		}
		require.Equal(t, []string{"site/hq", "server/srv-1", "server/srv-2"}, keys)
		require.Equal(t, events[1:], collect(t, h, events[0].ID, 2), "resumed where it ended")

		// What changes while somebody follows arrives as well.
		got := make(chan []client.Event, 1)
		go func() { got <- collect(t, h, events[2].ID, 1) }()
		change(t, d, "ledger", "srv-2")
		require.Equal(t, "ledger", (<-got)[0].Kind)
	})
}

func TestEventsThatArePrunedAreARestart(t *testing.T) {
	h := open(t, file(t))
	events := collect(t, h, 1<<40, 1) // a cursor of another life of this database
	require.Equal(t, "restart", events[0].Kind)
	change(t, h.db, "site", "hq")
	require.Equal(t, "hq", collect(t, h, events[0].ID, 1)[0].Key)
}

func TestEventsEndWithTheServer(t *testing.T) {
	h := open(t, file(t))
	response, err := http.Get(h.Base() + "/v1/events")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewScanner(response.Body)
	require.True(t, lines.Scan())
	require.Equal(t, ": licet", lines.Text())
	h.api.Stop()
	for lines.Scan() {
		require.Empty(t, lines.Text())
	}
	require.NoError(t, lines.Err(), "an orderly end")
}

func TestEventStreamsAreBounded(t *testing.T) {
	h := open(t, file(t), func(o *api.Options) { o.MaxStreams = 3 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Base()+"/v1/events", nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	_, problem := h.send(t, http.MethodGet, "/v1/events", nil, "")
	require.Equal(t, client.CodeUnavailable, problem.Code)
}

// pipes is a listener without a network, for a bubble of time.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p <- far
	return near, nil
}

// A stream in which nothing happens says that it is still there: a client gives up after three silent pauses.
func TestSilentStreamsStayAlive(t *testing.T) {
	inBubbleOfTime(t, func(t *testing.T, h *house, c *client.Client) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Base()+"/v1/events", nil)
		require.NoError(t, err)
		response, err := h.transport.RoundTrip(request)
		require.NoError(t, err)
		lines := bufio.NewScanner(response.Body)
		begun := time.Now()
		for range 10 { // minutes pass
			require.True(t, lines.Scan())
			require.Equal(t, ": licet", lines.Text())
			require.True(t, lines.Scan())
		}
		require.GreaterOrEqual(t, time.Since(begun), 2*time.Minute)
		h.api.Stop()
		require.False(t, lines.Scan())
		require.NoError(t, response.Body.Close())
	})
}

// inBubbleOfTime serves the API over pipes, so that its time is the bubble's.
func inBubbleOfTime(t *testing.T, test func(t *testing.T, h *house, c *client.Client)) {
	synctest.Test(t, func(t *testing.T) {
		h, listener := &house{db: file(t)}, make(pipes)
		h.transport = &http.Transport{DialContext: listener.dial}
		var err error
		h.api, err = api.New(api.Options{DB: h.db, Version: "test"})
		require.NoError(t, err)
		server := h.api.Server()
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		c, err := client.New("http://licet", h.transport)
		require.NoError(t, err)
		test(t, h, c)
		h.transport.CloseIdleConnections()
		close(listener)
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
}
