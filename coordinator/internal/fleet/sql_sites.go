package fleet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// KindSite is a site's kind in the change feed; the key is its ID.
const KindSite = "site"

// SitesResult is what an import of sites did.
type SitesResult struct {
	Added     int
	Changed   int
	Unchanged int
}

// ImportSites takes the sites over. Those that the file does not name stay. A site's servers get its owner; while any of
// them holds seats the owner cannot change, and the error is Problems: nothing was changed.
func ImportSites(tx *db.Tx, actor audit.Actor, sites Sites) (SitesResult, error) {
	stored, err := ListSites(tx)
	if err != nil {
		return SitesResult{}, err
	}
	var did SitesResult
	var touched []string
	for _, site := range sites.Sites {
		at := slices.IndexFunc(stored, func(s Site) bool { return s.ID == site.ID })
		switch {
		case at < 0:
			did.Added++
		case same(stored[at], site):
			did.Unchanged++
			continue
		default:
			did.Changed++
		}
		if err := writeSite(tx, site); err != nil {
			if at >= 0 && isReferred(err) {
				return SitesResult{}, Problems{{Column: "owner", Text: fmt.Sprintf(
					"site %s: its servers hold seats of %s: return them before the site becomes %s's", site.ID, stored[at].Owner, site.Owner)}}
			}
			return SitesResult{}, fmt.Errorf("write site %s: %w", site.ID, err)
		}
		touched = append(touched, site.ID)
		if at >= 0 && stored[at].Owner != site.Owner {
			if err := changedAt(tx, site.ID); err != nil {
				return SitesResult{}, err
			}
		}
	}
	if len(touched) == 0 {
		return did, nil
	}
	return did, audit.Record(tx, audit.Entry{Actor: actor, Action: "import", Subject: "sites", Detail: map[string]any{
		"added": did.Added, "changed": did.Changed, "sites": some(touched),
	}})
}

// ListSites is every site, by ID.
func ListSites(tx *db.Tx) ([]Site, error) { return querySites(tx, "") }

// GetSite is the site; false if there is none.
func GetSite(tx *db.Tx, id string) (Site, bool, error) {
	sites, err := querySites(tx, "WHERE t.id = $1", id)
	if err != nil || len(sites) == 0 {
		return Site{}, false, err
	}
	return sites[0], true, nil
}

func querySites(tx *db.Tx, where string, args ...any) ([]Site, error) {
	rows, err := tx.Query(`SELECT t.id, t.name, t.owner, t.time_zone, t.carriers,
		(SELECT COUNT(*) FROM servers s WHERE s.site = t.id) FROM sites t `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	var sites []Site
	for rows.Next() {
		var site Site
		var carriers string
		err := rows.Scan(&site.ID, &site.Name, &site.Owner, &site.TimeZone, &carriers, &site.Servers)
		if err == nil {
			err = json.Unmarshal([]byte(carriers), &site.Carriers)
		}
		if err != nil {
			return nil, fmt.Errorf("read sites: %w", err)
		}
		sites = append(sites, site)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	slices.SortFunc(sites, func(a, b Site) int { return cmp.Compare(a.ID, b.ID) })
	return sites, nil
}

func writeSite(tx *db.Tx, site Site) error {
	carriers, err := json.Marshal(site.Carriers)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO sites (id, name, owner, time_zone, carriers) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, owner = excluded.owner, time_zone = excluded.time_zone, carriers = excluded.carriers`,
		site.ID, site.Name, site.Owner, site.TimeZone, string(carriers))
	if err != nil {
		return err
	}
	return tx.Changed(KindSite, site.ID)
}

// changedAt leaves a row in the feed for every server of the site.
func changedAt(tx *db.Tx, site string) error {
	servers, err := queryServers(tx, "WHERE s.site = $1", site)
	if err != nil {
		return err
	}
	for _, server := range servers {
		if err := tx.Changed(KindServer, server.ID); err != nil {
			return err
		}
	}
	return nil
}

func same(a, b Site) bool {
	return a.Name == b.Name && a.Owner == b.Owner && a.TimeZone == b.TimeZone && slices.Equal(a.Carriers, b.Carriers)
}

// isReferred reports whether a statement failed because other rows refer to what it changes. Which rows, no noun below the
// ledger knows; what they mean to a person is that seats are held.
func isReferred(err error) bool {
	const foreignKeyPostgres, foreignKeySQLite = "23503", 787
	if e := (interface{ SQLState() string })(nil); errors.As(err, &e) {
		return e.SQLState() == foreignKeyPostgres
	}
	if e := (interface{ Code() int })(nil); errors.As(err, &e) {
		return e.Code() == foreignKeySQLite
	}
	return false
}

// some is a list for an audit entry, short enough for one.
func some(list []string) []string {
	const most = 100
	if len(list) <= most {
		return list
	}
	return append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
}
