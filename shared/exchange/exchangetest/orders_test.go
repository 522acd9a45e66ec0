package exchangetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/exchange"
)

var today = time.Date(2026, 11, 20, 15, 4, 5, 0, time.FixedZone("", 3*3600))

func TestSampleOrders(t *testing.T) {
	o := SampleOrders(today)
	require.Len(t, o.Entitlements, 2)
	e, known := o.Entitlement("DEMO-ENT-2026-000123")
	require.True(t, known)
	require.Equal(t, "Example Facilities AB", e.SoldTo)
	require.Equal(t, "4500012345", e.OrderNumber)
	seats := 0
	for _, l := range e.Lines {
		seats += l.Count
	}
	require.Equal(t, 437, seats)
	require.Equal(t, Line{
		ActivationID: advanced, PartNumber: "SAMPLE-TIER-ADV", Count: 40,
		Start: time.Date(2026, 10, 21, 0, 0, 0, 0, time.UTC), Expires: new(time.Date(2027, 11, 20, 23, 59, 59, 0, time.UTC)),
	}, e.Lines[0])
	require.Nil(t, e.Lines[1].Expires)
	_, known = o.Entitlement("")
	require.False(t, known)
}

func TestSampleCatalog(t *testing.T) {
	c := SampleCatalog()
	p, known := c.Product("SAMPLE-TIER-ADV")
	require.True(t, known)
	require.Equal(t, Product{
		PartNumber: "SAMPLE-TIER-ADV", Name: "BMS Server Advanced", Version: "7.0", Scope: "system",
		Features: []Feature{{"server.base", 1}, {"server.advanced", 1}},
	}, p)
	p, _ = c.Product("SAMPLE-WORKSTATION")
	require.Equal(t, "license-administrator", p.ManagedBy)
	_, known = c.Product("none")
	require.False(t, known)
}

func TestDates(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-06": "2026-03-06", "+0d": "2026-11-20", "-30d": "2026-10-21", "+365d": "2027-11-20", "permanent": "",
	} {
		got, err := readDate(text, today)
		require.NoError(t, err, text)
		if want == "" {
			require.Nil(t, got)
			continue
		}
		require.Equal(t, want, got.Format(time.DateOnly), text)
	}
	for _, text := range []string{"", "365d", "+d", "+1.5d", "+99999d", "06.03.2026", "2026-02-30", "never", "+1y"} {
		_, err := readDate(text, today)
		require.Error(t, err, text)
	}
	late := time.Date(2026, 11, 20, 1, 0, 0, 0, time.FixedZone("", 3*3600))
	day, err := readDate("+0d", late)
	require.NoError(t, err)
	require.Equal(t, "2026-11-19", day.Format(time.DateOnly), "days are counted in UTC")
}

const goodOrder = `entitlements:
  - id: E-1
    kind: demo
    state: deployed
    lines:
      - {activation_id: A-1, part_number: P, count: 3, start: -1d, expires: permanent}
      - {activation_id: A-2, part_number: P, count: 1, start: 2026-01-01, expires: +9d}
`

