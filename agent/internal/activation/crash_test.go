package activation_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/agenttest"
	"github.com/licet-project/licet/agent/internal/durable/durabletest"
)

// story raises, changes and returns.
var story = [][]int{{2, 1}, {1, 3}, {0, 2}}

// tell runs the story; a machine that died on the way is connected again.
func (k *kit) tell() {
	k.t.Helper()
	for _, counts := range story {
		_ = k.stepper.Deliver(k.want(counts...))
		k.settle()
		require.NoError(k.t, k.stepper.Reconnect())
		k.settle()
		k.agree(counts...)
	}
}

// points are the crash points in the source of this package.
func points(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range regexp.MustCompile(`crash\.At\("([^"]+)"\)`).FindAllSubmatch(source, -1) {
			names = append(names, string(match[1]))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestDeathAtEveryPoint lets the machine die at every crash point of the story, each time that it comes there, once with all
// rights returned one by one and once all at once.
func TestDeathAtEveryPoint(t *testing.T) {
	for _, returnAll := range []bool{false, true} {
		alive := newKit(t, kitOptions{returnAll: returnAll})
		alive.tell()
		visits := alive.stepper.Visited()
		requests := alive.requests()
		for _, point := range points(t) {
			require.Contains(t, visits, point, "a crash point that no story comes to")
		}
		for n, point := range visits {
			t.Run(fmt.Sprintf("%t %d %s", returnAll, n, point), func(t *testing.T) {
				k := newKit(t, kitOptions{returnAll: returnAll})
				k.stepper.CrashAtVisit(n)
				k.tell()
				require.Greater(t, len(k.stepper.Visited()), n)
				require.LessOrEqual(t, k.requests(), requests+2, "an exchange was made anew that was recorded")
			})
		}
	}
}

var errDead = errors.New("dead")

// TestDeathAtEveryWrite cuts the power before each operation on the journal's disk, with every rest of unsynced names.
func TestDeathAtEveryWrite(t *testing.T) {
	operations := 0
	for dies := 0; ; dies++ {
		for kept, unsynced := 0, 0; kept <= unsynced; kept++ {
			k := newKit(t, kitOptions{})
			disk := &durabletest.Disk{}
			k.stepper = agenttest.NewStepper(t, agenttest.Options{
				System: k.system, Carrier: k.carrier, Keys: k.las.Keys, Agent: "agent-1", Files: disk,
			})
			count := 0
			disk.Fail = func(string, string) error {
				if count++; count > dies {
					return errDead
				}
				return nil
			}
			_ = k.stepper.Deliver(k.want(2, 1))
			for range 8 { // far enough for the whole exchange
				k.stepper.Step()
			}
			operations = count
			disk.Fail = nil
			unsynced = disk.PowerCut(kept)
			k.stepper.Crash()
			require.NoError(t, k.stepper.Reconnect())
			k.settle()
			k.agree(2, 1)
		}
		if operations <= dies {
			require.Equal(t, 25, operations, "five writes of five operations each")
			return
		}
	}
}

// TestAFullDiskHeals keeps the machine alive while the disk takes nothing: nothing leaves, and nothing is lost.
func TestAFullDiskHeals(t *testing.T) {
	for write := range 5 {
		k := newKit(t, kitOptions{})
		disk := &durabletest.Disk{}
		k.stepper = agenttest.NewStepper(t, agenttest.Options{
			System: k.system, Carrier: k.carrier, Keys: k.las.Keys, Agent: "agent-1", Files: disk,
		})
		writes, full := 0, true
		disk.Fail = func(operation, _ string) error {
			if operation == "write" && full {
				if writes++; writes > write {
					return errors.New("no space left on device")
				}
			}
			return nil
		}
		err := k.stepper.Deliver(k.want(2, 1))
		require.Equal(t, write == 0, err != nil, err)
		for range 12 {
			k.stepper.Step()
		}
		require.ErrorContains(t, k.stepper.Err(), "no space left on device")
		if write < 2 {
			require.Empty(t, k.carrier.posted, "nothing leaves that is not recorded")
		}
		full = false
		k.settle()
		k.agree(2, 1)
	}
}

// TestAForgottenJournalConverges forgets the journal at every step of the story, as a damaged file does.
func TestAForgottenJournalConverges(t *testing.T) {
	for step := range 20 {
		k := newKit(t, kitOptions{})
		k.activate(2, 1)
		k.deliver(k.want(1, 2))
		k.steps(step % 6)
		if step >= 12 {
			k.stepper.RestoreImage(agenttest.JournalImage{}) // the folder is gone
		} else {
			k.stepper.RestoreImage(k.stepper.Image().Damaged())
		}
		k.deliver(k.want(0, 3))
		k.settle()
		k.agree(0, 3)
	}
}
