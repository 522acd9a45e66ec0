package bmstest

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
)

func demo(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/servers-demo.csv")
	require.NoError(t, err)
	return data
}

func TestTheDemoHasSixSystemsOnThreeSites(t *testing.T) {
	inventory, err := ParseInventory(demo(t))
	require.NoError(t, err)
	sites := inventory.Sites()
	require.Len(t, sites, 3)
	require.Equal(t, []string{"campus", "hq"}, []string{sites[0], sites[2]})
	require.Len(t, inventory.Systems("campus"), 4)
	require.Empty(t, inventory.Systems("nowhere"))
	hq := inventory.Systems("hq")
	require.Len(t, hq, 1)
	require.Equal(t, "HQ Enterprise Server", hq[0].Name)
	require.Len(t, hq[0].Servers, 6)
	require.Equal(t, Server{
		HostID: "DEMO-00504e001000", HostIDType: "ETHERNET", Name: "HQ Enterprise Server", Type: "ES", Version: "7.0.2",
		Required: map[string]int{FeatureDevices: 180},
	}, hq[0].Servers[0])
	require.Equal(t, Server{
		HostID: "DEMO-00504e001005", HostIDType: "ETHERNET", Name: "HQ floor 5", Type: "AS-P", Version: "7.0.2", Parent: "DEMO-00504e001000",
	}, hq[0].Servers[5])
	_, err = New(Options{Dir: t.TempDir(), Servers: hq[0].Servers})
	require.NoError(t, err)
}

func TestColumnsGoByTheirNames(t *testing.T) {
	inventory, err := ParseInventory([]byte("\xef\xbb\xbf Required_Devices ,site,Host_ID,host_id_type,version,parent,role,type,note,name\r\n" +
		",s,H-1,,7.0,,top,EC,\"a, b\",EC 1\r\n7,s,H-2,,7.0,EC 1,field,ES,,ES 1\r\n,s,H-3,,7.0,ES 1,field,AS-P,,AS 1\r\n"))
	require.NoError(t, err)
	require.Equal(t, []Group{{Name: "EC 1", Servers: []Server{
		{HostID: "H-1", Name: "EC 1", Type: "EC", Version: "7.0"},
		{HostID: "H-2", Name: "ES 1", Type: "ES", Version: "7.0", Parent: "H-1", Required: map[string]int{FeatureDevices: 7}},
		{HostID: "H-3", Name: "AS 1", Type: "AS-P", Version: "7.0", Parent: "H-2"},
	}}}, inventory.Systems("s"))
}

func TestEveryMistakeIsNamedWithItsRow(t *testing.T) {
	const heading = "name,type,role,parent,site,version,host_id,host_id_type,required_devices\n"
	for name, c := range map[string]struct {
		data string
		want []string
	}{
		"nothing":          {"", []string{"row 1: no heading"}},
		"no server":        {heading, []string{"it names no server"}},
		"missing columns":  {"name,type,Type\n", []string{`column "role" is missing`, `column "required_devices" is missing`, `column "type" is there twice`}},
		"not UTF-8":        {heading + "\xff", []string{"it is not UTF-8"}},
		"an endless quote": {heading + "\"a", []string{"not CSV", "line 2"}},
		"rows": {heading +
			"A,ES,top,,s,7.0,H-1,,0\n" +
			"B,AS-P,field,Nobody,s,7.0,H-2,,0\n" +
			"C,AS-P,field,A,other,7.0,h-1,,0\n" +
			"A,AS-P,field,A,s,7.0,,,-3\n" +
			"\n" +
			"E,,boss,,,,H-5,,many\n" +
			"F,AS-P,top,A,s,7.0,H-6,,0\n" +
			"G,AS-P,field,,s,7.0,H-7,,0\n" +
			"H,AS-P\n" +
			"I,AS-P,field,I,s,7.0,H-9,,0\n", []string{
			`row 3: its parent "Nobody" is no server of site s`,
			`row 4: its parent "A" stands at site s, not at other`, "row 4: host_id h-1 is that of row 2",
			`row 5: site s has a server "A" already, in row 2`, `row 5: host_id is ""`, `row 5: required_devices is "-3"`,
			"row 7: type is missing", "row 7: site is missing", "row 7: version is missing", `row 7: role is "boss"`, `row 7: required_devices is "many"`,
			`row 8: a top server has no parent, this one has "A"`, "row 9: a field server has a parent", "row 10: it has 2 fields, the heading has 9",
			"row 11: the way up from it reaches no top server",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInventory([]byte(c.data))
			require.Error(t, err)
			for _, part := range c.want {
				require.ErrorContains(t, err, part)
			}
		})
	}
	_, err := ParseInventory(bytes.Repeat([]byte("x"), maxInventory+1))
	require.ErrorContains(t, err, "at most")
}

func FuzzParseInventory(f *testing.F) {
	data, err := os.ReadFile("testdata/servers-demo.csv")
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte(strings.ReplaceAll(string(data), "\n", "\r\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		inventory, err := ParseInventory(data)
		if err != nil {
			return
		}
		servers := 0
		for _, site := range inventory.Sites() {
			for _, group := range inventory.Systems(site) {
				servers += len(group.Servers)
				require.NoError(t, check(group.Servers))
				require.Equal(t, bms.HostID(""), group.Servers[0].Parent)
			}
		}
		require.Equal(t, len(inventory.rows), servers, "every row is in one system")
	})
}
