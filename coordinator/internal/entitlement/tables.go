package entitlement

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Limits of what is taken from a file. The largest honest certificate has some thousand lines of ten cells.
const (
	maxDepth = 256     // open elements
	maxParts = 250_000 // tables, rows, cells and lines of text
	maxSpan  = 100     // columns that one cell may cover
)

// document is what a certificate consists of for us.
type document struct {
	tables []*table // in the order in which they begin
	lines  []string // text outside of every table
}

type table struct{ rows []row }

type row struct{ cells []cell }

type cell struct {
	lines   []string // text that stands in the cell itself, not in a table within it
	columns int      // that it covers, at least 1
	rows    int
}

// text is the cell in one line.
func (c cell) text() string { return strings.Join(c.lines, " ") }

// reader walks over the tags once. It needs no tree: what matters is the table that is open, its row and its cell, and how
// deep the elements lie in each other.
type reader struct {
	tokens  *html.Tokenizer
	doc     document
	outside builder
	open    []*openTable
	stack   []atom.Atom // open elements, roughly as a browser has them
	tags    int
	parts   int
	skip    atom.Atom // the element whose content is not text: everything up to its end is dropped
}

// openTable is a table whose end has not come.
type openTable struct {
	table *table
	inRow bool
	cell  *builder // nil: no cell is open
	shape cell     // of the open cell
}

// readDocument takes the tables and the text out of the file.
func readDocument(data []byte) (document, error) {
	r := &reader{tokens: html.NewTokenizer(bytes.NewReader(data))}
	for {
		if r.parts > maxParts {
			return document{}, refuse("the file has more than %d cells and lines: this is no entitlement certificate", maxParts)
		}
		if len(r.stack) > maxDepth {
			return document{}, refuse("the file nests elements more than %d deep: this is no entitlement certificate", maxDepth)
		}
		switch r.tokens.Next() {
		case html.ErrorToken:
			if err := r.tokens.Err(); !errors.Is(err, io.EOF) {
				return document{}, refuse("the file cannot be read as HTML: %v", err)
			}
			for len(r.open) > 0 {
				r.endTable()
			}
			r.outside.breakLine()
			r.doc.lines = r.outside.lines
			if r.tags == 0 {
				return document{}, refuse("the file is not HTML: it has no tags")
			}
			return r.doc, nil
		case html.TextToken:
			if r.skip == 0 {
				r.text().text(r.tokens.Text())
			}
		case html.StartTagToken:
			r.start(false)
		case html.SelfClosingTagToken:
			r.start(true)
		case html.EndTagToken:
			r.end()
		}
	}
}

// text is where text goes: to the innermost table's open cell, or outside; between the cells of a table there is none.
func (r *reader) text() *builder {
	if len(r.open) == 0 {
		return &r.outside
	}
	if t := r.open[len(r.open)-1]; t.cell != nil {
		return t.cell
	}
	return &builder{}
}

func (r *reader) start(selfClosing bool) {
	name, hasAttributes := r.tokens.TagName()
	tag := atom.Lookup(name)
	r.tags++
	if r.skip != 0 {
		return
	}
	r.push(tag, selfClosing)
	switch tag {
	case atom.Script, atom.Style, atom.Title, atom.Textarea, atom.Iframe, atom.Noembed, atom.Noframes, atom.Noscript, atom.Xmp,
		atom.Plaintext, atom.Template:
		if !selfClosing || tag != atom.Template {
			r.skip = tag
		}
	case atom.Table:
		r.breakLine()
		t := &table{}
		r.doc.tables = append(r.doc.tables, t)
		r.open = append(r.open, &openTable{table: t})
		r.parts++
	case atom.Tr:
		r.startRow()
	case atom.Td, atom.Th:
		r.startCell(hasAttributes)
	default:
		if breaksLine(tag) {
			r.breakLine()
		}
	}
}

func (r *reader) end() {
	name, _ := r.tokens.TagName()
	tag := atom.Lookup(name)
	r.tags++
	if r.skip != 0 {
		if tag == r.skip {
			r.skip = 0
			r.pop(tag)
		}
		return
	}
	r.pop(tag)
	if len(r.open) > 0 {
		switch t := r.open[len(r.open)-1]; tag {
		case atom.Table:
			r.endTable()
			return
		case atom.Tr, atom.Thead, atom.Tbody, atom.Tfoot:
			r.endCell()
			t.inRow = false
			return
		case atom.Td, atom.Th:
			r.endCell()
			return
		}
	}
	if breaksLine(tag) {
		r.breakLine()
	}
}

func (r *reader) breakLine() {
	b := r.text()
	before := len(b.lines)
	b.breakLine()
	r.parts += len(b.lines) - before
}

func (r *reader) startRow() {
	if len(r.open) == 0 {
		return
	}
	r.endCell()
	t := r.open[len(r.open)-1]
	t.table.rows = append(t.table.rows, row{})
	t.inRow = true
	r.parts++
}

func (r *reader) startCell(hasAttributes bool) {
	if len(r.open) == 0 {
		r.breakLine()
		return
	}
	r.endCell()
	t := r.open[len(r.open)-1]
	if !t.inRow {
		r.startRow()
	}
	t.cell, t.shape = &builder{}, cell{columns: 1, rows: 1}
	for left := 50; hasAttributes && left > 0; left-- {
		var key, value []byte
		key, value, hasAttributes = r.tokens.TagAttr()
		switch string(key) {
		case "colspan":
			t.shape.columns = span(value)
		case "rowspan":
			t.shape.rows = span(value)
		}
	}
}

func (r *reader) endCell() {
	t := r.open[len(r.open)-1]
	if t.cell == nil {
		return
	}
	t.cell.breakLine()
	t.shape.lines = t.cell.lines
	last := &t.table.rows[len(t.table.rows)-1]
	last.cells = append(last.cells, t.shape)
	t.cell = nil
	r.parts++
}

func (r *reader) endTable() {
	r.endCell()
	r.open = r.open[:len(r.open)-1]
	r.breakLine()
}

// span is how many columns or rows a cell covers; nonsense is 1, as in a browser.
func span(value []byte) int {
	n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	if err != nil || n < 1 {
		return 1
	}
	return min(n, maxSpan)
}
