package client

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// roundTrip is a coordinator that is not there at all.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A connection whose other end died without a word is given up, and the stream resumed elsewhere.
func TestFollowGivesUpASilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connections := 0
		c, err := New("http://coordinator", roundTrip(func(r *http.Request) (*http.Response, error) {
			connections++
			if connections == 2 {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("data: {\"id\":1}\n\n"))}, nil
			}
			body, w := io.Pipe()
			context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(context.Cause(r.Context())) })
			return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
		}))
		require.NoError(t, err)
		require.ErrorIs(t, c.Follow(t.Context(), 0, func(Event) error { return io.EOF }), io.EOF)
		require.Equal(t, 2, connections)
	})
}
