package activation

import (
	"context"
	"errors"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Run steps until ctx ends. It waits for Accept, FactsChanged and CarriersChanged, and for the end of a pause; it asks
// nobody anything while there is nothing to do. One Run per Machine.
func (m *Machine) Run(ctx context.Context) error {
	var told string
	for {
		outcome, err := m.step(ctx, true)
		if ctx.Err() != nil {
			return nil
		}
		told = m.log(outcome, err, told)
		if !outcome.Idle && outcome.Wait == 0 {
			continue
		}
		if !m.sleep(ctx, outcome) {
			return nil
		}
	}
}

// sleep returns when something may be to do, false if ctx has ended.
func (m *Machine) sleep(ctx context.Context, outcome Outcome) bool {
	var over <-chan time.Time
	if !outcome.Idle {
		timer := time.NewTimer(outcome.Wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-m.wake:
	case <-over:
	}
	return true
}

// log tells of a step: an error once, not at every attempt that meets the same.
func (m *Machine) log(outcome Outcome, err error, told string) string {
	if err == nil {
		if !outcome.Idle && outcome.Wait == 0 {
			m.o.Logger.Info().Str("host", string(m.o.Host)).Msg(outcome.Did)
			return ""
		}
		m.o.Logger.Debug().Str("host", string(m.o.Host)).Dur("wait", outcome.Wait).Msg(outcome.Did)
		return told
	}
	code := exchange.Unavailable
	if refusal := (*exchange.Refusal)(nil); errors.As(err, &refusal) {
		code = refusal.Code.Known()
	} else if known := codeOf(err); known != "" {
		code = known
	}
	event := m.o.Logger.Warn()
	if text := err.Error(); text == told {
		event = m.o.Logger.Debug()
	} else {
		told = text
	}
	event.Str("host", string(m.o.Host)).Str("code", string(code)).Str("hint", code.Meaning().Hint).
		Dur("wait", outcome.Wait).Err(err).Msg(outcome.Did)
	return told
}
