package fleet

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/shared/protocol"
)

func TestParseSites(t *testing.T) {
	sites, err := ParseSites(file(t, "sites.yaml"))
	require.NoError(t, err)
	require.Len(t, sites.Sites, 3)
	require.Equal(t, Site{
		ID: "harbour", Name: "Harbour", Owner: "Example Facilities AB", TimeZone: "Europe/Oslo", //nolint:misspell // as in the sample
		Carriers: []string{protocol.CarrierDirect, protocol.CarrierRelay, protocol.CarrierFile},
	}, sites.Sites[1])
}

func TestParseInventorySamples(t *testing.T) {
	demo, err := ParseInventory(file(t, "servers-demo.csv"))
	require.NoError(t, err)
	require.Len(t, demo.Servers, 12)
	require.Equal(t, Listed{
		Row: 3, Name: "HQ floor 1", Type: "AS-P", Role: "field", Parent: "HQ Enterprise Server", Site: "hq", Version: "7.0.2",
		HostID: "DEMO-00504e001001", HostIDType: "ETHERNET", Labels: map[string]string{"building": "hq", "floor": "1"},
	}, demo.Servers[1])

	engineer, err := ParseInventory(file(t, "servers.csv"))
	require.NoError(t, err)
	require.Len(t, engineer.Servers, 5)
	require.Equal(t, Listed{
		Row: 5, Name: "HQ old wing", Type: "AS-P", Role: "field", Parent: "HQ Enterprise Server", Site: "hq", Version: "6.0.4",
		Agent: "hq-es", Driver: "rest", Address: "10.20.1.40", Labels: map[string]string{"building": "hq", "wing": "old"},
	}, engineer.Servers[3])
}

// TestParseInventoryHoweverItWasSaved reads what spreadsheets make of one inventory.
func TestParseInventoryHoweverItWasSaved(t *testing.T) {
	plain := "name,type,role,parent,site,labels,required_devices\nKöln ES,ES,top,,hq,a=1;b=2,=SUM(1)\nKöln AS,AS-P,field,Köln ES,hq,,\n"
	want, err := ParseInventory([]byte(plain))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, want.Servers[0].Labels)
	for name, text := range map[string]string{
		"with a byte order mark": "\ufeff" + plain,
		"with CRLF":              strings.ReplaceAll(plain, "\n", "\r\n"),
		"mark and CRLF":          "\ufeff" + strings.ReplaceAll(plain, "\n", "\r\n"),
		"all quoted":             `"` + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSuffix(plain, "\n"), ",", `","`), "\n", "\"\n\"") + "\"\n",
		"with semicolons":        strings.ReplaceAll(strings.ReplaceAll(plain, "a=1;b=2", `"a=1;b=2"`), ",", ";"),
		"headings in capitals":   strings.Replace(plain, "name,type", " NAME , Type", 1),
		"spaces around":          strings.Replace(plain, "Köln ES,ES,top", " Köln ES , ES,top ", 1),
		"empty rows after":       plain + ",,,,,,\n\n  ,,,,,,\n",
		"no line end":            strings.TrimSuffix(plain, "\n"),
	} {
		got, err := ParseInventory([]byte(text))
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

func TestParseInventoryIsBounded(t *testing.T) {
	heading := "name,type,role,parent,site\n"
	for name, c := range map[string]struct{ text, want string }{
		"too large":           {heading + strings.Repeat("x", 4<<20), "the file is larger than 4 MiB"},
		"too many":            {heading + strings.Repeat("A,ES,top,,hq\n", 100_001), "row 100002: more than 100000 servers"},
		"a quote without end": {heading + `"` + strings.Repeat("x\n", 1<<20), "it cannot be read from column"},
		"very many cells":     {heading + "x" + strings.Repeat(",", 3<<20), "it has 3145729 cells"},
		"very many headings":  {strings.Repeat("x,", 1<<20), "there are more; the first 50 are listed"},
	} {
		_, err := ParseInventory([]byte(c.text))
		require.ErrorContains(t, err, c.want, name)
	}
	var most bytes.Buffer
	most.WriteString(heading)
	for i := range 100_000 {
		fmt.Fprintf(&most, "%d,ES,top,,hq\n", i)
	}
	inventory, err := ParseInventory(most.Bytes())
	require.NoError(t, err)
	require.Len(t, inventory.Servers, 100_000)
}

// FuzzParseInventory reads anything at all: it never panics, and what it takes can be taken further.
func FuzzParseInventory(f *testing.F) {
	f.Add(file(f, "servers.csv"))
	f.Add(file(f, "servers-demo.csv"))
	f.Fuzz(func(t *testing.T, data []byte) {
		inventory, err := ParseInventory(data)
		if err != nil {
			require.IsType(t, Problems{}, err)
			require.LessOrEqual(t, len(err.(Problems)), MaxProblems+1) //nolint:errorlint // exactly this type
			return
		}
		require.NotEmpty(t, inventory.Servers)
		for _, s := range inventory.Servers {
			require.NotEmpty(t, s.Name)
			require.Contains(t, []string{protocol.RoleTop, protocol.RoleField}, s.Role)
			require.Equal(t, s.HostID == "", s.HostIDType == "")
			for _, text := range []string{s.Name, s.Parent, s.Site, s.HostID, s.Address, labelText(s.Labels)} {
				require.True(t, utf8.ValidString(text))
				require.Equal(t, visible(text), text)
			}
			for key, value := range s.Labels {
				selector, err := ParseSelector(key + "=" + value)
				require.NoError(t, err)
				require.True(t, selector.Match(s.Labels))
				require.NotContains(t, attributeNames, key)
			}
		}
	})
}
