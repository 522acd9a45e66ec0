// Package crash names the instants at which a process may die, so that tests can let it die there.
//
// A call costs one string comparison. In a normal run LICET_CRASH is empty and nothing happens.
package crash

import (
	"os"
	"strings"
)

// Variable is the environment variable that names the point to die at.
const Variable = "LICET_CRASH"

var armed = os.Getenv(Variable)

// At kills this process with SIGKILL if LICET_CRASH names the point: nothing is flushed, no deferred call runs, as when
// the power fails. Names are "room.what-is-true-here" and must be string literals: a test collects them from the source.
func At(name string) {
	if armed == "" || armed != name {
		return
	}
	kill(name)
}

func kill(name string) {
	// The one trace that a test can look for: the standard error of a process that died here.
	_, _ = os.Stderr.WriteString("crash: " + strings.TrimSpace(name) + "\n")
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {} // the signal is on its way; nothing after the point may run
}
