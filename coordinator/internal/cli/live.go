package cli

import (
	"context"
	"errors"
	"os"

	tea "charm.land/bubbletea/v2"

	"github.com/licet-project/licet/coordinator/client"
)

// live shows the status on a terminal and keeps it current, until q or Ctrl-C.
func (s *session) live(ctx context.Context, c *client.Client, terminal *os.File) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	program := tea.NewProgram(screen{wide: s.format == formatWide}, tea.WithContext(ctx), tea.WithInput(s.in), tea.WithOutput(terminal))
	ended := make(chan error, 1)
	go func() {
		err := s.each(ctx, c, func(now glance) error {
			program.Send(now)
			return nil
		})
		program.Quit()
		ended <- err
	}()
	_, err := program.Run()
	stop()
	err = errors.Join(<-ended, err)
	if errors.Is(err, context.Canceled) || errors.Is(err, tea.ErrInterrupted) {
		return nil // the usual end
	}
	return s.failed("watch the status", err)
}

// screen is what is on the terminal.
type screen struct {
	now  glance
	wide bool
	any  bool
}

func (m screen) Init() tea.Cmd { return nil }

func (m screen) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case glance:
		m.now, m.any = message, true
	case tea.KeyPressMsg:
		if name := message.String(); name == "q" || name == "ctrl+c" || name == "esc" {
			return m, tea.Quit
		}
	}
	return m, nil
}

func (m screen) View() tea.View {
	if !m.any {
		return tea.NewView("asking the coordinator ...\n")
	}
	return tea.NewView(m.now.text(m.wide) + "\nq ends it\n")
}
