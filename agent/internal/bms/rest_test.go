package bms_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open reaches the simulated system over HTTPS.
func open(t *testing.T, sim *bmstest.System) *bms.REST {
	t.Helper()
	require.NoError(t, sim.Start("127.0.0.1:0"))
	driver, err := bms.NewREST(bms.Options{Address: sim.URL(), Trust: sim.Trust()})
	require.NoError(t, err)
	t.Cleanup(func() {
		driver.Close()
		require.NoError(t, sim.Close())
	})
	return driver
}

func TestRESTConforms(t *testing.T) {
	bmstest.Conform(t, func(t *testing.T, sim *bmstest.System) bms.System { return open(t, sim) })
}
