package entitlement

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Problem is one mistake in a certificate: where it is and what is wrong with it. Its text never has an activation ID in full.
type Problem struct {
	Table  int    `json:"table,omitempty"`  // counted from 1 in the order of the file; 0 if it is about the whole file
	Row    int    `json:"row,omitempty"`    // counted from 1 within the table; 0 if it is about the whole table
	Column string `json:"column,omitempty"` // the heading or label as the file has it
	Text   string `json:"text"`
}

func (p Problem) String() string {
	var place []string
	if p.Table > 0 {
		place = append(place, fmt.Sprintf("table %d", p.Table))
	}
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

// MaxProblems is how many problems are listed; the last one then says that there are more.
const MaxProblems = 50

// Problems are every mistake of a certificate that is refused.
type Problems []Problem

func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, problem := range p {
		texts[i] = problem.String()
	}
	return strings.Join(texts, "\n")
}

// add notes a problem; beyond MaxProblems it only says once that there are more.
func (p *Problems) add(at place, format string, args ...any) {
	switch {
	case len(*p) < MaxProblems:
		*p = append(*p, Problem{Table: at.table, Row: at.row, Column: at.column, Text: fmt.Sprintf(format, args...)})
	case len(*p) == MaxProblems:
		*p = append(*p, Problem{Text: fmt.Sprintf("there are more; the first %d are listed", MaxProblems)})
	}
}

// place is where something stands in the file.
type place struct {
	table, row int
	column     string
}

// refuse is a problem with the whole file.
func refuse(format string, args ...any) error {
	return Problems{{Text: fmt.Sprintf(format, args...)}}
}

// quote shows a person what the file says, so that they find it: enough of a date or a number, never all of an activation
// ID that stands in the wrong column.
func quote(text string) string {
	const word, phrase = 10, 24
	switch n := utf8.RuneCountInString(text); {
	case n > phrase || n > word && !strings.Contains(text, " "):
		return `"` + string([]rune(text)[:6]) + `…"`
	default:
		return `"` + text + `"`
	}
}
