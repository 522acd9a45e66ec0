package catalog

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/shared/protocol"
)

func product(t *testing.T, partNumber string) Product {
	t.Helper()
	for _, p := range sample(t).Products {
		if p.PartNumber == partNumber {
			return p
		}
	}
	t.Fatalf("no product %s", partNumber)
	return Product{}
}

func TestProblemSaysWhy(t *testing.T) {
	for _, c := range []struct {
		part      string
		candidate Candidate
		want      string
	}{
		{"SAMPLE-TIER-ADV", Candidate{"ES", "7.0.2", protocol.RoleTop}, ""},
		{"SAMPLE-TIER-ADV", Candidate{"ES", "7.0", protocol.RoleTop}, ""},
		{"SAMPLE-SNMP", Candidate{"AS-P", "7.1.0.15", protocol.RoleField}, ""},
		{"SAMPLE-SMARTDRIVER", Candidate{"AS-P-3", "10.0", protocol.RoleField}, ""},
		{"SAMPLE-TIER-ADV", Candidate{"AS-P", "7.0.2", protocol.RoleField}, "it sits on the top server of a system, this is a field server"},
		{"SAMPLE-SMARTDRIVER", Candidate{"ES", "7.0.2", protocol.RoleTop}, "it applies to AS-P, AS-P-3, AS-B, this is ES"},
		{"SAMPLE-SNMP", Candidate{"AS-P", "6.0.4", protocol.RoleField}, "the server is classic (version 6.0.4): servers before 7.0 are observed, nothing is assigned to them"},
		{"SAMPLE-SNMP", Candidate{"AS-P", "", protocol.RoleField}, "the server's version is not known yet"},
		{"SAMPLE-SNMP", Candidate{"AS-P", "seven", protocol.RoleField}, `the server's version "seven" cannot be compared`},
		{"SAMPLE-SNMP", Candidate{"", "7.0", protocol.RoleField}, "it applies to EC, ES, AS-P, AS-P-3, AS-B, EDGE, this is a server of unknown type"},
		{"SAMPLE-WORKSTATION", Candidate{"ES", "7.0", protocol.RoleTop}, "it is managed by license administrator"},
		{
			"SAMPLE-TIER-ESS",
			Candidate{"FDP", "5.0", protocol.RoleField},
			"it applies to EC, ES, AS-P, AS-P-3, AS-B, EDGE, this is FDP; the server is classic (version 5.0): servers before 7.0 are observed, " +
				"nothing is assigned to them; it sits on the top server of a system, this is a field server",
		},
	} {
		err := product(t, c.part).Problem(c.candidate)
		if c.want == "" {
			require.NoError(t, err, "%v", c)
			continue
		}
		require.EqualError(t, err, "the product does not apply to this server: "+c.part+": "+c.want)
		require.ErrorIs(t, err, ErrDoesNotApply)
	}
	later := product(t, "SAMPLE-SNMP")
	later.AppliesTo.MinVersion = "7.10"
	require.ErrorContains(t, later.Problem(Candidate{"ES", "7.9.99", protocol.RoleTop}), "it needs version 7.10 or later, the server has 7.9.99")
	require.NoError(t, later.Problem(Candidate{"ES", "7.10", protocol.RoleTop}))
}

// TestProblemExhaustive asks every sample product about every kind of server, and compares with the rule in one line.
func TestProblemExhaustive(t *testing.T) {
	versions := map[string]bool{"": false, "x": false, "5.0.1": false, "6.99": false, "7.0": true, "7.0.2.1": true, "8.0": true}
	applies := 0
	for _, p := range sample(t).Products {
		for _, kind := range append(ServerTypes(), "FDP", "") {
			for version, recent := range versions {
				for _, role := range []string{protocol.RoleTop, protocol.RoleField, ""} {
					want := p.ManagedBy == "" && recent && (p.Placement != PlacementTop || role == protocol.RoleTop)
					found := false
					for _, t := range p.AppliesTo.Types {
						found = found || t == kind
					}
					err := p.Problem(Candidate{kind, version, role})
					require.Equal(t, want && found, err == nil, "%s on %s %s %s: %v", p.PartNumber, kind, version, role, err)
					if err == nil {
						applies++
					}
				}
			}
		}
	}
	require.Equal(t, 3*6*3+6*3*3+3*3*3, applies)
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"7.0": {7}, "7.0.2": {7, 0, 2}, "7.0.2.348": {7, 0, 2, 348}, "07.1": {7, 1}, "999999.0": {999999},
	} {
		version, err := ParseVersion(text)
		require.NoError(t, err, text)
		require.Equal(t, want, version)
	}
	for _, text := range []string{"", "7", "7.", ".7", "7.0.2.3.4", "7.0a", "v7.0", "-7.0", "7,0", "7.0 ", "1000000.0", "７.0"} {
		_, err := ParseVersion(text)
		require.Error(t, err, text)
	}
	require.True(t, Version{6, 99}.Classic())
	require.False(t, Version{7}.Classic())
}

// TestVersionCompareIsAnOrder proves that comparing is by number, part by part.
func TestVersionCompareIsAnOrder(t *testing.T) {
	part := rapid.IntRange(0, 12)
	draw := func(t *rapid.T, name string) Version {
		return Version{part.Draw(t, name), part.Draw(t, name), part.Draw(t, name), part.Draw(t, name)}
	}
	weight := func(v Version) int { return ((v[0]*100+v[1])*100+v[2])*100 + v[3] }
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t, "a"), draw(t, "b")
		switch {
		case weight(a) < weight(b):
			require.Equal(t, -1, a.Compare(b))
		case weight(a) > weight(b):
			require.Equal(t, 1, a.Compare(b))
		default:
			require.Zero(t, a.Compare(b))
		}
	})
}
