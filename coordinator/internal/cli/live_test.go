package cli

import (
	"bytes"
	"testing"

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
