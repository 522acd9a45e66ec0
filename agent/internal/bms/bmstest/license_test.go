package bmstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func grant(feature, scope string, count int) exchange.GrantedCount {
	return exchange.GrantedCount{
		ActivationID: "A-" + feature, Feature: feature, Scope: scope, Version: "7.0", Count: count, Start: noon.Add(-time.Hour),
	}
}

func ending(g exchange.GrantedCount, at time.Time, graceDays int) exchange.GrantedCount {
	g.Expires, g.GraceDays = &at, graceDays
	return g
}

// system of a top server with 180 devices and two servers below, one of which has 5 devices of its own.
func threeServers(top ...exchange.GrantedCount) []holding {
	return []holding{
		{host: "top", now: noon, needs: map[string]int{FeatureBase: 1, FeatureDevices: 180}, grants: top},
		{host: "one", now: noon, needs: map[string]int{FeatureBase: 1, FeatureDevices: 5}},
		{host: "two", now: noon, needs: map[string]int{FeatureBase: 1}},
	}
}

func line(t *testing.T, in information, feature string) bms.License {
	t.Helper()
	for _, l := range in.licenses {
		if l.Feature == feature {
			return l
		}
	}
	require.Failf(t, "no such line", "%s in %+v", feature, in.licenses)
	return bms.License{}
}

func TestWithoutLicensesEveryServerIsInViolation(t *testing.T) {
	info := licenseInformation(threeServers())
	require.Equal(t, []string{FeatureDevices, FeatureBase}, info[0].violations)
	require.Equal(t, []string{FeatureDevices, FeatureBase}, info[1].violations)
	require.Equal(t, []string{FeatureBase}, info[2].violations)
	require.Equal(t, bms.License{Feature: FeatureDevices, Required: 180, Source: "top"}, line(t, info[0], FeatureDevices))
	require.Len(t, info[2].licenses, 1, "a feature that is neither needed nor held is not shown")
}

func TestSystemLicensesOfTheTopServerCoverTheServersBelow(t *testing.T) {
	info := licenseInformation(threeServers(grant(FeatureBase, "system", 1), grant(FeatureDevices, "system", 200)))
	require.Equal(t, bms.License{
		Feature: FeatureDevices, Version: "7.0", Required: 185, Used: 185, Available: 15, Activated: 200, Source: "top",
	}, line(t, info[0], FeatureDevices), "the need of a unit adds up")
	require.Equal(t, bms.License{
		Feature: FeatureDevices, Version: "7.0", Required: 5, Used: 5, Available: 15, Activated: 200, Source: "top",
	}, line(t, info[1], FeatureDevices))
	require.Equal(t, 1, line(t, info[0], FeatureBase).Required, "the need of anything else does not")
	require.Equal(t, bms.HostID("top"), line(t, info[2], FeatureBase).Source)
	for i := range info {
		require.Empty(t, info[i].violations)
	}
}

func TestAShortageOfASystemLicenseIsAViolationAtTheTopAlone(t *testing.T) {
	info := licenseInformation(threeServers(grant(FeatureBase, "system", 1), grant(FeatureDevices, "system", 100)))
	require.Equal(t, []string{FeatureDevices}, info[0].violations)
	require.Equal(t, 100, line(t, info[0], FeatureDevices).Used)
	require.Empty(t, info[1].violations)
}

func TestAServerLicenseOfTheTopServerCoversNobodyElse(t *testing.T) {
	info := licenseInformation(threeServers(grant(FeatureBase, "server", 1), grant(FeatureDevices, "server", 200)))
	require.Empty(t, info[0].violations)
	require.Equal(t, 180, line(t, info[0], FeatureDevices).Required)
	require.Equal(t, bms.HostID("one"), line(t, info[1], FeatureDevices).Source)
	require.Equal(t, []string{FeatureBase}, info[2].violations)
}

func TestAServerThatHasEnoughOfItsOwnNeedsNothingFromTheTop(t *testing.T) {
	system := threeServers(grant(FeatureBase, "system", 1), grant(FeatureDevices, "system", 180))
	system[1].grants = []exchange.GrantedCount{grant(FeatureDevices, "server", 100)}
	info := licenseInformation(system)
	require.Equal(t, 180, line(t, info[0], FeatureDevices).Required)
	require.Equal(t, bms.License{
		Feature: FeatureDevices, Version: "7.0", Required: 5, Used: 5, Available: 95, Activated: 100, Source: "one",
	}, line(t, info[1], FeatureDevices))
}

func TestDatesDecideWhatCounts(t *testing.T) {
	for name, c := range map[string]struct {
		grant     exchange.GrantedCount
		activated int
	}{
		"permanent":           {grant("f", "server", 2), 2},
		"ends later":          {ending(grant("f", "server", 2), noon.Add(time.Second), 0), 2},
		"ends now":            {ending(grant("f", "server", 2), noon, 0), 0},
		"in its grace":        {ending(grant("f", "server", 2), noon.AddDate(0, 0, -9), 10), 2},
		"its grace ends now":  {ending(grant("f", "server", 2), noon.AddDate(0, 0, -10), 10), 0},
		"has not started yet": {func() exchange.GrantedCount { g := grant("f", "server", 2); g.Start = noon.Add(1); return g }(), 0},
	} {
		t.Run(name, func(t *testing.T) {
			info := licenseInformation([]holding{{host: "top", now: noon, grants: []exchange.GrantedCount{c.grant}}})
			l := line(t, info[0], "f")
			require.Equal(t, c.activated, l.Activated)
			require.Equal(t, c.grant.Expires, l.Expires, "the date is shown even when the license has run out")
		})
	}
}

func TestTheEarliestExpiryOfSeveralRightsIsShown(t *testing.T) {
	soon, late := noon.AddDate(0, 1, 0), noon.AddDate(1, 0, 0)
	info := licenseInformation([]holding{{host: "top", now: noon, grants: []exchange.GrantedCount{
		ending(grant("f", "server", 1), late, 0), ending(grant("f", "server", 2), soon, 0), grant("f", "server", 4),
	}}})
	require.Equal(t, bms.License{Feature: "f", Version: "7.0", Available: 7, Activated: 7, Expires: &soon, Source: "top"}, line(t, info[0], "f"))
}

func TestAnExpiredSystemLicenseCoversNobody(t *testing.T) {
	info := licenseInformation(threeServers(ending(grant(FeatureBase, "system", 1), noon, 0)))
	require.Contains(t, info[0].violations, FeatureBase)
	require.Equal(t, []string{FeatureBase}, info[2].violations)
}
