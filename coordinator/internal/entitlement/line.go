package entitlement

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/licet-project/licet/shared/exchange"
)

// maxColumns is how many columns a table of products may have.
const maxColumns = 100

// headings are the columns of a row of headings, or nil: such a row has a heading for the activation ID and at least one
// other that is known.
func headings(r row) []column {
	if len(r.cells) > maxColumns {
		return nil
	}
	known, id := 0, false
	var columns []column
	for _, c := range r.cells {
		text, _ := seen(c.text())
		f, rank := fieldOf(text)
		if f.inLine() {
			known++
			id = id || f == activationID
		}
		columns = append(columns, column{f, rank, text})
		for range c.columns - 1 {
			columns = append(columns, column{})
		}
	}
	if !id || known < 2 || len(columns) > maxColumns {
		return nil
	}
	return columns
}

// heading checks a row of headings and notes which columns are not read. False ends the table: lines need all of it.
func (p *parser) heading(at place, r row, columns []column) bool {
	p.lineTables++
	if slices.ContainsFunc(r.cells, func(c cell) bool { return c.rows > 1 }) {
		p.problems.add(at, "a heading covers several rows: this is not understood")
		return false
	}
	if !slices.ContainsFunc(columns, func(c column) bool { return c.field == count }) {
		p.problems.add(at, "there is no column for the count, like Seat Count or Quantity")
		return false
	}
	for _, c := range columns {
		known := c.field.inLine() || c.field == entitlementID || c.field == orderNumber
		same := func(other column) bool { return other.label == c.label }
		if c.label != "" && !known && len(p.ignored) < MaxProblems && !slices.ContainsFunc(p.ignored, same) {
			c.label = string([]rune(c.label)[:min(64, utf8.RuneCountInString(c.label))])
			p.ignored = append(p.ignored, c)
		}
	}
	return true
}

// line reads one row under a heading. False ends the table: what follows cannot be understood.
func (p *parser) line(at place, r row, columns []column) bool {
	width := 0
	for _, c := range r.cells {
		width += c.columns
		if c.rows > 1 {
			p.problems.add(at, "a cell covers several rows: this is not understood")
			return false
		}
	}
	v := values{p: p, at: at, columns: columns, cells: spread(r, len(columns))}
	switch {
	case v.empty() || v.aside():
		return true
	case width != len(columns):
		p.problems.add(at, "the row has %d columns, its headings are %d", width, len(columns))
		return true
	case v.anySpans():
		p.problems.add(at, "a cell covers several columns: this is not understood")
		return true
	}
	p.certificate.Lines = append(p.certificate.Lines, v.line())
	return true
}

// spread is the row with one cell for each of so many columns; one that covers several columns is in the first.
func spread(r row, width int) []cell {
	cells := make([]cell, width)
	at := 0
	for _, c := range r.cells {
		if at >= width {
			break
		}
		cells[at] = c
		at += c.columns
	}
	return cells
}

// values are one row under its headings.
type values struct {
	p       *parser
	at      place
	columns []column
	cells   []cell
}

func (v values) empty() bool {
	return !slices.ContainsFunc(v.cells, func(c cell) bool { return len(c.lines) > 0 })
}

var total = regexp.MustCompile(`(?i)^(grand |sub)?(total|sum)\b`)

// aside reports whether the row is no line but a remark or a sum: one text alone that does not stand under the activation
// ID, or a row that begins with such a word and has no activation ID.
func (v values) aside() bool {
	used, first, id := 0, "", ""
	for i, c := range v.cells {
		text := c.text()
		if text == "" {
			continue
		}
		used++
		if used == 1 {
			first = text
		}
		if i < len(v.columns) && v.columns[i].field == activationID && !v.spans(i) {
			id = text
		}
	}
	return id == "" && (used == 1 || total.MatchString(first))
}

// spans reports whether the cell at i covers several headings.
func (v values) spans(i int) bool {
	for j := i + 1; j < min(i+v.cells[i].columns, len(v.columns)); j++ {
		if v.columns[j].label != "" {
			return true
		}
	}
	return false
}

func (v values) anySpans() bool {
	for i := range v.cells {
		if v.spans(i) {
			return true
		}
	}
	return false
}

