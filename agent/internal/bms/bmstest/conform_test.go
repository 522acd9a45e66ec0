package bmstest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/bms/bmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInProcessSystemConforms(t *testing.T) {
	bmstest.Conform(t, func(_ *testing.T, sim *bmstest.System) bms.System { return sim })
}
