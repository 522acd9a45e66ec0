package activation_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestActivatesChangesAndReturns(t *testing.T) {
	k := newKit(t, kitOptions{})
	k.deliver(k.want(2, 1))
	require.Equal(t, []string{
		"created a request: the server does not hold what it should", "received a response", "applied a response",
		"settled with a receipt", "read the facts", "done",
	}, k.stepper.StepUntilIdle())
	k.agree(2, 1)
	k.activate(1, 3)
	k.activate(0, 0)
}