func TestMistakesInOrdersAreNamedWithTheirPlace(t *testing.T) {
	_, err := ParseOrders([]byte(goodOrder), today)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"empty":           {goodOrder, "", []string{"orders: it is empty"}},
		"no entitlement":  {goodOrder, "entitlements: []", []string{"orders: there is no entitlement"}},
		"not YAML":        {goodOrder, "a: [", []string{"orders: yaml: line 1"}},
		"two documents":   {goodOrder, goodOrder + "---\n{}\n", []string{"something follows the document"}},
		"unknown key":     {"kind: demo", "kynd: demo", []string{"orders line 3: field kynd not found"}},
		"no id":           {"id: E-1", `id: ""`, []string{"orders line 2: the entitlement's id is missing"}},
		"kind":            {"kind: demo", "kind: gift", []string{"orders line 3: kind is not one of commercial, engineering, demo"}},
		"state":           {"state: deployed", "state: draft", []string{"orders line 4: state is not one of deployed, on-hold, obsolete"}},
		"twice":           {"A-2", "A-1", []string{"orders line 7: the activation ID is there twice"}},
		"impossible ID":   {"A-2", "A+2#", []string{"orders line 7: character 4 of the activation ID"}},
		"no part":         {"A-2, part_number: P", "A-2", []string{"orders line 7: part_number is missing"}},
		"no seats":        {"count: 3", "count: 0", []string{"orders line 6: count is not between"}},
		"count is a word": {"count: 3", "count: A-1", []string{"orders line 6: cannot unmarshal !!str into int"}},
		"date":            {"start: -1d", "start: soon", []string{"orders line 6: start: neither a date"}},
		"starts never":    {"start: -1d", "start: permanent", []string{"orders line 6: start: a date is wanted"}},
		"ends first":      {"expires: +9d", "expires: 2025-01-01", []string{"orders line 7: expires before it starts"}},
		"all of them": {"count: 3, start: -1d, expires: permanent}", "count: -1, start: x, expires: y}", []string{
			"line 6: count", "line 6: start", "line 6: expires",
		}},
		"no lines":  {goodOrder, "entitlements:\n  - {id: E, kind: demo, state: deployed}\n", []string{"orders line 2: the entitlement has no lines"}},
		"too large": {goodOrder, strings.Repeat("#", maxFile+1), []string{"bytes, at most"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOrders([]byte(strings.Replace(goodOrder, c.old, c.new, 1)), today)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "A-1")
			require.NotContains(t, err.Error(), "E-1")
		})
	}
}

func TestMistakesInCatalogsAreNamedWithTheirPlace(t *testing.T) {
	const good = `products:
  - part_number: P
    features: [{name: f, count: 1}]
    scope: server
  - part_number: Q
    managed_by: someone
`
	_, err := ParseCatalog([]byte(good))
	require.NoError(t, err)
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":      {"scope:", "skope:", "catalog line 4: field skope not found"},
		"no scope":         {"scope: server", "", "catalog line 2: scope is not server or system"},
		"another scope":    {"scope: server", "scope: site", "catalog line 4: scope is not server or system"},
		"no features":      {"features: [{name: f, count: 1}]", "", "features are missing"},
		"no count":         {", count: 1", "", "catalog line 3: a feature's count is not between"},
		"a feature twice":  {"[{name: f, count: 1}]", "[{name: f, count: 1}, {name: f, count: 2}]", "name is missing or there twice"},
		"twice":            {"part_number: Q", "part_number: P", `catalog line 5: part_number "P" is there twice`},
		"no part number":   {"part_number: Q", "name: q", "catalog line 5: part_number is missing"},
		"nothing":          {good, "products: []", "it has no product"},
		"something beside": {good, good + "sites: []\n", "field sites not found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCatalog([]byte(strings.Replace(good, c.old, c.new, 1)))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestOrdersThatTheCatalogDoesNotFit(t *testing.T) {
	_, err := New(Options{Orders: Orders{Entitlements: []Entitlement{{Lines: []Line{{ActivationID: "a", PartNumber: "none"}}}}}})
	require.EqualError(t, err, `orders: entitlement 1, line 1: the catalog has no product "none"`)
	twice := Line{ActivationID: "a", PartNumber: "SAMPLE-SNMP", Count: 1}
	_, err = New(Options{Orders: Orders{Entitlements: []Entitlement{{Lines: []Line{twice, twice}}}}})
	require.ErrorContains(t, err, "entitlement 1, line 2: its activation ID is there twice")
}

func TestRightThatIsNoLongerSoldStaysHeld(t *testing.T) {
	las := Start(t, Options{})
	h := newHost(t, las, "DEMO-host-1")
	activate(t, las, h, order(1), counts{snmp: 2})
	require.NoError(t, las.SetOrders(Orders{Entitlements: []Entitlement{
		{State: StateDeployed, Lines: []Line{{ActivationID: "other", PartNumber: "SAMPLE-SNMP", Count: 1}}},
	}}))
	response, r := report(t, las, h, order(1))
	require.Equal(t, []exchange.WireRight{{ActivationID: snmp, Count: 2}}, r.Rights)
	require.Empty(t, r.Licenses, "nothing is known of what it unlocks")
	confirm(t, las, h, response)
	receipt := activate(t, las, h, order(2), counts{snmp: 0})
	require.Empty(t, receipt.Rights)
}
