package entitlement

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"

	"github.com/licet-project/licet/shared/exchange"
)

func parse(t *testing.T, text string) Certificate {
	t.Helper()
	certificate, err := Parse(strings.NewReader(text), Options{})
	require.NoError(t, err)
	return certificate
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/entitlement-" + name + ".html")
	require.NoError(t, err)
	return data
}

func TestParsePlainSample(t *testing.T) {
	data := sample(t, "plain")
	certificate, err := Parse(bytes.NewReader(data), Options{Now: date(2026, 11, 1)})
	require.NoError(t, err)
	bought, year := date(2026, 3, 6), date(2027, 3, 6)
	line := func(number int, product, part string, count int, expires *time.Time) Line {
		return Line{
			ActivationID: exchange.ActivationID(fmt.Sprintf("DEMO-ACT-7f3a-%04d", number)), Product: product, Version: "7.0",
			PartNumber: part, OrderLine: fmt.Sprint(number), Count: count, Remaining: count, Start: &bought, Expires: expires,
		}
	}
	require.Equal(t, Certificate{
		ID: "DEMO-ENT-2026-000123", SoldTo: "Example Facilities AB", OrderNumber: "4500012345", Kind: "Commercial", Issued: bought,
		Digest: exchange.DigestOf(data), Content: certificate.Content,
		Lines: []Line{
			line(1, "BMS Server Advanced (sample)", "SAMPLE-TIER-ADV", 40, &year),
			line(2, "BMS Server Essential (sample)", "SAMPLE-TIER-ESS", 160, nil),
			line(3, "Connected devices, pack of 100 (sample)", "SAMPLE-DEV-100", 25, nil),
			line(4, "SNMP Notifications (sample)", "SAMPLE-SNMP", 200, nil),
			line(5, "SmartDriver (sample)", "SAMPLE-SMARTDRIVER", 12, &year),
		},
	}, certificate)
	require.Equal(t, 437, certificate.Seats())
}

func TestParseMailSample(t *testing.T) {
	data := sample(t, "mail")
	certificate, err := Parse(bytes.NewReader(data), Options{})
	require.NoError(t, err)
	year := date(2027, 4, 14)
	require.Equal(t, Certificate{
		ID: "DEMO-ENT-2026-000777", SoldTo: "Example Facilities AB", OrderNumber: "4500098765", Issued: date(2026, 4, 14),
		Digest: exchange.DigestOf(data), Content: certificate.Content,
		Lines: []Line{
			{
				ActivationID: "DEMO-ACT-b21c-0101", Product: "BMS Server Advanced (sample)", Version: "7.0",
				PartNumber: "SAMPLE-TIER-ADV", Count: 15, Remaining: 15, Expires: &year,
			},
			{
				ActivationID: "DEMO-ACT-b21c-0102", Product: "Connected devices, pack of 100 (sample)", Version: "7.0",
				PartNumber: "SAMPLE-DEV-100", Count: 1000, Remaining: 1000,
			},
		},
	}, certificate)
	require.Equal(t, 1015, certificate.Seats())
}

