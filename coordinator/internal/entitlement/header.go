package entitlement

import "strings"

// beside reads header values that stand right of their labels, or in one cell with them.
func (p *parser) beside(at place, r row) {
	for i := 0; i < len(r.cells); i++ {
		label := r.cells[i].text()
		f, _ := fieldOf(label)
		if !f.inHeader() {
			p.labeled(r.cells[i].lines, at)
			continue
		}
		if i+1 < len(r.cells) {
			value := r.cells[i+1].text()
			if other, _ := fieldOf(value); !other.inHeader() {
				p.header(f, label, value, at)
				i++
			}
		}
	}
}

// below reads header values that stand under their labels.
func (p *parser) below(at place, labels, values row) {
	at.row++
	for i := range min(len(labels.cells), len(values.cells)) {
		label := labels.cells[i].text()
		f, _ := fieldOf(label)
		p.header(f, label, values.cells[i].text(), at)
	}
}

// onlyLabels reports whether the row has at least two labels of the header and nothing else.
func onlyLabels(r row) bool {
	found := 0
	for _, c := range r.cells {
		text := c.text()
		if f, _ := fieldOf(text); f.inHeader() {
			found++
		} else if text != "" {
			return false
		}
	}
	return found > 1
}

// labeled reads header values from lines of text: "label: value" in one line, or the value in the line after its label.
// Outside of tables words like date and type are too common to mean anything.
func (p *parser) labeled(lines []string, at place) {
	for i := 0; i < len(lines); i++ {
		label, value, colon := strings.Cut(lines[i], ":")
		f, _ := fieldOf(label)
		switch {
		case !f.inHeader(), at.table == 0 && (f == issued || f == kind):
		case strings.TrimSpace(value) != "":
			p.header(f, label, strings.TrimSpace(value), at)
		case i+1 < len(lines) && (colon || at.table > 0):
			if next, _ := fieldOf(strings.TrimSuffix(lines[i+1], ":")); !next.inHeader() {
				p.header(f, label, lines[i+1], at)
				i++
			}
		}
	}
}

// header takes a value of the header. One that is said again must be the same; of an entitlement ID that is the law, of the
// others the first counts.
func (p *parser) header(f field, label, value string, at place) {
	at.column = strings.TrimRight(strings.TrimSpace(label), ":")
	before, again := p.said[f]
	switch {
	case value == "":
	case !again:
		p.said[f] = said{value, at}
	case before.value == value:
	case f == entitlementID:
		p.problems.add(at, "a second entitlement, %s after %s: import one file for each", short(value), short(before.value))
	default:
		p.certificate.Notes = append(p.certificate.Notes, at.column+" is said twice: the first was taken")
	}
}

// short is an entitlement ID as a person may read it.
func short(id string) string {
	text, _ := seen(id)
	if runes := []rune(text); len(runes) > 64 {
		return string(runes[:64]) + "…"
	}
	return text
}
