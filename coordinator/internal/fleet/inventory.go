package fleet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/shared/protocol"
)

// Inventory is the servers of one file, as an engineer knows them.
type Inventory struct {
	Servers []Listed
	columns map[string]bool // that the file has: what it has no column for, it says nothing about
}

// Listed is one server of an inventory. An empty text says nothing.
type Listed struct {
	Row        int // line of the file
	Name       string
	Type       string
	Role       string
	Parent     string // name of the server above at the same site, or site/name
	Site       string
	Version    string
	HostID     string
	HostIDType string
	Agent      string // who looks after it
	Driver     string
	Address    string
	TLSSHA256  string
	Labels     map[string]string
}

// Limits of an inventory.
const (
	maxInventory = 4 << 20 // bytes
	maxListed    = 100_000 // servers
	maxLabelText = 4_000   // bytes of a cell with labels
)

// columnNames are the columns that an inventory may have. required_devices is for the simulator: it is ignored.
var columnNames = []string{
	"name", "type", "role", "parent", "site", "version", "host_id", "host_id_type", "agent", "driver", "address", "tls_sha256", "labels",
	"required_devices",
}

// neededColumns are those that an inventory cannot be read without.
var neededColumns = []string{"name", "type", "role", "parent", "site"}

// hostIDTypes are FlexNet Operations' deviceIdType; which of them EcoStruxure uses is not public.
var hostIDTypes = []string{
	"UNKNOWN", "STRING", "ETHERNET", "FLEXID9", "FLEXID10", "VM_UUID", "INTERNET", "INTERNET6", "USER", "TOLERANT", "EXTENDED",
	"PUBLISHER_DEFINED", "CONTAINER_ID",
}

var drivers = []string{"rest", "exec", "manual"}

// ParseInventory reads a CSV file with a row of headings; columns may be in any order. Its error is Problems: every
// mistake that can be found in the file alone. What needs the fleet as it stands, ImportInventory finds.
func ParseInventory(data []byte) (Inventory, error) {
	p := inventoryParser{names: map[string]int{}, hosts: map[string]int{}}
	p.inventory.columns = map[string]bool{}
	text := bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > maxInventory:
		p.problems.add(0, "", "the file is larger than %d MiB", maxInventory>>20)
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
		p.problems.add(0, "", "the file is UTF-16: save it as CSV in UTF-8")
	case len(bytes.TrimSpace(text)) == 0:
		p.problems.add(0, "", "the file is empty")
	default:
		p.read(text)
	}
	if err := p.problems.err(); err != nil {
		return Inventory{}, err
	}
	return p.inventory, nil
}

type inventoryParser struct {
	inventory Inventory
	heading   []string
	names     map[string]int // row by site and name
	hosts     map[string]int // row by host ID: topics cannot tell two hosts apart whose ID is the same
	problems  Problems
}

func (p *inventoryParser) read(text []byte) {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.FieldsPerRecord = -1
	if first, _, _ := bytes.Cut(text, []byte("\n")); !bytes.Contains(first, []byte(",")) && bytes.Contains(first, []byte(";")) {
		reader.Comma = ';' // as spreadsheets save where the comma is in use
	}
	for rows := 0; ; {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
			p.problems.add(parse.Line, "", "it cannot be read from column %d on: %v", parse.Column, parse.Err)
			return // what follows a quote that is not closed means nothing
		}
		if err != nil {
			p.problems.add(0, "", "the file cannot be read: %v", err)
			return
		}
		row, _ := reader.FieldPos(0)
		if p.heading == nil {
			if !p.headings(row, cells) {
				return
			}
			continue
		}
		if rows++; rows > maxListed {
			p.problems = nil // of so many, none matters
			p.problems.add(row, "", "more than %d servers", maxListed)
			return
		}
		p.server(row, cells)
	}
	if len(p.inventory.Servers) == 0 && len(p.problems) == 0 {
		p.problems.add(0, "", "there are no servers below the headings")
	}
}

// headings reads the first row. False: the rows below mean nothing.
func (p *inventoryParser) headings(row int, cells []string) bool {
	before := len(p.problems)
	for _, cell := range cells {
		name := strings.ToLower(strings.TrimSpace(cell))
		switch {
		case !slices.Contains(columnNames, name):
			p.problems.add(row, clip(visible(name)), "the column is not known: %s", strings.Join(columnNames, ", "))
		case p.inventory.columns[name]:
			p.problems.add(row, name, "the column stands twice")
		}
		p.inventory.columns[name] = true
		p.heading = append(p.heading, name)
	}
	for _, name := range neededColumns {
		if !p.inventory.columns[name] {
			p.problems.add(row, name, "the column is missing")
		}
	}
	return len(p.problems) == before
}

