package mqttconn

import (
	"math/rand/v2"
	"time"
)

const (
	firstPause   = time.Second
	longestPause = 60 * time.Second
	shortLife    = 30 * time.Second // a connection that lives shorter did not prove that the trouble is over
	shortInARow  = 3                // so many short lives are no accident: two of us with one name, or a broker that throws us out
)

// backoff decides how long to wait before the next attempt: exponential, with full jitter, so that a thousand agents
// that lost one broker do not come back as one.
type backoff struct {
	failures int // since a connection lived long enough
	short    int // short lives in a row
}

func (b *backoff) next(accepted bool, lived time.Duration) time.Duration {
	if accepted && lived >= shortLife {
		*b = backoff{}
	} else {
		b.failures++
	}
	if accepted && lived < shortLife {
		b.short++
	}
	if b.short >= shortInARow && accepted {
		return longestPause/2 + rand.N(longestPause/2)
	}
	return rand.N(b.ceiling()) + 1
}

// ceiling is the longest pause after so many failures.
func (b *backoff) ceiling() time.Duration {
	doublings := max(b.failures-1, 0)
	if doublings >= 6 { // 2^6 s is over the limit already
		return longestPause
	}
	return min(firstPause<<doublings, longestPause)
}