// variants all say the same: DEMO-ENT-1 with 1,200 seats of DEMO-ACT-1 until the end of 2027.
var variants = map[string]string{
	"plain": `<table><tr><td>Entitlement ID:</td><td>DEMO-ENT-1</td></tr></table>
		<table><tr><th>Activation ID</th><th>Part Number</th><th>Seat Count</th><th>Expiration Date</th></tr>
		<tr><td>DEMO-ACT-1</td><td>SAMPLE-SNMP</td><td>1200</td><td>2027-12-31</td></tr></table>`,
	"other order and words, one table": `<table><tr><td>ENTITLEMENT&nbsp;ID :</td><td>DEMO-ENT-1</td></tr>
		<tr><td>Valid until</td><td><b>Quantity</b></td><td>Part No.</td><td>Activation Id</td></tr>
		<tr><td>31 December 2027<td>1&thinsp;200<td>SAMPLE-SNMP<td>DEMO-ACT-1</table>`,
	"values below their labels": `<table><tr><th>Entitlement ID</th><th>Customer</th></tr><tr><td>DEMO-ENT-1</td><td>Example</td></tr></table>
		<table><tr><th>Activation ID</th><th>Part Number</th><th>Licenses</th><th>Expires</th></tr>
		<tr><td>DEMO-ACT-1</td><td>SAMPLE-SNMP</td><td>1.200</td><td>December 31, 2027</td></tr></table>`,
	"labels in text": `<h1>Certificate</h1><p>Entitlement ID: DEMO-ENT-1</p><p>Date: Tuesday at noon</p>
		<table><thead><tr><th>Activation ID</th><th>SKU</th><th>Qty</th><th>Expiry</th></tr></thead>
		<tbody><tr><td>DEMO-ACT-1</td><td>SAMPLE-SNMP</td><td>1'200</td><td>31/12/2027</td></tr></tbody></table>`,
	"definition list": `<dl><dt>Entitlement ID:<dd>DEMO-ENT-1<dt>Customer:<dd>Example</dl>
		<table><tr><th>Activation ID<th>Part<th>Seats<th>End Date<tr><td>DEMO-ACT-1<td>SAMPLE-SNMP<td>1,200<td>12/31/2027</table>`,
	"label and value in one cell": `<table><tr><td><b>Entitlement ID</b><br>DEMO-ENT-1</td><td>Customer: Example</td></tr></table>
		<table><tr><th>Activation ID</th><th>Part Number</th><th>Seat Count</th><th>Expiration Date</th></tr>
		<tr><td>DEMO-ACT-1</td><td>SAMPLE-SNMP</td><td>1200</td><td>2027-12-31T00:00:00Z</td></tr></table>`,
	"entitlement ID as a column": `<table>
		<tr><th>Entitlement ID</th><th>Activation ID</th><th>Part Number</th><th>Seat Count</th><th>Expiration Date</th></tr>
		<tr><td>DEMO-ENT-1</td><td>DEMO-ACT-1</td><td>SAMPLE-SNMP</td><td>1200</td><td>31 Dec 2027</td></tr></table>`,
	"layout, remarks, sums, headings again, columns unheard of": `<table><tr><td><table><tr><td><table>
		<tr><td>Entitlement ID</td><td>DEMO-ENT-1</td><td>Reseller</td><td>Somebody</td></tr></table></td></tr></table>
		<table><tr><td colspan="5">Your products</td></tr>
		<tr><th>Activation ID</th><th>Part Number</th><th>Serial</th><th>Seat Count</th><th>Expiration Date</th></tr>
		<tr><td colspan="5">from here</td></tr><tr><td></td><td></td><td></td><td></td><td></td></tr>
		<tr><th>Activation ID</th><th>Part Number</th><th>Serial</th><th>Seat Count</th><th>Expiration Date</th></tr>
		<tr><td>DEMO-ACT-1</td><td>SAMPLE-SNMP</td><td>4711</td><td>1200</td><td>2027-12-31</td></tr>
		<tr><td colspan="3">Total</td><td>1200</td><td></td></tr>
		<tr><td colspan="5"><small>Thank you</small></td></tr></table></td></tr></table>`,
	"scripts and comments": `<script>document.write("<table><tr><td>Entitlement ID<td>DEMO-ENT-9</table>")</script>
		<style>td { content: "Entitlement ID: DEMO-ENT-9" }</style><!-- <p>Entitlement ID: DEMO-ENT-9</p> -->
		<template><p>Entitlement ID: DEMO-ENT-9</p></template><noscript><p>Entitlement ID: DEMO-ENT-9</p></noscript>
		<table><tr><td>Entitlement ID:</td><td>DEMO-<wbr>ENT-1<script>9</script></td></tr></table>
		<table><tr><th>Activation ID</th><th>Part Number</th><th>Seat Count</th><th>Expiration Date</th></tr>
		<tr><td><span>DEMO-</span>ACT-1</td><td>SAMPLE-SNMP</td><td>1200</td><td>2027-12-31</td></tr></table>`,
}

func TestParseVariants(t *testing.T) {
	end := date(2027, 12, 31)
	want := parse(t, variants["plain"]).Content
	for name, text := range variants {
		certificate := parse(t, text)
		require.Equal(t, "DEMO-ENT-1", certificate.ID, name)
		require.Equal(t, []Line{{
			ActivationID: "DEMO-ACT-1", PartNumber: "SAMPLE-SNMP", Count: 1200, Remaining: 1200, Expires: &end,
		}}, certificate.Lines, name)
		require.Equal(t, want, certificate.Content, name)
	}
	require.Equal(t, []string{`the column "Serial" is not known and was left out`},
		parse(t, variants["layout, remarks, sums, headings again, columns unheard of"]).Notes)
}

// TestContent shows what makes a certificate another one: what it grants, nothing else.
func TestContent(t *testing.T) {
	hq := string(sample(t, "plain"))
	before := parse(t, hq)
	for old, same := range map[string]string{
		"Example Facilities AB":             "Example Facilities Ltd",
		"2026-03-06</td></tr>\n  <tr><td>T": "6 March 2026</td></tr>\n  <tr><td>T",
		"<td>160</td><td>160</td>":          "<td>160</td><td>7</td>",
		"SmartDriver (sample)":              "SmartDriver",
		"permanent":                         "Never",
	} {
		require.Contains(t, hq, old)
		after := parse(t, strings.Replace(hq, old, same, 1))
		require.Equal(t, before.Content, after.Content, old)
		require.NotEqual(t, before.Digest, after.Digest, old)
	}
	lines := strings.SplitAfter(hq, "</td></tr>\n")
	last := len(lines) - 2 // of the lines with products
	lines[last-1], lines[last] = lines[last], lines[last-1]
	swapped := parse(t, strings.Join(lines, ""))
	require.NotEqual(t, before.Lines, swapped.Lines)
	require.Equal(t, before.Content, swapped.Content, "the order of the lines")

	for old, other := range map[string]string{
		"DEMO-ENT-2026-000123":      "DEMO-ENT-2026-000124",
		"DEMO-ACT-7f3a-0003":        "DEMO-ACT-7f3a-0033",
		"SAMPLE-SNMP":               "SAMPLE-SMTP",
		"<td>25</td><td>25</td>":    "<td>26</td><td>25</td>",
		"permanent":                 "2030-01-01",
		"2027-03-06</td></tr>\n  <": "2027-03-07</td></tr>\n  <",
	} {
		require.Contains(t, hq, old)
		require.NotEqual(t, before.Content, parse(t, strings.Replace(hq, old, other, 1)).Content, old)
	}
}

