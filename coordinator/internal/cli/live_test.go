package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	tea "charm.land/bubbletea/v2"
	"github.com/stretchr/testify/require"
	"github.com/vbauerster/mpb/v8"

	"github.com/licet-project/licet/coordinator/client"
)

func TestScreenShowsTheNewestStatus(t *testing.T) {
	var m tea.Model = screen{}
	require.Contains(t, m.View().Content, "asking the coordinator")
	m, command := m.Update(glance{Status: client.Status{Servers: 12, Phases: map[client.Phase]int{client.Activated: 24}}})
	require.Nil(t, command)
	require.Contains(t, m.View().Content, "24 activated")
	for _, key := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: 'c', Mod: tea.ModCtrl}, {Code: tea.KeyEscape}} {
		_, command = m.Update(key)
		require.NotNil(t, command, key.String())
		require.IsType(t, tea.QuitMsg{}, command())
	}
	_, command = m.Update(tea.KeyPressMsg{Code: 'x', Text: "x"})
	require.Nil(t, command)
}

// roundTrip is a coordinator without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An agent that dies without a word leaves no event: a watch must see it all the same.
func TestAWatchSeesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		c, err := client.New("http://coordinator", roundTrip(func(r *http.Request) (*http.Response, error) {
			body, w := io.Pipe()
			if r.URL.Path == "/v1/events" {
				context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(context.Cause(r.Context())) })
				return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
			}
			if r.URL.Path == "/v1/status" {
				looks++
			}
			answer := fmt.Sprintf(`{"servers":%d}`, looks)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(answer))}, nil
		}))
		require.NoError(t, err)
		s := &session{format: formatJSON}
		var seen []int
		err = s.each(t.Context(), c, func(now glance) error {
			if seen = append(seen, now.Servers); len(seen) == 3 {
				return io.EOF
			}
			return nil
		})
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, []int{1, 2, 3}, seen)
	})
}

func TestProgressIsABarOnlyWhenItIsDue(t *testing.T) {
	var out bytes.Buffer
	p := &progress{name: "activating", open: func() *mpb.Progress { return mpb.New(mpb.WithOutput(&out), mpb.WithWidth(40), mpb.WithAutoRefresh()) }}
	p.set(1, 3)
	p.end(3, 3)
	require.Empty(t, out.String(), "nobody waited")
	p.set(1, 3)
	p.show()
	p.set(2, 3)
	p.end(3, 3)
	require.Contains(t, out.String(), "activating")
}

func TestOnlyATerminalGetsColorsAndBars(t *testing.T) {
	s := &session{out: &bytes.Buffer{}, format: formatTable, getenv: func(string) string { return "" }}
	require.Nil(t, s.terminal())
	require.Nil(t, s.newProgress("x").due)
	_, err := s.styled().Write([]byte((&grid{columns: []column{{title: "A"}}, rows: [][]cell{{toned("bbbb", bad)}, {toned("c", good)}}}).render(false)))
	require.NoError(t, err)
	require.Equal(t, "A\nbbbb\nc\n", s.out.(*bytes.Buffer).String())
}
