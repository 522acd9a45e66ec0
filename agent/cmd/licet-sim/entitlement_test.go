package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange/exchangetest"
)

var update = flag.Bool("update", false, "write the golden certificates anew")

// certificateOn is the certificate of a sample order, printed on a fixed day.
func certificateOn(t *testing.T, id string) certificate {
	now := time.Date(2026, 4, 24, 9, 0, 0, 0, time.UTC)
	order, known := exchangetest.SampleOrders(now).Entitlement(id)
	require.True(t, known)
	c, err := newCertificate(order, exchangetest.SampleCatalog())
	require.NoError(t, err)
	return c
}

func TestCertificatesLookAsTheyDid(t *testing.T) {
	for _, id := range []string{"DEMO-ENT-2026-000123", "DEMO-ENT-2026-000777"} {
		for _, layout := range layouts() {
			name := id + "-" + layout
			t.Run(name, func(t *testing.T) {
				page, err := certificateOn(t, id).render(layout)
				require.NoError(t, err)
				path := filepath.Join("testdata", name+".html")
				if *update {
					require.NoError(t, os.WriteFile(path, page, 0o644))
				}
				want, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, string(want), string(page))
			})
		}
	}
}

// What the two layouts are there for: a parser that goes by positions, by one encoding or by one way to write a date fails.
func TestLayoutsDiffer(t *testing.T) {
	c := certificateOn(t, "DEMO-ENT-2026-000777")
	plain, err := c.render(layoutPlain)
	require.NoError(t, err)
	require.True(t, utf8.Valid(plain))
	for _, want := range []string{"Entitlement ID:", "<th>Seat Count</th><th>Remaining</th>", "<td>1000</td><td>1000</td>", "2027-05-09", "permanent", "utf-8"} {
		require.Contains(t, string(plain), want)
	}
	mail, err := c.render(layoutMail)
	require.NoError(t, err)
	require.False(t, utf8.Valid(mail), "it is Windows-1252")
	for _, want := range []string{
		"Entitlement&nbsp;Id", "<td><b>Qty</b></td>", "1\xa0000", "9\xa0May\xa02027", "Never", "windows-1252", "M\xfcller &amp; S\xf8nner", "\x96 approved",
	} {
		require.Contains(t, string(mail), want)
	}
	require.Greater(t, strings.Index(string(mail), "SAMPLE-TIER-ADV"), strings.Index(string(mail), "DEMO-ACT-b21c-0101"), "another order of columns")
	require.Less(t, strings.Index(string(plain), "SAMPLE-TIER-ADV"), strings.Index(string(plain), "DEMO-ACT-b21c-0101"))
}

func TestValuesAreEscapedInBothLayouts(t *testing.T) {
	c := certificateOn(t, "DEMO-ENT-2026-000777")
	c.SoldTo = `<script>alert("1")</script> & Søn € 漢`
	c.Lines[0].Product = `</td><td>x`
	for _, layout := range layouts() {
		page, err := c.render(layout)
		require.NoError(t, err)
		require.NotContains(t, string(page), "<script")
		require.NotContains(t, string(page), "</td><td>x")
		require.Contains(t, string(page), "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; S")
		if layout == layoutMail {
			require.Contains(t, string(page), "S\xf8n \x80 &#28450;")
		}
	}
}

func TestWindows1252(t *testing.T) {
	require.Equal(t, []byte("plain \xe4\xa0\xff \x80\x9f &#129;&#160000;"), windows1252("plain ä\u00a0ÿ €Ÿ \u0081\U00027100"))
	for b := 0x80; b <= 0x9f; b++ {
		if r := upper1252[b-0x80]; r != 0 {
			require.Equal(t, []byte{byte(b)}, windows1252(string(r)))
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 12: "12", 999: "999", 1000: "1 000", 12345: "12 345", 1234567: "1 234 567"} {
		require.Equal(t, want, thousands(n))
	}
}

func TestEntitlementCommand(t *testing.T) {
	args := func(more ...string) []string {
		return append([]string{"entitlement", "--orders", "testdata/orders.yaml", "--catalog", "testdata/catalog.yaml"}, more...)
	}
	bad := filepath.Join(t.TempDir(), "orders.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("entitlements:\n  - {id: E-1, kind: gift, state: deployed}\n"), 0o600))
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr []string
	}{
		"printed":    {args("--id", "DEMO-ENT-2026-000123"), exitDone, nil},
		"mail":       {args("--id", "DEMO-ENT-2026-000123", "--layout", "mail"), exitDone, nil},
		"unknown ID": {args("--id", "DEMO-ENT-none"), exitRefused, []string{"licet-sim: print the certificate: the order book has no entitlement with this ID; it has 2 others", "hint: "}},
		"no ID":      {args(), exitUsage, []string{"licet-sim: read the command line: --id is missing", "hint: licet-sim entitlement --help"}},
		"layout":     {args("--id", "x", "--layout", "fancy"), exitUsage, []string{"--layout is not one of plain, mail"}},
		"argument":   {args("--id", "x", "y"), exitUsage, []string{"licet-sim: "}},
		"no orders": {
			[]string{"entitlement", "--orders", "none.yaml", "--catalog", "testdata/catalog.yaml", "--id", "x"},
			exitFailed,
			[]string{"licet-sim: read what is sold: open none.yaml", "hint: "},
		},
		"bad orders": {
			[]string{"entitlement", "--orders", bad, "--catalog", "testdata/catalog.yaml", "--id", "E-1"},
			exitFailed,
			[]string{"orders line 2: kind is not one of", "orders line 2: the entitlement has no lines", "hint: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), c.args, &stdout, &stderr), stderr.String())
			require.Equal(t, c.code == exitDone, stdout.Len() > 0, "only a document goes to standard output")
			require.Equal(t, c.code == exitDone, stderr.Len() == 0)
			for _, want := range c.stderr {
				require.Contains(t, stderr.String(), want)
			}
			require.NotContains(t, stderr.String(), "DEMO-ENT")
		})
	}
}
