package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
)

// tone is what a cell means to the eye.
type tone int

const (
	plain tone = iota
	faint
	good
	busy
	bad
)

var tones = map[tone]lipgloss.Style{
	plain: lipgloss.NewStyle(),
	faint: lipgloss.NewStyle().Faint(true),
	good:  lipgloss.NewStyle().Foreground(lipgloss.Green),
	busy:  lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	bad:   lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true),
}

// cell is one value of a table.
type cell struct {
	text string
	tone tone
}

func text(s string) cell { return cell{text: clean(s)} }

func toned(s string, t tone) cell { return cell{clean(s), t} }

func number(n int) cell { return cell{text: strconv.Itoa(n)} }

// column is a title, marked for the eye: numbers stand right, and some columns are for wide output alone.
type column struct {
	title string
	right bool
	wide  bool
}

// grid is a table that is being filled; every row has a cell for every column.
type grid struct {
	columns []column
	rows    [][]cell
	empty   string // printed instead of a table without rows
}

func (g *grid) add(cells ...cell) { g.rows = append(g.rows, cells) }

// String lines up what belongs below each title, with two spaces between columns and none at the end of a line.
func (g *grid) render(wide bool) string {
	if len(g.rows) == 0 {
		return g.empty + "\n"
	}
	var shown []int
	var titles []string
	for i, c := range g.columns {
		if wide || !c.wide {
			shown, titles = append(shown, i), append(titles, c.title)
		}
	}
	t := table.New().Headers(titles...).Wrap(false).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderHeader(false).BorderColumn(false).BorderRow(false)
	for _, row := range g.rows {
		texts := make([]string, len(shown))
		for i, at := range shown {
			texts[i] = row[at].text
		}
		t.Row(texts...)
	}
	t.StyleFunc(func(row, at int) lipgloss.Style {
		style := lipgloss.NewStyle().Bold(true)
		if row != table.HeaderRow {
			style = tones[g.rows[row][shown[at]].tone]
		}
		if g.columns[shown[at]].right {
			style = style.Align(lipgloss.Right)
		}
		if at < len(shown)-1 {
			style = style.PaddingRight(2)
		}
		return style
	})
	var out strings.Builder
	for line := range strings.Lines(t.String() + "\n") {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

// age is how old a fact was when the coordinator answered.
func age(at time.Time, fact *time.Time) cell {
	if fact == nil || fact.IsZero() {
		return cell{"never", faint}
	}
	d := max(at.Sub(*fact), 0)
	switch {
	case d < time.Minute:
		return cell{text: fmt.Sprintf("%ds", int(d.Seconds()))}
	case d < time.Hour:
		return cell{text: fmt.Sprintf("%dm", int(d.Minutes()))}
	case d < 48*time.Hour:
		return cell{text: fmt.Sprintf("%dh", int(d.Hours()))}
	}
	return cell{text: fmt.Sprintf("%dd", int(d.Hours()/24))}
}

// day is a date, or what its absence means.
func day(t *time.Time, absent string) cell {
	if t == nil {
		return cell{absent, faint}
	}
	return cell{text: t.UTC().Format(time.DateOnly)}
}

// clean replaces what could play tricks on a terminal: names come from servers and files.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// plural is a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
