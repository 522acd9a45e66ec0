package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// Result is what an import of an inventory did, or would do.
type Result struct {
	Checked   bool // it was a dry run: nothing changed
	Added     int
	Changed   int
	Unchanged int
	Changes   []Change // in the order of the file
	Notes     []string // for a person
}

// ImportInventory takes the servers over: each is found by its host ID, else by its name at its site, or is new. Servers
// that the file does not name stay as they are. Importing the same again changes nothing and leaves no entry. With check
// everything is done, the constraints of the database have their say, and all of it is taken back.
//
// What a person can mend is Problems: every mistake, and nothing was changed.
func ImportInventory(tx *db.Tx, actor audit.Actor, inventory Inventory, check bool) (Result, error) {
	steps, notes, err := planInventory(tx, inventory)
	if err != nil {
		return Result{}, err
	}
	result := Result{Checked: check, Notes: notes}
	var did []step
	for _, st := range steps {
		switch {
		case st.before == nil:
			result.Added++
		case len(st.fields) > 0 || st.absorbs != nil:
			result.Changed++
		default:
			result.Unchanged++
			continue
		}
		did = append(did, st)
		result.Changes = append(result.Changes, Change{
			Row: st.listed.Row, ID: st.after.ID, Server: st.after.Name, Added: st.before == nil, Fields: st.fields,
		})
	}
	if len(did) == 0 {
		return result, nil
	}
	if !check {
		if err := writeSteps(tx, did); err != nil {
			return Result{}, err
		}
		return result, tellSteps(tx, actor, did, result)
	}
	if _, err := tx.Exec("SAVEPOINT inventory_check"); err != nil {
		return Result{}, fmt.Errorf("check the inventory: %w", err)
	}
	if err := writeSteps(tx, did); err != nil {
		return Result{}, err // the caller's transaction takes it back
	}
	for _, statement := range []string{"ROLLBACK TO SAVEPOINT inventory_check", "RELEASE SAVEPOINT inventory_check"} {
		if _, err := tx.Exec(statement); err != nil {
			return Result{}, fmt.Errorf("take the check of the inventory back: %w", err)
		}
	}
	return result, nil
}

func planInventory(tx *db.Tx, inventory Inventory) ([]step, []string, error) {
	sites, err := ListSites(tx)
	if err != nil {
		return nil, nil, err
	}
	servers, err := queryServers(tx, "")
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	m := merger{inventory: inventory, servers: servers, sites: map[string]Site{}, newID: newServerID}
	for _, site := range sites {
		m.sites[site.ID] = site
	}
	return m.merge()
}

// writeSteps writes all steps: first what stands in the way of others, then new servers with the higher ones first, then
// the changed ones.
func writeSteps(tx *db.Tx, steps []step) error {
	for _, st := range steps {
		if err := makeWay(tx, st); err != nil {
			return fmt.Errorf("change server %s: %w", st.after.ID, err)
		}
	}
	if err := insertNew(tx, steps); err != nil {
		return err
	}
	for _, st := range steps {
		if st.before == nil {
			continue
		}
		if err := updateListed(tx, st.after); err != nil {
			if isReferred(err) {
				return Problems{{Row: st.listed.Row, Column: "site", Text: fmt.Sprintf(
					"%s holds seats of %s: return them before it moves to a site of %s", st.before.Name, st.before.Owner, st.after.Owner)}}
			}
			return fmt.Errorf("change server %s: %w", st.after.ID, err)
		}
	}
	return nil
}

// makeWay gives up the name that a server leaves, since another may take it, and takes an absorbed server away after what
// was reported of it. It has no owner, so nothing but its place above others refers to it.
func makeWay(tx *db.Tx, st step) error {
	if st.absorbs != nil {
		const reported = `facts, licenses, rights, clock, report_digest, report_at, changed_at, last_seen, asked, parent_host, clone_suspected`
		_, err := tx.Exec(`UPDATE servers SET (`+reported+`) = (SELECT `+reported+` FROM servers r WHERE r.id = $2) WHERE id = $1`,
			st.after.ID, st.absorbs.ID)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE servers SET parent = $1 WHERE parent = $2`, st.after.ID, st.absorbs.ID); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM servers WHERE id = $1`, st.absorbs.ID); err != nil {
			return err
		}
	}
	if st.before != nil && (st.before.Name != st.after.Name || st.before.Site != st.after.Site) {
		if _, err := tx.Exec(`UPDATE servers SET name = id WHERE id = $1`, st.after.ID); err != nil {
			return err
		}
	}
	return nil
}

