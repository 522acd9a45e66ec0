package ledger

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrRefused is what every refusal of the ledger is: nothing was changed, and its text is for a person.
var ErrRefused = errors.New("refused")

// Reason says why one server stands in the way.
type Reason struct {
	Server string // ID
	Name   string // what a person calls it; the ID where the ledger does not know it
	Why    string
}

func (r Reason) String() string {
	if r.Name == "" {
		return r.Server + ": " + r.Why
	}
	return r.Name + ": " + r.Why
}

// NotAssignableError lists every server that cannot have the product, or cannot be changed now. With no Reasons, Why is
// about the product itself.
type NotAssignableError struct {
	PartNumber string
	Why        string
	Reasons    []Reason
}

func (e *NotAssignableError) Error() string {
	if len(e.Reasons) == 0 {
		return fmt.Sprintf("%s cannot be assigned: %s", e.PartNumber, e.Why)
	}
	return listed(fmt.Sprintf("%s cannot be assigned to %d servers", e.PartNumber, len(e.Reasons)), e.Reasons)
}

// Is makes every refusal ErrRefused.
func (e *NotAssignableError) Is(target error) bool { return target == ErrRefused }

// LineLeft is how many seats of one line nobody holds.
type LineLeft struct {
	Line    string // its reference
	Left    int
	Expires time.Time // zero: never
}

// ShortError means that there are not enough seats.
type ShortError struct {
	PartNumber string
	Asked      int // seats that would have to be held anew
	Left       int
	Lines      []LineLeft
}

func (e *ShortError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d seats asked for, %d left", e.PartNumber, e.Asked, e.Left)
	for i, line := range e.Lines {
		fmt.Fprintf(&b, "%s%s: %d left", []string{", ", " ("}[b2i(i == 0)], line.Line, line.Left)
	}
	if len(e.Lines) > 0 {
		b.WriteString(")")
	}
	return b.String()
}

// Is makes every refusal ErrRefused.
func (e *ShortError) Is(target error) bool { return target == ErrRefused }

// AdoptingError means that the ledger does not know yet what these servers hold. It passes by itself: wait for rows of
// FeedKind with their IDs, then try again.
type AdoptingError struct {
	Servers  []string // IDs
	Restored bool     // the whole ledger is of a new epoch: nothing is raised anywhere until each of them has been adopted
}

func (e *AdoptingError) Error() string {
	if e.Restored {
		return fmt.Sprintf("the ledger was restored: nothing is assigned until %d servers are adopted", len(e.Servers))
	}
	return fmt.Sprintf("%d servers are still being adopted", len(e.Servers))
}

// Is makes every refusal ErrRefused.
func (e *AdoptingError) Is(target error) bool { return target == ErrRefused }

// StateError means that servers are not in the state that the operation needs.
type StateError struct {
	What    string // what was asked for
	Reasons []Reason
}

func (e *StateError) Error() string { return listed(e.What, e.Reasons) }

// Is makes every refusal ErrRefused.
func (e *StateError) Is(target error) bool { return target == ErrRefused }

// DifferentError means that an entitlement of the same ID was imported before and said something else.
type DifferentError struct {
	Ref         string
	Differences []string // one for each line or value, activation IDs masked
}

func (e *DifferentError) Error() string {
	return fmt.Sprintf("this entitlement was imported before, as %s, and said something else: %s", e.Ref, strings.Join(e.Differences, "; "))
}

// Is makes every refusal ErrRefused.
func (e *DifferentError) Is(target error) bool { return target == ErrRefused }

// TakenError means that activation IDs stand in another entitlement already.
type TakenError struct {
	Lines []string // masked activation ID and the reference of the entitlement that has it
}

func (e *TakenError) Error() string {
	return "activation IDs belong to another entitlement already: " + strings.Join(e.Lines, ", ")
}

// Is makes every refusal ErrRefused.
func (e *TakenError) Is(target error) bool { return target == ErrRefused }

// maxListed is how many reasons a text lists; the error has all.
const maxListed = 10

func listed(what string, reasons []Reason) string {
	texts := make([]string, 0, maxListed+1)
	for i, reason := range reasons {
		if i == maxListed {
			texts = append(texts, fmt.Sprintf("and %d more", len(reasons)-maxListed))
			break
		}
		texts = append(texts, reason.String())
	}
	if len(texts) == 0 {
		return what
	}
	return what + ": " + strings.Join(texts, "; ")
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
