// Command testsum runs go test and says what a person wants to know: one line per package while it goes, everything about
// what failed, and as its last line
//
//	passed=N failed=0 skipped=K (reasons)
//
// It counts tests that have no subtests of their own, so a table of ten rows counts as ten. Arguments go to go test as
// they are. Exit code: 0, or 1 if anything failed, did not build, or no test ran.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64
	Output     string
}

// result is what is known of one test.
type result struct {
	action string
	output []string
	parent bool // has subtests
}

type key struct{ pkg, test string }

type summary struct {
	results  map[key]*result
	order    []key
	packages int // that failed outside of any test
	reasons  map[string]int
}

func main() {
	code, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum: run the tests:", err)
		fmt.Fprintln(os.Stderr, "hint: is Go on the PATH, and is this the top folder of the project?")
	}
	os.Exit(code)
}

func run(args []string, out io.Writer) (int, error) {
	command := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	command.Stderr = os.Stderr
	stream, err := command.StdoutPipe()
	if err != nil {
		return 1, err
	}
	// An interrupt reaches the tests too (one process group); wait for their last words.
	signal.Ignore(syscall.SIGINT)
	if err := command.Start(); err != nil {
		return 1, err
	}
	s := summary{results: map[key]*result{}, reasons: map[string]int{}}
	if err := s.read(stream, out); err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		return 1, err
	}
	err = command.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	return s.print(out, err != nil), nil
}

func (s *summary) read(stream io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		s.take(e, out)
	}
	return lines.Err()
}

func (s *summary) take(e event, out io.Writer) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(out, e.Output)
	case e.Test != "":
		s.takeTest(e)
	case e.Action == "output" && interesting(e.Output):
		fmt.Fprint(out, e.Output)
	case e.Action == "fail":
		s.packages++
		fmt.Fprintf(out, "FAIL  %s  %.1fs\n", short(e.Package), e.Elapsed)
	case e.Action == "pass":
		fmt.Fprintf(out, "ok    %s  %.1fs\n", short(e.Package), e.Elapsed)
	}
}

func (s *summary) takeTest(e event) {
	k := key{e.Package, e.Test}
	r := s.results[k]
	if r == nil {
		r = &result{}
		s.results[k] = r
		s.order = append(s.order, k)
		for name := e.Test; strings.Contains(name, "/"); {
			name = name[:strings.LastIndex(name, "/")]
			if parent := s.results[key{e.Package, name}]; parent != nil {
				parent.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		r.output = append(r.output, e.Output)
	case "pass", "fail", "skip":
		r.action = e.Action
		if e.Action == "skip" && !r.parent {
			s.reasons[reason(r.output)]++
		}
		if e.Action != "fail" {
			r.output = nil
		}
	}
}

var skipLine = regexp.MustCompile(`^\s+\S+\.go:\d+: (?:skipped: )?(.*)$`)

// reason is the last thing that a skipped test said.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		if m := skipLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return "no reason given"
}

// interesting leaves out what is said again in a better form, or says nothing.
func interesting(output string) bool {
	for _, dull := range []string{"ok  \t", "PASS", "FAIL", "?   \t", "testing: warning: no tests", "coverage:", "\t", "exit status"} {
		if strings.HasPrefix(output, dull) {
			return false
		}
	}
	return true
}

func short(pkg string) string { return strings.TrimPrefix(pkg, "github.com/licet-project/licet/") }

func (s *summary) print(out io.Writer, failedRun bool) int {
	var passed, failed, skipped int
	for _, k := range s.order {
		r := s.results[k]
		if r.action == "fail" || r.action == "" { // without an end: the process died in it
			fmt.Fprintf(out, "--- FAIL: %s %s\n%s", short(k.pkg), k.test, strings.Join(r.output, ""))
		}
		switch {
		case r.parent && r.action != "fail":
		case r.action == "pass":
			passed++
		case r.action == "skip":
			skipped++
		default:
			failed++
		}
	}
	if failed == 0 {
		failed = s.packages // did not build, or ended outside of a test
	}
	if failedRun && failed == 0 {
		failed = 1
	}
	if passed+failed == 0 {
		fmt.Fprintln(out, "no test ran")
		failed = 1
	}
	var reasons []string
	for _, text := range slices.Sorted(maps.Keys(s.reasons)) {
		reasons = append(reasons, fmt.Sprintf("%d: %s", s.reasons[text], text))
	}
	if len(reasons) == 0 {
		reasons = []string{"none"}
	}
	fmt.Fprintf(out, "passed=%d failed=%d skipped=%d (%s)\n", passed, failed, skipped, strings.Join(reasons, "; "))
	if failed > 0 {
		return 1
	}
	return 0
}
