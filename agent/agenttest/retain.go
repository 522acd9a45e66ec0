package agenttest

import "slices"

// Retain is the broker retaining a document while the agent is away: Reconnect delivers it.
func (s *Stepper) Retain(payload []byte) { s.retained = slices.Clone(payload) }
