package ingest

import (
	"sync"
	"time"
)

// quiet lets a refusal be logged once a minute for each agent and reason: a loud stranger fills no disk. The zero value
// is ready.
type quiet struct {
	mu   sync.Mutex
	last map[quietKey]quietly // owned by mu
}

type quietKey struct {
	agent  string
	reason Reason
}

type quietly struct {
	at     time.Time
	unsaid int
}

// maxQuiet bounds what is remembered; beyond it everything is forgotten and said once more.
const maxQuiet = 10_000

// say reports whether to log now, and how many were not logged since the last time.
func (q *quiet) say(agent string, reason Reason, now time.Time) (unsaid int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil || len(q.last) >= maxQuiet {
		q.last = map[quietKey]quietly{}
	}
	k := quietKey{agent, reason}
	before, known := q.last[k]
	if known && now.Sub(before.at) < time.Minute {
		before.unsaid++
		q.last[k] = before
		return 0, false
	}
	q.last[k] = quietly{at: now}
	return before.unsaid, true
}