func (p *inventoryParser) server(row int, cells []string) {
	if !slices.ContainsFunc(cells, func(cell string) bool { return strings.Trim(cell, " ") != "" }) {
		return
	}
	if len(cells) != len(p.heading) {
		p.problems.add(row, "", "it has %d cells, the headings are %d", len(cells), len(p.heading))
		return
	}
	values := make(map[string]string, len(cells))
	for i, cell := range cells {
		name := p.heading[i]
		cell = strings.Trim(cell, " ")
		if why := cellProblem(name, cell); why != "" && name != "required_devices" {
			p.problems.add(row, name, "%s", why)
			cell = ""
		}
		values[name] = cell
	}
	labels, wrong := parseLabels(values["labels"])
	for _, why := range wrong {
		p.problems.add(row, "labels", "%s", why)
	}
	s := Listed{
		Row: row, Name: values["name"], Type: values["type"], Role: values["role"], Parent: values["parent"], Site: values["site"],
		Version: values["version"], HostID: values["host_id"], HostIDType: values["host_id_type"], Agent: values["agent"],
		Driver: values["driver"], Address: values["address"], TLSSHA256: strings.ToLower(values["tls_sha256"]), Labels: labels,
	}
	p.check(s, func(column, format string, args ...any) { p.problems.add(row, column, format, args...) })
	p.inventory.Servers = append(p.inventory.Servers, s)
}

// check finds what is wrong with a server by itself, and what the file has twice.
func (p *inventoryParser) check(s Listed, add func(column, format string, args ...any)) {
	for _, needed := range []struct{ column, value string }{{"name", s.Name}, {"type", s.Type}, {"role", s.Role}, {"site", s.Site}} {
		if needed.value == "" && !p.refused(s.Row, needed.column) {
			add(needed.column, "it is missing")
		}
	}
	oneOf := func(column, value string, known []string) {
		if value != "" && !slices.Contains(known, value) {
			add(column, "%q is not one of %s", clip(value), strings.Join(known, ", "))
		}
	}
	oneOf("type", s.Type, catalog.ServerTypes())
	oneOf("role", s.Role, []string{protocol.RoleTop, protocol.RoleField})
	oneOf("driver", s.Driver, drivers)
	oneOf("host_id_type", s.HostIDType, hostIDTypes)
	if s.Version != "" {
		if _, err := catalog.ParseVersion(s.Version); err != nil {
			add("version", "%v", err)
		}
	}
	switch {
	case s.HostID != "" && s.HostIDType == "":
		add("host_id_type", "it is missing: a host ID needs its type, like ETHERNET")
	case s.HostID == "" && s.HostIDType != "" && !p.refused(s.Row, "host_id"):
		add("host_id", "it is missing: leave both empty if the host ID is not known")
	}
	if s.Agent != "" && !protocol.Identifier(s.Agent) {
		add("agent", "%q is not an agent's name: 1 to %d of a-z, 0-9 and hyphen", clip(s.Agent), protocol.MaxIdentifier)
	}
	if len(s.TLSSHA256) != 0 && (len(s.TLSSHA256) != 64 || strings.Trim(s.TLSSHA256, "0123456789abcdef") != "") {
		add("tls_sha256", "it is not a SHA-256: 64 hexadecimal digits")
	}
	if strings.ContainsAny(s.Address, "@ ") {
		add("address", "an address has no space and no name or password")
	}
	p.once(p.names, s.Site+"\x00"+s.Name, s.Name != "" && s.Site != "", s.Row, func(before int) {
		add("name", "%q stands already in row %d for the site %s", s.Name, before, s.Site)
	})
	p.once(p.hosts, hostKey(s.HostID), s.HostID != "", s.Row, func(before int) {
		add("host_id", "%s stands already in row %d", s.HostID, before)
	})
}

// once notes the key, or says in which row it stood before.
func (p *inventoryParser) once(seen map[string]int, key string, is bool, row int, twice func(before int)) {
	if !is {
		return
	}
	if before, found := seen[key]; found {
		twice(before)
		return
	}
	seen[key] = row
}

// refused reports whether the cell is empty only because something else is wrong with it.
func (p *inventoryParser) refused(row int, column string) bool {
	return slices.ContainsFunc(p.problems, func(one Problem) bool { return one.Row == row && one.Column == column })
}

// cellProblem says what no cell may have.
func cellProblem(column, cell string) string {
	most := maxCell
	if column == "labels" {
		most = maxLabelText
	}
	switch {
	case cell == "":
		return ""
	case len(cell) > most:
		return fmt.Sprintf("it is longer than %d bytes", most)
	case !utf8.ValidString(cell) || strings.ContainsRune(cell, utf8.RuneError):
		return "it is not UTF-8: save the file as CSV in UTF-8"
	case strings.ContainsAny(cell[:1], "=+-@"):
		return fmt.Sprintf("it begins with %c and a spreadsheet would take it for a formula", cell[0])
	case strings.ContainsFunc(cell, func(r rune) bool { return !printable(r) }):
		return "it has control or invisible characters"
	}
	return ""
}

// visible is the text without what nobody can see.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if !printable(r) {
			return -1
		}
		return r
	}, text)
}
