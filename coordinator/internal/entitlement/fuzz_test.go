package entitlement

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

// FuzzParse reads anything at all: it never panics, what it takes is valid through and through, and what it refuses is
// refused with a list of problems.
func FuzzParse(f *testing.F) {
	f.Add(sample(f, "plain"))
	f.Add(sample(f, "mail"))
	for _, text := range variants {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		certificate, err := Parse(bytes.NewReader(data), Options{})
		if err != nil {
			problems, ok := err.(Problems) //nolint:errorlint // exactly this type, not wrapped
			require.True(t, ok)
			require.NotEmpty(t, problems)
			require.LessOrEqual(t, len(problems), MaxProblems+1)
			return
		}
		requireValid(t, certificate)
		again, err := Parse(bytes.NewReader(data), Options{})
		require.NoError(t, err)
		require.Equal(t, certificate, again)

		// Written down and read again it grants the same.
		rewritten, err := Parse(strings.NewReader(write(certificate)), Options{})
		require.NoError(t, err)
		require.Equal(t, certificate.Content, rewritten.Content)
	})
}

func requireValid(t *testing.T, c Certificate) {
	t.Helper()
	require.NotEmpty(t, c.ID)
	require.NotEmpty(t, c.Lines)
	require.NotEmpty(t, c.Digest)
	require.NotEmpty(t, c.Content)
	seen := map[exchange.ActivationID]bool{}
	texts := append([]string{c.ID, c.SoldTo, c.OrderNumber, c.Kind}, c.Notes...)
	for _, line := range c.Lines {
		require.NoError(t, exchange.CheckActivationID(line.ActivationID))
		require.False(t, seen[line.ActivationID])
		seen[line.ActivationID] = true
		require.Positive(t, line.Count)
		require.LessOrEqual(t, line.Count, exchange.MaxCount)
		require.GreaterOrEqual(t, line.Remaining, 0)
		require.LessOrEqual(t, line.Remaining, line.Count)
		require.False(t, line.Start != nil && line.Expires != nil && line.Expires.Before(*line.Start))
		texts = append(texts, line.Product, line.Version, line.PartNumber, line.OrderLine, line.ActivationID.Reveal())
	}
	for _, text := range texts {
		require.True(t, utf8.ValidString(text))
		require.LessOrEqual(t, utf8.RuneCountInString(text), maxValue)
		for _, r := range text {
			require.True(t, visible(r), "%U in %q", r, text)
		}
	}
}

// write is the certificate as a file.
func write(c Certificate) string {
	var file strings.Builder
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace
	fmt.Fprintf(&file, "<table><tr><td>Entitlement ID</td><td>%s</td></tr></table>", escape(c.ID))
	file.WriteString("<table><tr><th>Activation ID</th><th>Part Number</th><th>Qty</th><th>Expires</th></tr>")
	for _, line := range c.Lines {
		expires := "never"
		if line.Expires != nil {
			expires = line.Expires.Format("2 January 2006")
		}
		fmt.Fprintf(&file, "<tr><td>%s</td><td>%s</td><td>%d</td><td>%s</td></tr>",
			escape(line.ActivationID.Reveal()), escape(line.PartNumber), line.Count, expires)
	}
	return file.String() + "</table>"
}

// BenchmarkEntitlementParse reads both samples, and the largest order that is likely. ns/line shows that the work grows
// with the lines alone.
func BenchmarkEntitlementParse(b *testing.B) {
	large := Certificate{ID: "DEMO-ENT-LARGE"}
	for i := range 5_000 {
		large.Lines = append(large.Lines, Line{ActivationID: exchange.ActivationID(fmt.Sprintf("DEMO-ACT-%d", i)), PartNumber: "SAMPLE-SNMP", Count: 1_000})
	}
	for _, file := range []struct {
		name string
		data []byte
	}{{"plain", sample(b, "plain")}, {"mail", sample(b, "mail")}, {"5000-lines", []byte(write(large))}} {
		b.Run(file.name, func(b *testing.B) {
			b.SetBytes(int64(len(file.data)))
			b.ReportAllocs()
			lines := 0
			for b.Loop() {
				certificate, err := Parse(bytes.NewReader(file.data), Options{})
				if err != nil {
					b.Fatal(err)
				}
				lines = len(certificate.Lines)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(lines), "ns/line")
		})
	}
}
