package exchange

import (
	"strings"
	"unicode"
)

// printable is true for what a person can see: no control, format, bidirectional or unassigned character, no space but
// the plain one.
func printable(r rune) bool { return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// plain keeps at most 300 printable characters of a stranger's text.
func plain(text string) string {
	kept := 0
	return strings.Map(func(r rune) rune {
		if !printable(r) || kept >= 300 {
			return -1
		}
		kept++
		return r
	}, text)
}
