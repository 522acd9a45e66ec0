package catalog

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Version is Major.Minor.Maintenance.Build of a BMS server; what is not said is 0.
type Version [4]int

var versionText = regexp.MustCompile(`^\d{1,6}(\.\d{1,6}){1,3}$`)

// ParseVersion reads two to four numbers with full stops between.
func ParseVersion(text string) (Version, error) {
	if !versionText.MatchString(text) {
		return Version{}, fmt.Errorf("%q is not a version: write Major.Minor or Major.Minor.Maintenance.Build, as in 7.0.2", text)
	}
	var v Version
	for i, part := range strings.Split(text, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return Version{}, fmt.Errorf("read version %q: %w", text, err)
		}
		v[i] = n
	}
	return v, nil
}

// Compare is -1, 0 or +1 as v comes before, is, or comes after other.
func (v Version) Compare(other Version) int {
	return slices.CompareFunc(v[:], other[:], cmp.Compare[int])
}

// Classic reports whether the version comes before centralized licensing: such servers are observed, never assigned.
func (v Version) Classic() bool { return v[0] < 7 }