func TestParseEncodings(t *testing.T) {
	const name = "Møller & Sønner Åbo"
	text := `<html><head>%s</head><body><table><tr><td>Entitlement ID</td><td>DEMO-ENT-1</td></tr><tr><td>Sold To</td><td>` + name + `</td></tr></table>
		<table><tr><th>Activation ID</th><th>Qty</th></tr><tr><td>DEMO-ACT-1</td><td>1 000</td></tr></table></body></html>`
	plain := fmt.Sprintf(text, "")
	says := func(charset string) string { return fmt.Sprintf(text, `<meta charset="`+charset+`">`) }
	in := func(encoding *charmap.Charmap, text string) string {
		encoded, err := encoding.NewEncoder().String(text)
		require.NoError(t, err)
		return encoded
	}
	wide := func(order binary.AppendByteOrder, text string) string {
		var encoded []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			encoded = order.AppendUint16(encoded, unit)
		}
		return string(encoded)
	}
	for what, file := range map[string]string{
		"UTF-8":                                plain,
		"UTF-8 with a mark":                    "\ufeff" + plain,
		"UTF-8 that says it is something else": says("windows-1252"),
		"UTF-16, little end first":             wide(binary.LittleEndian, "\ufeff"+plain),
		"UTF-16, big end first":                wide(binary.BigEndian, "\ufeff"+plain),
		"UTF-16, little end first, no mark":    wide(binary.LittleEndian, plain),
		"UTF-16, big end first, no mark":       wide(binary.BigEndian, plain),
		"UTF-16 that says it is UTF-8":         wide(binary.LittleEndian, "\ufeff"+says("utf-8")),
		"Windows-1252 that says so":            in(charmap.Windows1252, says("windows-1252")),
		"Windows-1252 that says nothing":       in(charmap.Windows1252, plain),
		"Windows-1252 that says it is UTF-8":   in(charmap.Windows1252, says("utf-8")),
		"Latin-1":                              in(charmap.ISO8859_1, says("iso-8859-1")),
		"Latin-9":                              in(charmap.ISO8859_15, says("iso-8859-15")),
		"DOS":                                  in(charmap.CodePage866, strings.ReplaceAll(says("ibm866"), name, "Москва")),
	} {
		certificate, err := Parse(strings.NewReader(file), Options{})
		require.NoError(t, err, what)
		want := name
		if what == "DOS" {
			want = "Москва"
		}
		require.Equal(t, want, certificate.SoldTo, what)
		require.Equal(t, 1000, certificate.Seats(), what)
	}
}

// TestNamesArePlainText shows that nothing of a name can act: tags are gone, what was written as text stays text, and
// characters that nobody sees are left out and counted.
func TestNamesArePlainText(t *testing.T) {
	certificate := parse(t, `<table><tr><td>Entitlement ID</td><td>DEMO-ENT-1</td></tr>
		<tr><td>Sold To</td><td>Ex&#x202e;am&#8203;ple<script>alert(1)</script> <img src=x onerror=alert(1)>&lt;b&gt;AB&lt;/b&gt;</td></tr></table>
		<table><tr><th>Activation ID</th><th>Product</th><th>Qty</th></tr>
		<tr><td>DEMO-ACT-1</td><td>SN`+"\x01\u009b\u2066"+`MP &#0;<b>&quot;x&quot;</b></td><td>1</td></tr></table>`)
	require.Equal(t, "Example <b>AB</b>", certificate.SoldTo)
	require.Equal(t, "SNMP \ufffd\"x\"", certificate.Lines[0].Product)
	require.Equal(t, []string{"5 control or invisible characters were left out of names"}, certificate.Notes)
}

func TestExpiredLinesAreNoted(t *testing.T) {
	data := sample(t, "plain")
	for _, step := range []struct {
		now  time.Time
		want []string
	}{
		{date(2027, 3, 6).Add(24 * time.Hour), nil}, // the last day has just ended
		{date(2027, 3, 6).Add(24*time.Hour + 1), []string{"2 of 5 lines have expired"}},
	} {
		certificate, err := Parse(bytes.NewReader(data), Options{Now: step.now})
		require.NoError(t, err)
		require.Equal(t, step.want, certificate.Notes)
		require.Len(t, certificate.Lines, 5)
	}
}

func TestParseTellsTheReadersError(t *testing.T) {
	_, err := Parse(iotest.ErrReader(io.ErrClosedPipe), Options{})
	require.ErrorIs(t, err, io.ErrClosedPipe)
	var problems Problems
	require.False(t, errors.As(err, &problems))
}
