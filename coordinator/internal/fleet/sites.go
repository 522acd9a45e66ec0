package fleet

import (
	"cmp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // so that a time zone is known on every machine, or on none
	"unicode/utf8"

	"github.com/licet-project/licet/coordinator/internal/strictyaml"
	"github.com/licet-project/licet/shared/protocol"
)

// Site is where servers stand, whose they are, and what is allowed there.
type Site struct {
	ID       string   `yaml:"id"` // an identifier
	Name     string   `yaml:"name"`
	Owner    string   `yaml:"owner"`     // whose servers stand here: seats of another owner cannot be held by them
	TimeZone string   `yaml:"time_zone"` // for example Europe/Stockholm
	Carriers []string `yaml:"carriers"`  // protocol.CarrierDirect, ... in order of preference
	Servers  int      `yaml:"-"`         // how many stand here; only what ListSites and GetSite return has it
}

// Sites are the sites of one file.
type Sites struct {
	Sites []Site `yaml:"sites"`
}

// maxCell is how many bytes a cell or a text of a file may have: no more than a document of the protocol carries.
const maxCell = 255

// ParseSites reads a sites file. Its error is Problems: every mistake, by line.
func ParseSites(data []byte) (Sites, error) {
	var sites Sites
	var problems Problems
	file, mistakes := strictyaml.Decode(data, &sites)
	for _, m := range mistakes {
		problems.add(m.Line, m.Key, "%s", m.Text)
	}
	if len(problems) > 0 {
		return Sites{}, problems
	}
	if len(sites.Sites) == 0 {
		problems.add(0, "", "there are no sites")
	}
	first := make(map[string]int)
	for i, site := range sites.Sites {
		add := func(key, format string, args ...any) {
			problems.add(file.Line("sites", i, key), key, format, args...)
		}
		if before, twice := first[site.ID]; twice {
			add("id", "%q stands already in row %d", site.ID, file.Line("sites", before, "id"))
		}
		first[site.ID] = i
		checkSite(site, add)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(order(a), order(b)) })
	if err := problems.err(); err != nil {
		return Sites{}, err
	}
	return sites, nil
}

// order sorts what is about the whole file last: it says that there are more.
func order(p Problem) int {
	if p.Row == 0 {
		return int(^uint(0) >> 1)
	}
	return p.Row
}

func checkSite(site Site, add func(key, format string, args ...any)) {
	if !protocol.Identifier(site.ID) {
		add("id", "%q is not an identifier: 1 to %d of a-z, 0-9 and hyphen", clip(site.ID), protocol.MaxIdentifier)
	}
	for _, text := range []struct{ key, value string }{{"name", site.Name}, {"owner", site.Owner}} {
		if why := textProblem(text.value); why != "" {
			add(text.key, "%s", why)
		}
	}
	if _, err := time.LoadLocation(site.TimeZone); err != nil || site.TimeZone == "" || site.TimeZone == "Local" {
		add("time_zone", "%q is not a time zone: write it as Europe/Stockholm", clip(site.TimeZone))
	}
	known := []string{protocol.CarrierDirect, protocol.CarrierRelay, protocol.CarrierFile}
	if len(site.Carriers) == 0 {
		add("carriers", "there are none: %s", strings.Join(known, ", "))
	}
	for i, carrier := range site.Carriers {
		switch {
		case !slices.Contains(known, carrier):
			add("carriers", "%q is not known: %s", clip(carrier), strings.Join(known, ", "))
		case slices.Contains(site.Carriers[:i], carrier):
			add("carriers", "%s is named twice", carrier)
		}
	}
}

// textProblem says what is wrong with a name that a person wrote, or nothing.
func textProblem(text string) string {
	switch {
	case strings.TrimSpace(text) == "":
		return "it is missing"
	case len(text) > maxCell:
		return "it is longer than 255 bytes"
	case strings.ContainsFunc(text, func(r rune) bool { return !printable(r) || r == utf8.RuneError }):
		return "it has control or invisible characters"
	case strings.TrimSpace(text) != text:
		return "it begins or ends with a space"
	}
	return ""
}

// clip is enough of a text for a person to find it.
func clip(text string) string { return clipTo(text, 40) }

func clipTo(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