// line is the row's line. What is wrong with it is noted, and the line is worthless.
func (v values) line() Line {
	id, idAt := v.one(activationID)
	line := Line{
		ActivationID: v.p.activationID(said{id.text(), idAt}),
		PartNumber:   v.identifier(partNumber),
		OrderLine:    v.identifier(orderLine),
		Version:      v.name(version),
	}
	line.Product, line.Version = v.product(line.Version)
	seats, at := v.one(count)
	line.Count = v.p.count(said{seats.text(), at}, 1)
	line.Remaining = line.Count
	if left, at := v.one(remaining); left.text() != "" {
		line.Remaining = v.p.count(said{left.text(), at}, 0)
		if line.Remaining > line.Count && line.Count > 0 {
			v.p.problems.add(at, "%d remain of %d", line.Remaining, line.Count)
		}
	}
	var endAt place
	line.Start, _ = v.date(start)
	line.Expires, endAt = v.date(expires)
	if line.Start != nil && line.Expires != nil && line.Expires.Before(*line.Start) {
		v.p.problems.add(endAt, "it ends on %s, before it starts on %s",
			line.Expires.Format(time.DateOnly), line.Start.Format(time.DateOnly))
	}
	for i, c := range v.columns {
		if c.field.inHeader() {
			v.p.header(c.field, c.label, v.cells[i].text(), v.at)
		}
	}
	return line
}

// one is the cell of the field. Two columns for one field must say the same, but names: there the better label counts.
func (v values) one(f field) (cell, place) {
	var best cell
	at := v.at
	rank := -1
	for i, c := range v.columns {
		if c.field != f {
			continue
		}
		switch {
		case rank < 0:
			best, rank, at.column = v.cells[i], c.rank, c.label
		case f == product:
			if c.rank < rank {
				best, rank, at.column = v.cells[i], c.rank, c.label
			}
		case v.cells[i].text() != best.text():
			v.p.problems.add(at, "the column %q says %s here, this one %s: which one counts?", c.label, quote(v.cells[i].text()), quote(best.text()))
		}
	}
	return best, at
}

func (v values) name(f field) string {
	c, at := v.one(f)
	return v.p.name(said{c.text(), at})
}

func (v values) identifier(f field) string {
	c, at := v.one(f)
	return v.p.identifier(said{c.text(), at})
}

var versionLine = regexp.MustCompile(`(?i)^(?:version|ver|v)[.:]? ?(\d[0-9A-Za-z.]{0,30})$`)

// product is the name, and the version if a line of its own within the cell says it and no column does.
func (v values) product(version string) (string, string) {
	c, at := v.one(product)
	var name []string
	for _, text := range c.lines {
		if m := versionLine.FindStringSubmatch(text); m != nil && version == "" {
			version = m[1]
			continue
		}
		name = append(name, text)
	}
	return v.p.name(said{strings.Join(name, " "), at}), version
}

func (v values) date(f field) (*time.Time, place) {
	c, at := v.one(f)
	text := c.text()
	if text == "" || f == expires && isNever(text) {
		return nil, at
	}
	date, err := parseDate(text)
	if err != nil {
		v.p.problems.add(at, "%v", err)
		return nil, at
	}
	return &date, at
}

func (p *parser) count(s said, least int) int {
	n, err := parseCount(s.value, least)
	if err != nil {
		p.problems.add(s.at, "%v", err)
	}
	return n
}

// activationID takes an activation ID that stands nowhere else.
func (p *parser) activationID(s said) exchange.ActivationID {
	id := exchange.ActivationID(s.value)
	if s.value == "" {
		p.problems.add(s.at, "the activation ID is missing")
		return id
	}
	if err := exchange.CheckActivationID(id); err != nil {
		p.problems.add(s.at, "%v", err)
		return id
	}
	if strings.ContainsRune(s.value, utf8.RuneError) {
		p.problems.add(s.at, "characters of the activation ID cannot be read: save the file as UTF-8")
		return id
	}
	if before, twice := p.ids[id]; twice {
		p.problems.add(s.at, "the activation ID %s is also in table %d, row %d", id, before.table, before.row)
		return id
	}
	p.ids[id] = s.at
	return id
}
