package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/cli"
)

// stage is a coordinator whose assignments move on: each answer to a list is the next scene, and each scene but the last
// is followed by an event.
type stage struct {
	mu     sync.Mutex
	scenes [][]client.Phase
	at     int
	moved  chan struct{}
	last   chan struct{} // closed when the last scene was shown
	broken int           // how many calls, after the first list, reach nobody
}

// fails says whether this call reaches nobody.
func (s *stage) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == 0 || s.broken == 0 {
		return false
	}
	s.broken--
	return true
}

func newStage(t *testing.T, scenes ...[]client.Phase) (*stage, string) {
	t.Helper()
	s := &stage{scenes: scenes, moved: make(chan struct{}, len(scenes)), last: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/activations", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	mux.HandleFunc("GET /v1/assignments", func(w http.ResponseWriter, _ *http.Request) {
		if s.fails() {
			panic(http.ErrAbortHandler)
		}
		_ = json.NewEncoder(w).Encode(s.next())
	})
	mux.HandleFunc("GET /v1/servers", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		now := client.Status{Servers: 2, Phases: map[client.Phase]int{}}
		for _, a := range s.now().Assignments {
			now.Phases[a.Phase]++
		}
		_ = json.NewEncoder(w).Encode(now)
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		if s.fails() {
			panic(http.ErrAbortHandler)
		}
		s.events(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *stage) now() client.Assignments {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := client.Assignments{Newest: int64(s.at)}
	for i, phase := range s.scenes[min(s.at, len(s.scenes)-1)] {
		answer.Assignments = append(answer.Assignments, client.Assignment{
			Server: fmt.Sprintf("srv-%d", i), Name: fmt.Sprintf("S%d", i), Line: "l", PartNumber: "P", Phase: phase,
		})
		if phase == client.Failed {
			answer.Assignments[i].Code, answer.Assignments[i].Hint = "right-expired", "renew it"
		}
	}
	return answer
}

func (s *stage) next() client.Assignments {
	answer := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at++
	switch {
	case s.at < len(s.scenes):
		s.moved <- struct{}{}
	case s.at == len(s.scenes):
		close(s.last)
	}
	return answer
}

func (s *stage) events(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	for n := 1; ; n++ {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-s.moved:
			_, _ = fmt.Fprintf(w, "data: {\"id\":%d,\"kind\":\"ledger\",\"key\":\"srv-0\"}\n\n", n)
		case <-r.Context().Done():
			return
		}
	}
}

// noLeak fails if a goroutine is left when everything that the test opens later is closed.
func noLeak(t *testing.T) {
	t.Helper()
	current := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, current) })
}

func TestActivateWatchesUntilEverythingIsSettled(t *testing.T) {
	noLeak(t)
	const ordered, requested, activated, failed, returning = client.Ordered, client.Requested, client.Activated, client.Failed, client.Returning
	for name, c := range map[string]struct {
		scenes [][]client.Phase
		want   result
	}{
		"done at once": {[][]client.Phase{{activated, activated}}, result{0, "activated=2 failed=0\n", ""}},
		"nothing":      {[][]client.Phase{{}}, result{0, "activated=0 failed=0\n", ""}},
		"step by step": {
			[][]client.Phase{{ordered, ordered}, {requested, ordered}, {activated, client.Issued}, {activated, activated}},
			result{0, "activated=2 failed=0\n", ""},
		},
		"a return": {
			[][]client.Phase{{activated, returning}, {activated, client.ReturnUnconfirmed}, {activated}},
			result{0, "returned 1 assignment\nactivated=1 failed=0\n", ""},
		},
		"what comes later is not watched": {[][]client.Phase{{ordered}, {activated, client.Assigned}}, result{0, "activated=1 failed=0\n", ""}},
		"a failure": {[][]client.Phase{{ordered, ordered}, {activated, failed}}, result{1, strings.Join([]string{
			"SERVER  PRODUCT  CODE           REASON  NEXT", "S1      P        right-expired          renew it", "activated=1 failed=1",
		}, "\n") + "\n", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			_, address := newStage(t, c.scenes...)
			require.Equal(t, c.want, run(t, address, "activate", "--select", "", "--watch"))
		})
	}
}

// A coordinator that is killed and comes back while somebody watches is watched again.
func TestActivateWatchSurvivesACoordinatorThatIsAway(t *testing.T) {
	s, address := newStage(t, []client.Phase{client.Ordered}, []client.Phase{client.Activated})
	s.broken = 4
	require.Equal(t, result{0, "activated=1 failed=0\n", ""}, run(t, address, "activate", "--select", "", "--watch"))
	require.Zero(t, s.broken)
}

func TestActivateGivesUpWatching(t *testing.T) {
	_, address := newStage(t, []client.Phase{client.Activated, client.Requested})
	r := run(t, address, "activate", "--select", "", "--watch", "--timeout", "50ms")
	require.Equal(t, result{1, "activated=1 failed=0\n", "licet: watch the activation: 1 assignment not settled after 50ms\n" +
		"hint: it goes on without being watched: licet status, licet assignment list\n"}, r)
}

func TestActivateWatchAnswersPrograms(t *testing.T) {
	_, address := newStage(t, []client.Phase{client.Ordered}, []client.Phase{client.Activated})
	r := run(t, address, "activate", "--select", "", "--watch", "-o", "json")
	require.Zero(t, r.code, r.err)
	var answer struct {
		Activated, Failed, Waiting int
		Assignments                []client.Assignment
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &answer))
	require.Equal(t, 1, answer.Activated)
	require.Equal(t, client.Activated, answer.Assignments[0].Phase)
}

func TestStatusWatchPrintsALinePerChange(t *testing.T) {
	noLeak(t)
	s, address := newStage(t, []client.Phase{client.Ordered}, []client.Phase{client.Issued}, []client.Phase{client.Activated}, []client.Phase{client.Activated})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-s.last
		cancel() // Ctrl-C
	}()
	var out, err bytes.Buffer
	code := cli.Run(ctx, cli.Options{Args: []string{"status", "--watch", "--url", address}, Out: &out, Err: &err})
	require.Zero(t, code, err.String())
	require.Equal(t, "servers=2 connected=0 ordered=1 activated=0 failed=0\nservers=2 connected=0 issued=1 activated=0 failed=0\n"+
		"servers=2 connected=0 activated=1 failed=0\n", out.String())
}
