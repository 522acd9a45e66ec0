package entitlement

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/licet-project/licet/shared/exchange"
)

// Options of Parse; the zero value is good.
type Options struct {
	Now time.Time // today: lines that have expired by then get a note; zero: none does
}

// Parse reads an entitlement certificate. What is wrong with it is Problems, every mistake at once; any other error is the
// reader's own.
func Parse(r io.Reader, o Options) (Certificate, error) {
	data, err := readAll(r)
	if err != nil {
		return Certificate{}, err
	}
	if err := notHTML(data); err != nil {
		return Certificate{}, err
	}
	text, err := decode(data)
	if err != nil {
		return Certificate{}, err
	}
	document, err := readDocument(text)
	if err != nil {
		return Certificate{}, err
	}
	p := parser{said: make(map[field]said), ids: make(map[exchange.ActivationID]place)}
	p.read(document)
	if len(p.problems) > 0 {
		return Certificate{}, p.problems
	}
	p.finish(o)
	p.certificate.Digest = exchange.DigestOf(data)
	if p.certificate.Content, err = p.certificate.meaning(); err != nil {
		return Certificate{}, err
	}
	return p.certificate, nil
}

// parser gathers what the tables say.
type parser struct {
	certificate Certificate
	problems    Problems
	said        map[field]said                  // header values
	ids         map[exchange.ActivationID]place // where each activation ID stands
	lineTables  int
	hidden      int // characters that nobody can see and that were left out
	ignored     []column
}

// said is a value of the header and where it stands.
type said struct {
	value string
	at    place
}

func (p *parser) read(d document) {
	for number, t := range d.tables {
		p.table(number+1, t)
	}
	p.labeled(d.lines, place{})
	if p.said[entitlementID].value == "" {
		p.problems.add(place{}, "no entitlement ID: there is no label %q with a value", "Entitlement ID")
	}
	switch {
	case p.lineTables == 0:
		p.problems.add(place{}, "no activation ID: there is no table with a column %q and one for the count", "Activation ID")
	case len(p.certificate.Lines) == 0 && len(p.problems) == 0:
		p.problems.add(place{}, "no activation ID: the table of products is empty")
	}
	p.certificate.ID = p.identifier(p.said[entitlementID])
	p.certificate.OrderNumber = p.identifier(p.said[orderNumber])
	p.certificate.SoldTo = p.name(p.said[soldTo])
	p.certificate.Kind = p.name(p.said[kind])
	if s := p.said[issued]; !isNever(s.value) {
		date, err := parseDate(s.value)
		if err != nil {
			p.problems.add(s.at, "%v", err)
		}
		p.certificate.Issued = date
	}
}

// table reads one table: header values down to a row of headings, lines from there on.
func (p *parser) table(number int, t *table) {
	var heading []column
	for i := 0; i < len(t.rows); i++ {
		at := place{table: number, row: i + 1}
		switch found := headings(t.rows[i]); {
		case found != nil:
			heading = found
			if !p.heading(at, t.rows[i], heading) {
				return
			}
		case heading != nil:
			if !p.line(at, t.rows[i], heading) {
				return
			}
		case i+1 < len(t.rows) && onlyLabels(t.rows[i]):
			p.below(at, t.rows[i], t.rows[i+1])
			i++
		default:
			p.beside(at, t.rows[i])
		}
	}
}

// name is a text for a person: what nobody can see is left out.
func (p *parser) name(s said) string {
	text, hidden := seen(s.value)
	p.hidden += hidden
	p.length(s.at, text)
	return text
}

// identifier is a text that must be the same everywhere: with anything that nobody can see in it, it is refused.
func (p *parser) identifier(s said) string {
	text, hidden := seen(s.value)
	if hidden > 0 {
		p.problems.add(s.at, "%d control or invisible characters in an identifier", hidden)
	}
	if strings.ContainsRune(text, utf8.RuneError) {
		p.problems.add(s.at, "characters that cannot be read in an identifier: save the file as UTF-8")
	}
	p.length(s.at, text)
	return text
}

func (p *parser) length(at place, text string) {
	if n := utf8.RuneCountInString(text); n > maxValue {
		p.problems.add(at, "%d characters, at most %d are allowed", n, maxValue)
	}
}

// finish writes the notes.
func (p *parser) finish(o Options) {
	c := &p.certificate
	if p.hidden > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d control or invisible characters were left out of names", p.hidden))
	}
	for _, column := range p.ignored {
		c.Notes = append(c.Notes, fmt.Sprintf("the column %q is not known and was left out", column.label))
	}
	if o.Now.IsZero() {
		return
	}
	expired := 0
	for _, line := range c.Lines {
		if line.Expires != nil && line.Expires.AddDate(0, 0, 1).Before(o.Now) {
			expired++
		}
	}
	if expired > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d of %d lines have expired", expired, len(c.Lines)))
	}
}
