package ledger

import (
	"fmt"
	"maps"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/catalog"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// assignable are the servers, if each of them can have the product now; else the error names every one that cannot.
func assignable(tx *db.Tx, partNumber string, servers []string) (map[string]member, error) {
	product, rivals, err := productAndRivals(tx, partNumber)
	if err != nil {
		return nil, err
	}
	found, err := members(tx, servers...)
	if err != nil {
		return nil, err
	}
	taken, err := rivals.at(tx, found)
	if err != nil {
		return nil, err
	}
	refused := &NotAssignableError{PartNumber: partNumber}
	adopting := &AdoptingError{}
	for _, id := range servers {
		m, ok := found[id]
		if !ok {
			refused.Reasons = append(refused.Reasons, Reason{Server: id, Why: "no such server"})
			continue
		}
		if reason := m.problem(product, taken[rivals.scopeOf(m)]); reason != "" {
			refused.Reasons = append(refused.Reasons, m.because("%s", reason))
		} else if !m.known || m.adopting {
			adopting.Servers = append(adopting.Servers, id)
		}
	}
	switch {
	case len(refused.Reasons) > 0:
		return nil, refused
	case len(adopting.Servers) > 0:
		return nil, adopting
	}
	return found, nil
}

// problem is why the server cannot have the product, for good or until a person acts; empty if it can.
func (m member) problem(product catalog.Product, taken string) string {
	if m.owner == "" {
		return "it stands at no site, so nobody owns what it would hold"
	}
	if m.hostID == "" {
		return "its host ID is not known yet: it is learned when its agent first reports it"
	}
	if err := product.Problem(catalog.Candidate{Type: m.serverType, Version: m.version, Role: m.role}); err != nil {
		return err.Error()
	}
	if taken != "" {
		return taken
	}
	return m.frozen()
}

// frozen is why nothing may be raised at the server until a person acts; empty if it may.
func (m member) frozen() string {
	switch {
	case m.cloned:
		return "two agents report it: name the one that looks after it in the inventory"
	case m.releaseKey != "":
		return "it is being released"
	case m.stranded:
		return "it is stranded"
	}
	return ""
}

// rivals are the part numbers that a product excludes or that exclude it, and how far.
type rivals struct {
	partNumbers  []string
	acrossSystem bool // else on the same server
}

// productAndRivals is the product with its rivals.
func productAndRivals(tx *db.Tx, partNumber string) (catalog.Product, rivals, error) {
	products, err := catalog.List(tx)
	if err != nil {
		return catalog.Product{}, rivals{}, err
	}
	at := slices.IndexFunc(products, func(p catalog.Product) bool { return p.PartNumber == partNumber })
	if at < 0 {
		return catalog.Product{}, rivals{}, &NotAssignableError{PartNumber: partNumber, Why: "the catalog does not know it"}
	}
	product := products[at]
	if product.ManagedBy != "" {
		return product, rivals{}, &NotAssignableError{PartNumber: partNumber, Why: "it is managed by " + product.ManagedBy}
	}
	var of rivals
	for _, other := range products {
		for _, pair := range [][2]catalog.Product{{product, other}, {other, product}} {
			if pair[0].ExclusiveIn != "" && other.PartNumber != partNumber && slices.Contains(pair[0].Excludes, pair[1].PartNumber) {
				of.partNumbers = append(of.partNumbers, other.PartNumber)
				of.acrossSystem = of.acrossSystem || pair[0].ExclusiveIn == catalog.ScopeSystem
			}
		}
	}
	slices.Sort(of.partNumbers)
	of.partNumbers = slices.Compact(of.partNumbers)
	return product, of, nil
}

// scopeOf is where no rival may be: the ID of the top of the server's system, or of the server.
func (r rivals) scopeOf(m member) string {
	if r.acrossSystem {
		return m.root
	}
	return m.id
}

// at says, by scope, which rival is decided or ordered there already. What is only on its way back is no rival: the document
// that raises the one lowers the other.
func (r rivals) at(tx *db.Tx, found map[string]member) (map[string]string, error) {
	taken := make(map[string]string)
	if len(r.partNumbers) == 0 {
		return taken, nil
	}
	scopes := make(map[string]bool)
	for _, m := range found {
		scopes[r.scopeOf(m)] = true
	}
	within := "SELECT id, id AS scope FROM servers WHERE id IN (%[1]s)"
	if r.acrossSystem { // at most three servers high
		within += ` UNION ALL SELECT id, parent FROM servers WHERE parent IN (%[1]s)
			UNION ALL SELECT c.id, p.parent FROM servers p JOIN servers c ON c.parent = p.id WHERE p.parent IN (%[1]s)`
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(scopes)), chunk) {
		query := fmt.Sprintf(`SELECT w.scope, s.name, n.part_number FROM (`+within+`) w
			JOIN servers s ON s.id = w.id JOIN assignments a ON a.server = w.id JOIN lines n ON n.ref = a.line
			WHERE (a.want > 0 OR a.ordered > 0) AND n.part_number IN (%[2]s)`, marks(1, len(ids)), marks(len(ids)+1, len(r.partNumbers)))
		err := each(tx, query, append(anys(ids), anys(r.partNumbers)...), func(scan func(...any) error) error {
			var scope, name, partNumber string
			err := scan(&scope, &name, &partNumber)
			taken[scope] = fmt.Sprintf("%s holds %s, and the two exclude each other", name, partNumber)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read what excludes a product: %w", err)
		}
	}
	return taken, nil
}

// allAdopted is an error while servers of a restored ledger are not adopted: until then nobody knows what they hold, so a
// seat that seems free may be theirs.
func allAdopted(tx *db.Tx) error {
	waiting, err := texts(tx, "SELECT server FROM ledger_servers WHERE adopting = 1 AND restored = 1")
	if err != nil {
		return fmt.Errorf("read which servers are adopting: %w", err)
	}
	if len(waiting) > 0 {
		return &AdoptingError{Servers: waiting, Restored: true}
	}
	return nil
}
