package activation

import (
	"math/rand/v2"
	"time"
)

// Three kinds of steps are waited for apart from each other.
const (
	pauseFinish = iota // the next attempt of the exchange in flight
	pauseBegin         // the next exchange
	pauseFacts         // the next reading of the facts
	pauses
)

const (
	firstPause = time.Second
	mostPause  = 200 * time.Second // with jitter, five minutes
	freeRounds = 2                 // exchanges in a row that follow at once: a refusal, the report, the request anew
)

// backoff is how long to wait after the n-th failure in a row: 1 s, doubled each time, up to 5 min, of which up to a third is
// jitter, so that a thousand agents that lost one activation server do not come back as one.
func backoff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	base := mostPause
	if n <= 8 {
		base = min(firstPause<<(n-1), mostPause)
	}
	return base + rand.N(base/2)
}

// obey is how long to wait if the other side named a time, which it also named to others.
func obey(retryAfter time.Duration) time.Duration {
	return max(retryAfter, firstPause) + rand.N(max(retryAfter/10, firstPause))
}

func pauseOf(next move) int {
	switch next {
	case beginRequest, beginReport:
		return pauseBegin
	case readFacts:
		return pauseFacts
	}
	return pauseFinish
}

// paused is how long the kind of step has to wait still.
func (m *Machine) paused(kind int) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(time.Until(m.pauses[kind]), 0)
}

func (m *Machine) setPause(kind int, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pauses[kind] = time.Time{}
	if wait > 0 {
		m.pauses[kind] = time.Now().Add(wait)
	}
}

// nextRound is after an exchange ended: the next one waits, if those before did not get the order done. That happens when
// somebody refuses again and again, and when a driver's facts do not follow what the server applied.
func (m *Machine) nextRound() time.Duration {
	m.mu.Lock()
	m.rounds++
	wait := backoff(m.rounds - freeRounds)
	m.mu.Unlock()
	m.setPause(pauseBegin, wait)
	return wait
}

// fail counts a failure that the journal does not, and pauses.
func (m *Machine) fail(kind int) time.Duration {
	m.mu.Lock()
	m.failures[kind]++
	wait := backoff(m.failures[kind])
	m.mu.Unlock()
	m.setPause(kind, wait)
	return wait
}

// succeed forgets failures.
func (m *Machine) succeed(kind int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[kind], m.pauses[kind] = 0, time.Time{}
}
