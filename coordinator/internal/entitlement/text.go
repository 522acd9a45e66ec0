package entitlement

import (
	"strings"
	"unicode"
)

// maxValue is how many characters a value may have.
const maxValue = 300

// builder gathers the text of one cell, or of what stands outside of tables: lines, each with its words one space apart.
type builder struct {
	lines []string
	words strings.Builder
	space bool // a space is due before the next character
}

// text adds a stranger's text: every kind of space is a space, and what is no character at all becomes U+FFFD.
func (b *builder) text(text []byte) {
	for _, r := range string(text) {
		if unicode.IsSpace(r) {
			b.space = b.words.Len() > 0
			continue
		}
		if b.space {
			b.words.WriteByte(' ')
			b.space = false
		}
		b.words.WriteRune(r)
	}
}

// breakLine ends the line.
func (b *builder) breakLine() {
	if b.words.Len() > 0 {
		b.lines = append(b.lines, b.words.String())
		b.words.Reset()
	}
	b.space = false
}

// seen takes out what nobody can see: control and format characters (bidirectional ones among them), characters without a
// meaning, surrogates, private ones. It says how many there were.
func seen(text string) (string, int) {
	hidden := 0
	text = strings.Map(func(r rune) rune {
		if visible(r) {
			return r
		}
		hidden++
		return -1
	}, text)
	return strings.Join(strings.Fields(text), " "), hidden
}

// visible is true for what a person can see, and for the plain space.
func visible(r rune) bool { return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) }
