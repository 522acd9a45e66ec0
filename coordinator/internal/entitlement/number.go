package entitlement

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/licet-project/licet/shared/exchange"
)

// separators may stand between groups of three digits.
const separators = " ,.'"

// parseCount reads a whole number. Groups of three may be separated by a space of any width, comma, full stop or apostrophe,
// the same one throughout. Nothing else is a number: no sign, no fraction, no word.
func parseCount(text string, least int) (int, error) {
	plain := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == '\u2019' || r == '\u02bc':
			return '\''
		case r == '\u2212':
			return '-'
		}
		return r
	}, text)
	if plain == "" {
		return 0, errors.New("a whole number is missing")
	}
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(separators, r) {
			return -1
		}
		return r
	}, plain)
	if strings.Trim(digits, "0123456789") != "" {
		if rest, negative := strings.CutPrefix(digits, "-"); negative && rest != "" && strings.Trim(rest, "0123456789") == "" {
			return 0, fmt.Errorf("%s is negative", quote(text))
		}
		return 0, fmt.Errorf("%s is not a whole number", quote(text))
	}
	if at := strings.IndexAny(plain, separators); at >= 0 {
		separator := plain[at : at+1]
		groups := strings.Split(plain, separator)
		for i, group := range groups {
			first := i == 0 && len(group) > 0 && len(group) <= 3 && group[0] != '0'
			if !first && (i == 0 || len(group) != 3) || strings.Trim(group, "0123456789") != "" {
				return 0, fmt.Errorf("%s is not a whole number: separators stand between groups of three digits", quote(text))
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || n > exchange.MaxCount:
		return 0, fmt.Errorf("%s is too large: at most %d", quote(text), exchange.MaxCount)
	case n < int64(least):
		return 0, fmt.Errorf("%s is less than %d", quote(text), least)
	}
	return int(n), nil
}