// insertNew writes new servers, many with one statement, in the order of their height.
func insertNew(tx *db.Tx, steps []step) error {
	added := map[string]Server{}
	for _, st := range steps {
		if st.before == nil {
			added[st.after.ID] = st.after
		}
	}
	levels := make([][]Server, 3)
	for _, st := range steps {
		if st.before != nil {
			continue
		}
		level := 0
		for above, new := added[st.after.Parent]; new && level < len(levels)-1; above, new = added[above.Parent] {
			level++
		}
		levels[level] = append(levels[level], st.after)
	}
	const most = 200
	for _, servers := range levels {
		for len(servers) > 0 {
			n := min(most, len(servers))
			if err := insertServers(tx, servers[:n]); err != nil {
				return fmt.Errorf("add %d servers: %w", n, err)
			}
			servers = servers[n:]
		}
	}
	return nil
}

func insertServers(tx *db.Tx, servers []Server) error {
	var values []string
	var args []any
	for _, s := range servers {
		row, err := serverValues(s)
		if err != nil {
			return err
		}
		marks := make([]string, len(row))
		for i := range row {
			marks[i] = fmt.Sprintf("$%d", len(args)+i+1)
		}
		values = append(values, "("+strings.Join(marks, ", ")+")")
		args = append(args, row...)
	}
	_, err := tx.Exec(`INSERT INTO servers (id, name, host_id, host_id_type, host_key, topic_name, type, role, version, parent, site, owner,
		agent, agent_named, listed, address, driver, tls_sha256, labels, clone_suspected) VALUES `+strings.Join(values, ", "), args...)
	return err
}

func updateListed(tx *db.Tx, s Server) error {
	row, err := serverValues(s)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE servers SET name = $2, host_id = $3, host_id_type = $4, host_key = $5, topic_name = $6, type = $7, role = $8,
		version = $9, parent = $10, site = $11, owner = $12, agent = $13, agent_named = $14, listed = $15, address = $16, driver = $17,
		tls_sha256 = $18, labels = $19, clone_suspected = $20 WHERE id = $1`, row...)
	return err
}

// serverValues are what an import writes of a server, in the order of both statements.
func serverValues(s Server) ([]any, error) {
	labels, err := json.Marshal(s.Labels)
	if err != nil {
		return nil, err
	}
	return []any{
		s.ID, s.Name, null(s.HostID), null(s.HostIDType), null(hostKey(s.HostID)), null(s.TopicName), s.Type, s.Role, s.Version,
		null(s.Parent), null(s.Site), null(s.Owner), null(s.Agent), number(s.AgentNamed), number(s.Listed),
		s.Address, s.Driver, s.TLSSHA256, string(labels), number(s.CloneSuspected),
	}, nil
}

// tellSteps leaves the rows of the feed and the audit entry.
func tellSteps(tx *db.Tx, actor audit.Actor, steps []step, result Result) error {
	var changes []string
	for _, st := range steps {
		if err := tx.Changed(KindServer, st.after.ID); err != nil {
			return err
		}
		if st.absorbs != nil {
			if err := tx.Changed(KindServer, st.absorbs.ID); err != nil {
				return err
			}
		}
	}
	for i, change := range result.Changes {
		if i == 50 { // the entry has its limit, and whoever wants more has the file
			changes = append(changes, fmt.Sprintf("and %d more", len(result.Changes)-i))
			break
		}
		changes = append(changes, clip(change.Server)+": "+clipTo(change.String(), 150))
	}
	return audit.Record(tx, audit.Entry{Actor: actor, Action: "import", Subject: "inventory", Detail: map[string]any{
		"added": result.Added, "changed": result.Changed, "changes": changes,
	}})
}
