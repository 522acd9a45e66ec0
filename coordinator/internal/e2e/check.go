package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Check compares ledger, servers and activation server as the operator does, and counts what is activated. The line is
// "servers=N assignments=N activated=N mismatches=N"; a difference is an error as well.
func (t *Thread) Check(ctx context.Context) (string, error) {
	out, err := t.cli.Run(ctx, "check")
	if exit := (*ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.Code != 1) {
		return "", err
	}
	var servers, assignments, mismatches int
	line := LastLine(out)
	if _, scanErr := fmt.Sscanf(line, "servers=%d assignments=%d mismatches=%d", &servers, &assignments, &mismatches); scanErr != nil {
		return "", fmt.Errorf("read the last line of licet check (%q): %w", line, errors.Join(scanErr, err))
	}
	if mismatches > 0 {
		t.say(strings.TrimSpace(out))
	}
	activated, countErr := t.activated(ctx)
	counts := fmt.Sprintf("servers=%d assignments=%d activated=%d mismatches=%d", servers, assignments, activated, mismatches)
	return counts, errors.Join(err, countErr)
}

// Verify asks every invariant of the coordinator's database; the last line is "invariants=N broken=0".
func (t *Thread) Verify(ctx context.Context) (string, error) {
	verify := CLI{Program: t.Process(roleCoordinator).Command.Program}
	args := []string{"verify", "--data", t.path("coordinator")}
	if t.options.Database != "" {
		args = append(args, "--database", t.options.Database)
	}
	out, err := verify.Run(ctx, args...)
	return LastLine(out), err
}

// activated counts the assignments in this phase.
func (t *Thread) activated(ctx context.Context) (int, error) {
	out, err := t.cli.Run(ctx, "status", "-o", "json")
	if err != nil {
		return 0, err
	}
	var status struct {
		Phases map[string]int `json:"phases"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return 0, fmt.Errorf("read licet status: %w", err)
	}
	return status.Phases["activated"], nil
}
