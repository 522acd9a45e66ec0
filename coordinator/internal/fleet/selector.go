package fleet

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Selector says which servers are meant: key=value, key!=value, key in (a, b) and key (which is true where the key
// exists), joined by commas. Empty selects every server. It is one language everywhere: API, command line, page, policy.
type Selector struct{ terms []term }

type operator int

const (
	exists operator = iota
	equal
	notEqual
	in
)

type term struct {
	key    string
	op     operator
	values []string // none for exists, one for equal and notEqual, at least one for in
}

// Limits of a selector.
const (
	maxSelector = 4_096 // bytes
	maxKey      = 63    // characters
)

// SelectorError says where a selector cannot be read.
type SelectorError struct {
	Column int // character, counted from 1
	Text   string
}

func (e *SelectorError) Error() string {
	return fmt.Sprintf("selector, column %d: %s", e.Column, e.Text)
}

// ParseSelector reads a selector; its error is a *SelectorError.
func ParseSelector(text string) (Selector, error) {
	if len(text) > maxSelector {
		return Selector{}, &SelectorError{1, fmt.Sprintf("it is longer than %d bytes", maxSelector)}
	}
	p := selectorParser{text: []rune(text)}
	for i, r := range p.text {
		if !printable(r) {
			return Selector{}, &SelectorError{i + 1, fmt.Sprintf("a control or invisible character (%U)", r)}
		}
	}
	p.space()
	if p.end() {
		return Selector{}, nil
	}
	var s Selector
	for {
		t, err := p.term()
		if err != nil {
			return Selector{}, err
		}
		s.terms = append(s.terms, t)
		if p.end() {
			return s, nil
		}
		p.at++ // the comma
	}
}

// Match reports whether the attributes are those of a server that is meant. A server without the key is not equal to any
// value: key!=value is true there.
func (s Selector) Match(attributes map[string]string) bool {
	for _, t := range s.terms {
		value, has := attributes[t.key]
		var is bool
		switch t.op {
		case exists:
			is = has
		case notEqual:
			is = !has || value != t.values[0]
		default:
			is = has && slices.Contains(t.values, value)
		}
		if !is {
			return false
		}
	}
	return true
}

// String is the selector in its plainest spelling; read again it selects the same.
func (s Selector) String() string {
	terms := make([]string, len(s.terms))
	for i, t := range s.terms {
		switch t.op {
		case exists:
			terms[i] = t.key
		case equal:
			terms[i] = t.key + "=" + t.values[0]
		case notEqual:
			terms[i] = t.key + "!=" + t.values[0]
		case in:
			terms[i] = t.key + " in (" + strings.Join(t.values, ", ") + ")"
		}
	}
	return strings.Join(terms, ",")
}

// equals is the value that a key must have, if the selector says so plainly.
func (s Selector) equals(key string) (string, bool) {
	for _, t := range s.terms {
		if t.key == key && t.op == equal {
			return t.values[0], true
		}
	}
	return "", false
}

type selectorParser struct {
	text []rune
	at   int
}

func (p *selectorParser) end() bool { return p.at >= len(p.text) }

func (p *selectorParser) space() {
	for !p.end() && p.text[p.at] == ' ' {
		p.at++
	}
}

func (p *selectorParser) has(prefix string) bool {
	return strings.HasPrefix(string(p.text[p.at:min(len(p.text), p.at+len(prefix))]), prefix)
}

func (p *selectorParser) fail(format string, args ...any) error {
	return &SelectorError{p.at + 1, fmt.Sprintf(format, args...)}
}

// term reads one term and the space after it; what follows is a comma or the end.
func (p *selectorParser) term() (term, error) {
	p.space()
	start := p.at
	for !p.end() && keyRune(p.text[p.at]) {
		p.at++
	}
	t := term{key: string(p.text[start:p.at])}
	switch {
	case t.key == "" && (p.end() || p.text[p.at] == ','):
		return t, p.fail("a term is missing: write key=value, key!=value, key in (a, b) or key")
	case t.key == "":
		return t, p.fail("a key cannot begin with %q: keys are letters, digits and . _ - /", p.text[p.at])
	case len(t.key) > maxKey:
		return t, &SelectorError{start + 1, fmt.Sprintf("the key is longer than %d characters", maxKey)}
	}
	p.space()
	var err error
	switch {
	case p.end() || p.text[p.at] == ',':
		return t, nil
	case p.has("!="):
		p.at += 2
		t.op, err = notEqual, p.value(&t.values, ",")
	case p.has("="):
		p.at++
		t.op, err = equal, p.value(&t.values, ",")
	case p.has("in ") || p.has("in("):
		p.at += 2
		t.op, err = in, p.list(&t.values)
	default:
		return t, p.fail("after a key there is =, !=, in (a, b), a comma or the end")
	}
	return t, err
}

// value reads up to one of the stops, or the end.
func (p *selectorParser) value(into *[]string, stops string) error {
	p.space()
	start := p.at
	for !p.end() && !strings.ContainsRune(stops, p.text[p.at]) {
		p.at++
	}
	value := strings.TrimRight(string(p.text[start:p.at]), " ")
	switch {
	case value == "":
		return p.fail("a value is missing")
	case strings.HasPrefix(value, "="):
		return &SelectorError{start + 1, "one = is enough"}
	}
	*into = append(*into, value)
	return nil
}

// list reads (a, b) and the space after it.
func (p *selectorParser) list(into *[]string) error {
	p.space()
	if p.end() || p.text[p.at] != '(' {
		return p.fail("after in there is a list in parentheses: key in (a, b)")
	}
	p.at++
	for {
		if err := p.value(into, ",()"); err != nil {
			return err
		}
		switch {
		case p.end():
			return p.fail("the list is not closed: ) is missing")
		case p.text[p.at] == '(':
			return p.fail("a value in a list cannot contain (")
		}
		p.at++
		if p.text[p.at-1] == ')' {
			break
		}
	}
	p.space()
	if !p.end() && p.text[p.at] != ',' {
		return p.fail("after a list there is a comma or the end")
	}
	return nil
}

func keyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/", r)
}

// printable is true for what a person can see, and for the plain space.
func printable(r rune) bool { return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) }
