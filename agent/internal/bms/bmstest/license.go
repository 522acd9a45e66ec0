package bmstest

import (
	"maps"
	"slices"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
)

const (
	// FeatureBase is needed once by every server.
	FeatureBase = "server.base"
	// scopeSystem marks a license that the top server holds for every server below it.
	scopeSystem = "system"
	// FeatureDevices is counted in units: its need adds up over a system. Of every other feature the system needs as
	// much as the server that needs most.
	FeatureDevices = "connected.devices"
)

// holding is what License Information of one server is computed from.
type holding struct {
	host   bms.HostID
	now    time.Time // by the server's own clock
	needs  map[string]int
	grants []exchange.GrantedCount
}

type information struct {
	licenses   []bms.License
	violations []string
}

// licenseInformation is what every server of a system shows; the first holding is the top server's.
//
// A feature that the top server holds for the system covers a server below that has not enough of its own: the server
// shows the top server's license as source, its need counts at the top, and a shortage is a violation there alone.
func licenseInformation(system []holding) []information {
	top := system[0]
	cover := tally(top, func(g exchange.GrantedCount) bool { return g.Scope == scopeSystem })
	own := make([]map[string]license, len(system))
	for i, h := range system {
		own[i] = tally(h, func(exchange.GrantedCount) bool { return true })
	}
	covered := func(i int, feature string) bool {
		return i > 0 && cover[feature].count > 0 && own[i][feature].count < max(system[i].needs[feature], 1)
	}

	needTop := maps.Clone(top.needs)
	for i, h := range system {
		for feature, need := range h.needs {
			if !covered(i, feature) {
				continue
			}
			if feature == FeatureDevices {
				needTop[feature] = min(needTop[feature]+need, exchange.MaxCount)
			} else {
				needTop[feature] = max(needTop[feature], need)
			}
		}
	}

	result := make([]information, len(system))
	for _, feature := range features(own[0], needTop, nil) {
		result[0].add(own[0][feature].line(feature, needTop[feature], top.host))
	}
	for i := 1; i < len(system); i++ {
		for _, feature := range features(own[i], system[i].needs, cover) {
			line := own[i][feature].line(feature, system[i].needs[feature], system[i].host)
			if covered(i, feature) {
				line = own[0][feature].line(feature, needTop[feature], top.host)
				line.Required, line.Used = system[i].needs[feature], system[i].needs[feature]
			}
			result[i].add(line)
		}
	}
	return result
}

// add appends the line; a server judges its own licenses alone, so what the top server covers is no violation here.
func (in *information) add(line bms.License) {
	in.licenses = append(in.licenses, line)
	if line.Used < line.Required {
		in.violations = append(in.violations, line.Feature)
	}
}

// license is one feature, summed over the rights that unlock it.
type license struct {
	count   int // in time
	version string
	expires *time.Time
}

// tally sums the grants that count, by feature. One that has not started or has run out, grace included, adds nothing but
// its date.
func tally(h holding, counts func(exchange.GrantedCount) bool) map[string]license {
	sums := make(map[string]license)
	for _, grant := range h.grants {
		if !counts(grant) {
			continue
		}
		sum := sums[grant.Feature]
		if inTime(grant, h.now) {
			sum.count = min(sum.count+grant.Count, exchange.MaxCount)
		}
		sum.version = max(sum.version, grant.Version)
		if grant.Expires != nil && (sum.expires == nil || grant.Expires.Before(*sum.expires)) {
			sum.expires = grant.Expires
		}
		sums[grant.Feature] = sum
	}
	return sums
}

func inTime(grant exchange.GrantedCount, now time.Time) bool {
	return !now.Before(grant.Start) && (grant.Expires == nil || now.Before(grant.Expires.AddDate(0, 0, grant.GraceDays)))
}

func (l license) line(feature string, required int, source bms.HostID) bms.License {
	used := min(required, l.count)
	return bms.License{
		Feature: feature, Version: l.version, Required: required, Used: used, Available: l.count - used, Activated: l.count,
		Expires: l.expires, Source: source,
	}
}

// features are all that one of the maps names, sorted.
func features(own map[string]license, needs map[string]int, cover map[string]license) []string {
	names := make(map[string]bool)
	for feature := range own {
		names[feature] = true
	}
	for feature, need := range needs {
		names[feature] = names[feature] || need > 0
	}
	for feature, license := range cover {
		names[feature] = names[feature] || license.count > 0
	}
	maps.DeleteFunc(names, func(_ string, shown bool) bool { return !shown })
	return slices.Sorted(maps.Keys(names))
}
