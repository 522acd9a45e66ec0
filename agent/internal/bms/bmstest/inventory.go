package bmstest

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Inventory is the simulated servers of any number of sites, as a CSV file names them.
type Inventory struct {
	rows []row
}

// Group is the servers of one system, the top server first.
type Group struct {
	Name    string // the top server's
	Servers []Server
}

// row is one line of the file. Parents are named by name, within a site.
type row struct {
	line                                          int
	name, kind, role, parent, site, version, host string
	hostType                                      string
	devices                                       int
}

// columns that the heading must have, in any order; others are nobody's business here.
var columns = [...]string{"name", "type", "role", "parent", "site", "version", "host_id", "host_id_type", "required_devices"}

const maxInventory = 16 << 20 // bytes

// ParseInventory reads an inventory. The error names everything that is wrong with it, each with its row, which is the
// line of the file.
func ParseInventory(data []byte) (Inventory, error) {
	if len(data) > maxInventory {
		return Inventory{}, fmt.Errorf("it has %d bytes, at most %d are read", len(data), maxInventory)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return Inventory{}, errors.New("it is not UTF-8")
	}
	reader := csv.NewReader(bytes.NewReader(data))
	reader.FieldsPerRecord = -1
	heading, err := reader.Read()
	if err != nil {
		return Inventory{}, fmt.Errorf("row 1: no heading: %w", err)
	}
	at, err := positions(heading)
	if err != nil {
		return Inventory{}, err
	}
	var inventory Inventory
	var problems []error
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // a quote that never ends: nothing after it can be trusted
			return Inventory{}, errors.Join(append(problems, fmt.Errorf("not CSV: %w", err))...)
		}
		line, _ := reader.FieldPos(0)
		if len(record) != len(heading) {
			problems = append(problems, fmt.Errorf("row %d: it has %d fields, the heading has %d", line, len(record), len(heading)))
			continue
		}
		r, err := readRow(line, func(column string) string { return strings.TrimSpace(record[at[column]]) })
		problems = append(problems, err)
		inventory.rows = append(inventory.rows, r)
	}
	problems = append(problems, inventory.problems()...)
	if err := errors.Join(problems...); err != nil {
		return Inventory{}, err
	}
	if len(inventory.rows) == 0 {
		return Inventory{}, errors.New("it names no server")
	}
	return inventory, nil
}

func positions(heading []string) (map[string]int, error) {
	at := make(map[string]int, len(heading))
	var problems []error
	for i, name := range heading {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := at[name]; twice && name != "" {
			problems = append(problems, fmt.Errorf("row 1: column %q is there twice", name))
		}
		at[name] = i
	}
	for _, name := range columns {
		if _, there := at[name]; !there {
			problems = append(problems, fmt.Errorf("row 1: column %q is missing", name))
		}
	}
	return at, errors.Join(problems...)
}

func readRow(line int, field func(string) string) (row, error) {
	r := row{
		line: line, name: field("name"), kind: field("type"), role: field("role"), parent: field("parent"), site: field("site"),
		version: field("version"), host: field("host_id"), hostType: field("host_id_type"),
	}
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("row %d: "+format, append([]any{line}, args...)...))
	}
	for _, column := range []string{"name", "type", "site", "version"} {
		if field(column) == "" {
			problem("%s is missing", column)
		}
	}
	switch {
	case r.role == protocol.RoleTop && r.parent != "":
		problem("a top server has no parent, this one has %q", r.parent)
	case r.role == protocol.RoleField && r.parent == "":
		problem("a field server has a parent, this one has none")
	case r.role != protocol.RoleTop && r.role != protocol.RoleField:
		problem("role is %q and should be top or field", r.role)
	}
	devices, err := strconv.Atoi(cmp.Or(field("required_devices"), "0"))
	if err != nil || devices < 0 || devices > exchange.MaxCount {
		problem("required_devices is %q and should be a whole number, 0 or more", field("required_devices"))
	}
	r.devices = devices
	if err := checkServer(r.server("")); err != nil {
		problem("host_id is %q: %w", r.host, err)
	}
	return r, errors.Join(problems...)
}

// problems are what only the rows together can show.
func (i Inventory) problems() []error {
	var problems []error
	names := make(map[[2]string]row) // by site and name
	hosts := make(map[string]row)    // by folder
	sites := make(map[string]string) // of every name, for a better message
	for _, r := range i.rows {
		key := [2]string{r.site, r.name}
		if first, twice := names[key]; twice && r.name != "" {
			problems = append(problems, fmt.Errorf("row %d: site %s has a server %q already, in row %d", r.line, r.site, r.name, first.line))
		}
		names[key], sites[r.name] = r, r.site
		folder := folderName(bms.HostID(r.host))
		if first, twice := hosts[folder]; twice && r.host != "" {
			problems = append(problems, fmt.Errorf("row %d: host_id %s is that of row %d", r.line, r.host, first.line))
		}
		hosts[folder] = r
	}
	for _, r := range i.rows {
		if r.parent == "" {
			continue
		}
		_, known := names[[2]string{r.site, r.parent}]
		site, elsewhere := sites[r.parent]
		switch {
		case !known && elsewhere:
			problems = append(problems, fmt.Errorf("row %d: its parent %q stands at site %s, not at %s", r.line, r.parent, site, r.site))
		case !known:
			problems = append(problems, fmt.Errorf("row %d: its parent %q is no server of site %s", r.line, r.parent, r.site))
		case i.top(names, r) == nil:
			problems = append(problems, fmt.Errorf("row %d: the way up from it reaches no top server", r.line))
		}
	}
	return problems
}

// top is the row at the end of the way up, or nil if there is none.
func (i Inventory) top(names map[[2]string]row, r row) *row {
	for range len(i.rows) {
		if r.parent == "" {
			return &r
		}
		up, known := names[[2]string{r.site, r.parent}]
		if !known {
			return nil
		}
		r = up
	}
	return nil
}

func (r row) server(parent bms.HostID) Server {
	s := Server{
		HostID: bms.HostID(r.host), HostIDType: r.hostType, Name: r.name, Type: r.kind, Version: r.version, Parent: parent,
	}
	if r.devices > 0 {
		s.Required = map[string]int{FeatureDevices: r.devices}
	}
	return s
}

// Sites are the names of all sites, sorted.
func (i Inventory) Sites() []string {
	var sites []string
	for _, r := range i.rows {
		sites = append(sites, r.site)
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}

// Systems are the systems of a site, in the order of their top servers in the file.
func (i Inventory) Systems(site string) []Group {
	names := make(map[[2]string]row)
	for _, r := range i.rows {
		names[[2]string{r.site, r.name}] = r
	}
	var groups []Group
	for _, top := range i.rows {
		if top.site != site || top.parent != "" {
			continue
		}
		group := Group{Name: top.name, Servers: []Server{top.server("")}}
		for _, r := range i.rows {
			if r.site == site && r.parent != "" && i.top(names, r).name == top.name {
				group.Servers = append(group.Servers, r.server(bms.HostID(names[[2]string{site, r.parent}].host)))
			}
		}
		groups = append(groups, group)
	}
	return groups
}
