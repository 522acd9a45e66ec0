package entitlement

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParseIsBounded reads files that are made to hurt, as large as a file may be. What is built of them is bounded by
// their size times a small number: a parser that builds a tree needs gigabytes for some of them.
func TestParseIsBounded(t *testing.T) {
	const (
		deep  = "nests elements more than 256 deep"
		parts = "has more than 250000 cells and lines"
		plain = "it has no tags"
		none  = "no entitlement ID"
		most  = 128 << 20 // bytes allocated in all, garbage included
	)
	full := func(before, again string) string {
		return before + strings.Repeat(again, (MaxSize-len(before))/len(again))
	}
	lines := "<table><tr><td>Entitlement ID<td>X<tr><td>Activation ID<td>Qty"
	for name, bomb := range map[string]struct{ file, want string }{
		"100,000 deep":         {strings.Repeat("<div>", 100_000) + string(sample(t, "plain")), deep},
		"deep and closed":      {strings.Repeat("<div>", 100_000) + strings.Repeat("</div>", 100_000) + string(sample(t, "plain")), deep},
		"deep in one cell":     {lines + "<tr><td>" + strings.Repeat("<font>", 300) + "a", deep},
		"tables":               {full("", "<table>"), deep},
		"tables in cells":      {full("", "<table><tr><td>"), deep},
		"bold":                 {full("", "<b>"), deep},
		"unheard of":           {full("", "<o:p>"), deep},
		"bold again and again": {full(strings.Repeat("<b id=1>", 200), "</p><p>"), none},
		"ends of nothing":      {full(strings.Repeat("<i>", 250), "</q>"), none},
		"text between cells":   {full("<table>", "x<tr>"), parts},
		"cells":                {full("<table>", "<td>x"), parts},
		"rows":                 {full("<table>", "<tr>"), parts},
		"lines":                {full("", "x<br>"), parts},
		"lines in a cell":      {full("<table><td>", "x<br>"), parts},
		"products":             {full(lines, "<tr><td>a<td>1"), parts},
		"headings":             {full(lines, "<tr><td>Activation ID<td>Qty"), parts},
		"wide headings":        {full(lines, "<td colspan=100>"), parts},
		"wide rows":            {full(lines, "<tr><td colspan=100>a"), parts},
		"attributes":           {full("<table><td ", "a=1 "), none},
		"paragraphs":           {full("", "<p>"), none},
		"templates":            {full("", "<template>"), none},
		"a script without end": {full("<script>", "</scrip"), none},
		"references":           {full("<p>", "&notanentity;"), none},
		"less-than":            {full("", "<"), plain},
		"comments":             {full("", "<!--"), plain},
		"one word":             {full("", "x"), plain},
		"zeros":                {full("", "\x00"), plain},
		"spaces":               {full("", "\r"), "the file is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse(strings.NewReader(bomb.file), Options{})
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, bomb.want)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(most))
		})
	}
}

// TestParseTakesWhatIsOnlySloppy shows that files whose tags are not closed are not taken for deep ones.
func TestParseTakesWhatIsOnlySloppy(t *testing.T) {
	var file strings.Builder
	for range 1_000 {
		file.WriteString("<p>note<li>")
	}
	file.WriteString("<table><tr>" + strings.Repeat("<td><b>x", 300) + "</table>")
	file.WriteString("<table><tr><td>Entitlement ID<td>X</table><table><tr><th>Activation ID<th>Qty")
	for i := range 1_000 {
		file.WriteString("<tr><td><b><font>" + strings.Repeat("A", i%200+1) + string(rune('a'+i/200)) + "<td><i><div>1")
	}
	certificate, err := Parse(strings.NewReader(file.String()), Options{})
	require.NoError(t, err)
	require.Equal(t, 1_000, certificate.Seats())
}

func TestParseReadsNoMoreThanItMay(t *testing.T) {
	hq := sample(t, "plain")
	whole := append(bytes.Clone(hq), bytes.Repeat([]byte(" "), MaxSize-len(hq))...)
	_, err := Parse(bytes.NewReader(whole), Options{})
	require.NoError(t, err, "4 MiB are read")

	r := &endless{}
	_, err = Parse(r, Options{})
	require.EqualError(t, err, "the file is larger than 4 MiB: an entitlement certificate is a few pages at most")
	require.Equal(t, MaxSize+1, r.read)
}

// endless is a file without end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}
