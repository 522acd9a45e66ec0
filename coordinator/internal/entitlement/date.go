package entitlement

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Years that a license can have to do with; outside of them it is a slip of the pen.
const (
	firstYear = 1990
	lastYear  = 2199
)

var (
	isoDate   = regexp.MustCompile(`^(\d{4})([-/.])(\d{1,2})([-/.])(\d{1,2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)? ?(?:Z|UTC|[+-]\d{2}:?\d{2})?)?$`)
	dayFirst  = regexp.MustCompile(`^(?:[A-Za-z]+,? )?(\d{1,2})(?:st|nd|rd|th|\.)?[ -]([A-Za-z]+)\.?,?[ -](\d{4})$`)
	monthName = regexp.MustCompile(`^(?:[A-Za-z]+, )?([A-Za-z]+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})$`)
	twoFirst  = regexp.MustCompile(`^(\d{1,2})([-/.])(\d{1,2})([-/.])(\d{4})$`)
	shortYear = regexp.MustCompile(`^\d{1,2}[-/. ]([A-Za-z]+|\d{1,2})[-/. ]\d{2}$`)
)

// never are the words for "no such day".
var never = []string{"", "-", "–", "—", "permanent", "perpetual", "never", "never expires", "none", "n/a", "unlimited", "no expiration", "does not expire"}

// isNever reports whether the text says that there is no such day.
func isNever(text string) bool { return slices.Contains(never, strings.ToLower(text)) }

// parseDate reads a day in any spelling that has one reading. The time of the day is left out.
func parseDate(text string) (time.Time, error) {
	if m := isoDate.FindStringSubmatch(text); m != nil && m[2] == m[4] {
		return day(text, m[1], m[3], m[5])
	}
	if m := dayFirst.FindStringSubmatch(text); m != nil {
		return named(text, m[3], m[2], m[1])
	}
	if m := monthName.FindStringSubmatch(text); m != nil {
		return named(text, m[3], m[1], m[2])
	}
	if m := twoFirst.FindStringSubmatch(text); m != nil && m[2] == m[4] {
		return swappable(text, m[1], m[3], m[5])
	}
	if shortYear.MatchString(text) {
		return time.Time{}, fmt.Errorf("the year of %s has two digits: write it with four", quote(text))
	}
	return time.Time{}, fmt.Errorf("%s is not a date: write it as 2026-12-31", quote(text))
}

// swappable reads a date of numbers that ends with the year: only if it has one reading.
func swappable(text, first, second, year string) (time.Time, error) {
	dayMonth, err := day(text, year, second, first)
	monthDay, otherErr := day(text, year, first, second)
	switch {
	case err == nil && otherErr == nil && !dayMonth.Equal(monthDay):
		const long = "2 January 2006"
		return time.Time{}, fmt.Errorf("%s can be %s (day first) or %s (month first): write it as 2026-12-31",
			quote(text), dayMonth.Format(long), monthDay.Format(long))
	case err == nil:
		return dayMonth, nil
	case otherErr == nil:
		return monthDay, nil
	default:
		return time.Time{}, err
	}
}

// named reads a date with the month in English.
func named(text, year, month, dayOfMonth string) (time.Time, error) {
	name := strings.ToLower(month)
	for m := time.January; m <= time.December; m++ {
		if full := strings.ToLower(m.String()); name == full || name == full[:3] || m == time.September && name == "sept" {
			return day(text, year, strconv.Itoa(int(m)), dayOfMonth)
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a date: %s is no English month", quote(text), quote(month))
}

// day is the day, if there is one.
func day(text, year, month, dayOfMonth string) (time.Time, error) {
	y, errYear := strconv.Atoi(year)
	m, errMonth := strconv.Atoi(month)
	d, errDay := strconv.Atoi(dayOfMonth)
	if err := errors.Join(errYear, errMonth, errDay); err != nil {
		return time.Time{}, fmt.Errorf("%s is not a date", quote(text))
	}
	date := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	switch {
	case date.Year() != y || date.Month() != time.Month(m) || date.Day() != d:
		return time.Time{}, fmt.Errorf("%s is no day of the calendar", quote(text))
	case y < firstYear || y > lastYear:
		return time.Time{}, fmt.Errorf("the year of %s is not between %d and %d", quote(text), firstYear, lastYear)
	}
	return date, nil
}
