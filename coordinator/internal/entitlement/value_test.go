package entitlement

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/shared/exchange"
)

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func TestParseCount(t *testing.T) {
	for text, want := range map[string]int{
		"1": 1, "40": 40, "999": 999, "1000": 1000, "1,000": 1000, "1.000": 1000, "1'000": 1000, "1’000": 1000, "1 000": 1000,
		"1\u00a0000": 1000, "1\u2009000": 1000, "1\u202f000": 1000, "12,345,678": 12345678, "1000000000": exchange.MaxCount,
		"1,000,000,000": exchange.MaxCount, "007": 7,
	} {
		n, err := parseCount(text, 1)
		require.NoError(t, err, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{
		"", "0", "-1", "+1", "1.5", "1,5", "1.0", "0.5", "0,005", "000,005", "1,00", "1,0000", "1000,000", ",000", "1,", "1,,000", "1,000.000", "1 0,0",
		"1.000,00", "1 000 00", "one", "5 seats", "5e3", "0x10", "1_000", "１２", "٣", "Ⅻ", "1/2", "½", "∞", "1000000001", "99999999999999999999", ".", "-", "- 5", "'",
	} {
		_, err := parseCount(text, 1)
		require.Error(t, err, text)
	}
	n, err := parseCount("0", 0)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestParseCountReadsWhatItWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, exchange.MaxCount).Draw(t, "n")
		separator := rapid.SampledFrom([]string{"", ",", ".", "'", "’", " ", "\u00a0", "\u2009", "\u202f"}).Draw(t, "separator")
		digits := strconv.Itoa(n)
		text := ""
		for i, digit := range digits {
			if i > 0 && (len(digits)-i)%3 == 0 {
				text += separator
			}
			text += string(digit)
		}
		got, err := parseCount(text, 1)
		require.NoError(t, err, text)
		require.Equal(t, n, got, text)
	})
}

func TestParseDate(t *testing.T) {
	want := date(2026, time.April, 14)
	for _, text := range []string{
		"2026-04-14", "2026/04/14", "2026.04.14", "2026-4-14", "2026-04-14T10:30:00Z", "2026-04-14 10:30", "2026-04-14T10:30:00.123+02:00",
		"14 April 2026", "14. April 2026", "14 Apr 2026", "14 apr. 2026", "14-Apr-2026", "14th April 2026", "14 APRIL, 2026", "Tuesday, 14 April 2026",
		"April 14, 2026", "April 14 2026", "Apr 14, 2026", "Apr. 14th, 2026", "Tuesday, April 14, 2026",
		"14/04/2026", "14.04.2026", "14-04-2026", "14.4.2026", "04/14/2026", "4/14/2026",
	} {
		got, err := parseDate(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]time.Time{
		"04/04/2026": date(2026, time.April, 4), // both readings are the same day
		"2028-02-29": date(2028, time.February, 29), "29 February 2028": date(2028, time.February, 29),
		"1 Sept 2026": date(2026, time.September, 1), "May 1, 2026": date(2026, time.May, 1),
		"31.01.1990": date(1990, time.January, 31), "2199-12-31": date(2199, time.December, 31),
	} {
		got, err := parseDate(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"03/04/2026":       "can be 3 April 2026 (day first) or 4 March 2026 (month first)",
		"1-2-2026":         "can be 1 February 2026 (day first) or 2 January 2026 (month first)",
		"12.11.2026":       "can be 12 November 2026 (day first) or 11 December 2026 (month first)",
		"2026-02-30":       "no day of the calendar",
		"2027-02-29":       "no day of the calendar",
		"31.02.2026":       "no day of the calendar",
		"2026-13-01":       "no day of the calendar",
		"2026-00-10":       "no day of the calendar",
		"0 April 2026":     "no day of the calendar",
		"13/13/2026":       "no day of the calendar",
		"1989-12-31":       "is not between 1990 and 2199",
		"9999-12-31":       "is not between 1990 and 2199",
		"14 April 26":      "has two digits",
		"14/04/26":         "has two digits",
		"2026-04/14":       "is not a date",
		"14 Avril 2026":    "is no English month",
		"14 Janu 2026":     "is no English month",
		"Q2 2026":          "is not a date",
		"2026":             "is not a date",
		"46126":            "is not a date",
		"tomorrow":         "is not a date",
		"2026-04-14 to go": "is not a date",
		"":                 "is not a date",
	} {
		_, err := parseDate(text)
		require.ErrorContains(t, err, want, text)
	}
}

// TestEveryDayHasOneReading writes every day of some years in every spelling and reads it back, or is told of both readings.
func TestEveryDayHasOneReading(t *testing.T) {
	swappable := 0
	for day := date(2027, time.January, 1); day.Year() < 2029; day = day.AddDate(0, 0, 1) {
		for _, layout := range []string{time.DateOnly, "2006/1/2", "2 January 2006", "Jan 2, 2006", "02-Jan-2006", "Monday, 2 January 2006"} {
			got, err := parseDate(day.Format(layout))
			require.NoError(t, err, day.Format(layout))
			require.Equal(t, day, got)
		}
		for _, layout := range []string{"02/01/2006", "1/2/2006", "2.1.2006"} {
			got, err := parseDate(day.Format(layout))
			if day.Day() <= 12 && day.Day() != int(day.Month()) {
				require.ErrorContains(t, err, day.Format("2 January 2006"))
				swappable++
				continue
			}
			require.NoError(t, err, day.Format(layout))
			require.Equal(t, day, got)
		}
	}
	require.Equal(t, 2*12*11*3, swappable)
}

func TestIsNever(t *testing.T) {
	for _, text := range []string{"", "permanent", "Permanent", "NEVER", "-", "—", "N/A", "Does not expire"} {
		require.True(t, isNever(text), text)
	}
	for _, text := range []string{"0", "2026-01-01", "ever", "permanently", "next year"} {
		require.False(t, isNever(text), text)
	}
}

func TestQuoteShowsEnoughAndNotAll(t *testing.T) {
	for text, want := range map[string]string{
		"2026-02-30":                            `"2026-02-30"`,
		"31 September 2026":                     `"31 September 2026"`,
		"DEMO-ACT-7f3a-0001":                    `"DEMO-A…"`,
		"a phrase that is longer than it needs": `"a phra…"`,
	} {
		require.Equal(t, want, quote(text))
	}
}

func TestFieldOf(t *testing.T) {
	for label, want := range map[string]field{
		"Activation ID": activationID, "ACTIVATION  ID:": activationID, "Activation Id *": activationID, "activation_id": activationID,
		"Number of Licences": count, //nolint:misspell // British
		"Part No.":           partNumber, "Order No.:": orderNumber, "Seat Count": count, "Expires": expires,
		"": unknown, "Activation": unknown, "ID": unknown, strings.Repeat("x", 100): unknown,
	} {
		got, _ := fieldOf(label)
		require.Equal(t, want, got, label)
	}
	// No label announces two fields.
	words := 0
	for _, all := range labels {
		words += len(all)
	}
	require.Len(t, announced, words)
}
