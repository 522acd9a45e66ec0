package fleet

import (
	"fmt"
	"strings"
)

// Problem is one mistake in a file that a person wrote: where it is and what is wrong with it.
type Problem struct {
	Row    int    `json:"row,omitempty"`    // line of the file, counted from 1; 0 if it is about the whole file
	Column string `json:"column,omitempty"` // heading of the column or name of the key; empty if it is about the whole row
	Text   string `json:"text"`
}

func (p Problem) String() string {
	var place []string
	if p.Row > 0 {
		place = append(place, fmt.Sprintf("row %d", p.Row))
	}
	if p.Column != "" {
		place = append(place, p.Column)
	}
	if len(place) == 0 {
		return p.Text
	}
	return strings.Join(place, ", ") + ": " + p.Text
}

// MaxProblems is how many problems are listed of one file; the last one then says that there are more.
const MaxProblems = 50

// Problems are every mistake found in one file. As an error they mean that nothing was changed.
type Problems []Problem

func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, problem := range p {
		texts[i] = problem.String()
	}
	return strings.Join(texts, "\n")
}

// add notes a problem; beyond MaxProblems it only says once that there are more.
func (p *Problems) add(row int, column, format string, args ...any) {
	switch {
	case len(*p) < MaxProblems:
		*p = append(*p, Problem{Row: row, Column: column, Text: fmt.Sprintf(format, args...)})
	case len(*p) == MaxProblems:
		*p = append(*p, Problem{Text: fmt.Sprintf("there are more; the first %d are listed", MaxProblems)})
	}
}

// err is the problems as an error, or nil if there are none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
