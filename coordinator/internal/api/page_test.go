package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/coordinator/client"
	"github.com/licet-project/licet/coordinator/internal/api"
	"github.com/licet-project/licet/coordinator/internal/api/apitest"
	"github.com/licet-project/licet/shared/exchange"
)

// browse fetches a page as a browser would.
func browse(t *testing.T, h *house, path string, status int) (*goquery.Document, http.Header) {
	t.Helper()
	response, err := http.Get(h.Base() + path)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, status, response.StatusCode)
	page, err := goquery.NewDocumentFromReader(response.Body)
	require.NoError(t, err)
	return page, response.Header
}

// words is an element's text with single spaces.
func words(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

func TestPageShowsTheFleet(t *testing.T) {
	h, field := stocked(t, file(t))
	field.Refuse("SAMPLE-DEV-100", exchange.RightExpired)
	for _, product := range []string{"SAMPLE-TIER-ESS", "SAMPLE-DEV-100"} {
		_, err := h.Assign(t.Context(), client.AssignRequest{Select: "role=top", Product: product, Count: 1})
		require.NoError(t, err)
	}
	_, err := h.Activate(t.Context(), client.ActivateRequest{})
	require.NoError(t, err)
	require.NoError(t, field.Step(t.Context()))

	page, header := browse(t, h, "/", http.StatusOK)
	require.Equal(t, "text/html; charset=utf-8", header.Get("Content-Type"))
	policy := header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	require.Equal(t, 12, page.Find("table.servers > tbody > tr").Length())
	harbor := page.Find("table.servers > tbody > tr").FilterFunction(func(_ int, row *goquery.Selection) bool {
		return words(row.ChildrenFiltered("th").Find("bdi").First()) == "Harbour Edge"
	})
	require.Equal(t, 1, harbor.Length())
	cells := harbor.ChildrenFiltered("td")
	require.Equal(t, 5, cells.Length(), "as many as there are headings beside the server's")
	require.Equal(t, 6, page.Find("table.servers > thead th[scope=col]").Length())
	require.Contains(t, words(cells.Eq(0)), "Example Facilities AB")
	require.Regexp(t, `^connected ?heard \d+s ago ?reported \d+s ago$`, words(cells.Eq(1)))
	licenses := words(cells.Eq(2))
	require.Contains(t, licenses, "SAMPLE-TIER-ESS × 1 activated")
	require.Contains(t, licenses, "SAMPLE-DEV-100 × 1 failed")
	require.Contains(t, licenses, "the right has expired")
	require.Equal(t, "server.base1101", words(cells.Eq(3).Find("table.licenses > tbody > tr").First()))
	require.Contains(t, words(page.Find(".summary")), "6 activated")
	require.Contains(t, words(page.Find(".summary")), "6 failed")

	// Everything that the page refers to is its own, and there.
	page.Find("link[rel=stylesheet], script, a[href^='/']").Each(func(_ int, s *goquery.Selection) {
		address := s.AttrOr("href", s.AttrOr("src", ""))
		require.True(t, strings.HasPrefix(address, "/"), address)
		browse(t, h, address, http.StatusOK)
	})
	// Accessible markup: one language, one main heading, captions, every field labeled, unique IDs.
	require.Equal(t, "en", page.Find("html").AttrOr("lang", ""))
	require.Equal(t, 1, page.Find("h1").Length())
	page.Find("table").Each(func(_ int, s *goquery.Selection) { require.Equal(t, 1, s.ChildrenFiltered("caption").Length()) })
	page.Find("input").Each(func(_ int, s *goquery.Selection) {
		require.Equal(t, 1, page.Find("label[for='"+s.AttrOr("id", "")+"']").Length())
	})
	ids := map[string]bool{}
	page.Find("[id]").Each(func(_ int, s *goquery.Selection) {
		require.False(t, ids[s.AttrOr("id", "")], "an ID twice")
		ids[s.AttrOr("id", "")] = true
	})
	require.Zero(t, page.Find("[style], [onclick], [onload], script:not([src]), style").Length(), "the policy forbids what is inline")

	// The part that the script fetches is the same as that of the whole page.
	part, header := browse(t, h, "/fleet", http.StatusOK)
	require.Equal(t, 12, part.Find("table.servers > tbody > tr").Length())
	require.NotEmpty(t, header.Get("X-Licet-At"))
	require.Zero(t, part.Find("header").Length())
}

func TestPageSelects(t *testing.T) {
	h, _ := stocked(t, file(t))
	page, _ := browse(t, h, "/?select="+url.QueryEscape("site=campus"), http.StatusOK)
	require.Equal(t, 4, page.Find("table.servers > tbody > tr").Length())
	require.Equal(t, "site=campus", page.Find("#select").AttrOr("value", ""))
	require.Contains(t, words(page.Find(".summary")), "Servers12", "the summary is of the whole fleet")
	page, _ = browse(t, h, "/?select="+url.QueryEscape(`"><script>x`), http.StatusUnprocessableEntity)
	require.Contains(t, words(page.Find("[role=alert]")), "selector, column 1")
	require.Equal(t, `"><script>x`, page.Find("#select").AttrOr("value", ""))
	require.Equal(t, 1, page.Find("script").Length())
}

// Names of servers are strangers' words.
func TestPageEscapesNames(t *testing.T) {
	d := file(t)
	h := open(t, d)
	const name = `<img src=x onerror=alert(1)>`
	_, err := h.ImportSites(t.Context(), sample(t, "sites.yaml"))
	require.NoError(t, err)
	_, err = h.ImportServers(t.Context(), []byte("name,type,role,parent,site,host_id,host_id_type\n"+name+",ES,top,,hq,DEMO-1,ETHERNET\n"), false)
	require.NoError(t, err)
	page, _ := browse(t, h, "/", http.StatusOK)
	require.Zero(t, page.Find("img").Length())
	require.Equal(t, name, words(page.Find("table.servers tbody th bdi").First()))
	require.Contains(t, words(page.Find("table.servers tbody")), "never seen")
}

func TestPageOfAnEmptyFleet(t *testing.T) {
	h := open(t, file(t))
	page, _ := browse(t, h, "/", http.StatusOK)
	require.Contains(t, words(page.Find("main")), "licet server import FILE")
}

// A large fleet is shown in part, and says so.
func TestPageIsBounded(t *testing.T) {
	d := file(t)
	field := apitest.New(d)
	h := open(t, d, func(o *api.Options) { o.Ask = field.Ask })
	_, err := h.ImportSites(t.Context(), sample(t, "sites.yaml"))
	require.NoError(t, err)
	var csv strings.Builder
	csv.WriteString("name,type,role,parent,site\n")
	for i := range 600 {
		csv.WriteString("S" + strings.Repeat("i", i%50) + string(rune('a'+i/50)) + ",ES,top,,hq\n")
	}
	_, err = h.ImportServers(t.Context(), []byte(csv.String()), false)
	require.NoError(t, err)
	page, _ := browse(t, h, "/", http.StatusOK)
	require.Equal(t, 500, page.Find("table.servers > tbody > tr").Length())
	require.Contains(t, words(page.Find("table.servers > caption")), "500 of 600 servers")
}
