package exchangetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Fault orders a fault. Shift-clock, rotate-keys and forget-right strike at once, the others when a message fits. An order
// that makes no sense changes nothing, and the error says why.
func (s *Server) Fault(f Fault) error {
	if f.Count == 0 {
		f.Count = 1
	}
	if f.After == "" {
		switch f.Fault {
		case FaultDelay:
			f.After = AfterReceive
		case FaultDropReply:
			f.After = AfterCommit
		}
	}
	if err := f.problem(); err != nil {
		return err
	}
	struck := 1
	switch f.Fault {
	case FaultShiftClock:
		s.mu.Lock()
		s.shift = time.Duration(f.Seconds) * time.Second
		s.mu.Unlock()
	case FaultRotateKeys:
		if err := s.rotateKeys(); err != nil {
			return err
		}
	case FaultForgetRight:
		if err := s.forgetRight(f.Host, f.ActivationID); err != nil {
			return err
		}
	default:
		struck = 0
	}
	s.faults.add(f, struck)
	return nil
}

func (s *Server) rotateKeys() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.rotate()
}

// forgetRight takes one right off a host behind everybody's back: the host's sequence and fence stay.
func (s *Server) forgetRight(host, activationID string) error {
	err := s.forget(host, activationID)
	if err == nil {
		err = s.store.journal.sync()
	}
	return err
}

func (s *Server) forget(host, activationID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.store.account(host)
	if _, held := a.Held[activationID]; !known || !held {
		return errors.New("forget-right: this host does not hold this right")
	}
	a = a.confirm(0) // a copy; no removal has sequence 0
	a.set(activationID, holding{})
	return s.store.commit(record{Account: &a})
}

// Faults are all faults that were ordered, with how often each struck.
func (s *Server) Faults() []FaultState {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	states := slices.Clone(s.faults.ordered)
	for i := range states {
		if id := states[i].ActivationID; id != "" {
			states[i].ActivationID = exchange.ActivationID(id).String()
		}
	}
	return states
}

// underFaults does what commit does, and lets faults strike around it. The error is ErrDropped or the context's.
func (s *Server) underFaults(ctx context.Context, c caller, commit func() (answer, error)) (answer, error) {
	if err := s.hold(ctx, AfterReceive, c); err != nil {
		return answer{}, err
	}
	a, err := commit()
	if err != nil {
		return answer{}, err
	}
	if _, ok := s.faults.kind(FaultDuplicate, "", c); ok {
		if a, err = commit(); err != nil {
			return answer{}, err
		}
	}
	if a.Status/100 == 2 {
		if _, ok := s.faults.kind(FaultCorruptSignature, "", c); ok {
			a.Body = corrupted(a.Body)
		}
	}
	return a, s.hold(ctx, AfterCommit, c)
}

// hold delays or drops at the moment.
func (s *Server) hold(ctx context.Context, moment string, c caller) error {
	if fault, ok := s.faults.kind(FaultDelay, moment, c); ok {
		timer := time.NewTimer(time.Duration(fault.Millis) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if _, ok := s.faults.kind(FaultDropReply, moment, c); ok {
		s.options.Logger.Info().Str("host", c.host).Str("operation", c.operation).Str("after", moment).Msg("fault: reply dropped")
		return ErrDropped
	}
	return nil
}

// corrupted is a copy of the signed document whose signature no longer fits; what is kept stays whole.
func corrupted(document []byte) []byte {
	var parts map[string]json.RawMessage
	if json.Unmarshal(document, &parts) != nil || len(parts["signature"]) < 3 {
		return document
	}
	signature := bytes.Clone(parts["signature"])
	if signature[1] == 'A' {
		signature[1] = 'B'
	} else {
		signature[1] = 'A'
	}
	parts["signature"] = signature
	data, err := json.Marshal(parts)
	if err != nil {
		return document
	}
	return data
}
