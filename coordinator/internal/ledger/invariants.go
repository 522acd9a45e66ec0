package ledger

import (
	"fmt"
	"strings"

	"github.com/licet-project/licet/coordinator/internal/db"
)

// Invariant is something that is true at every commit. SQL returns what violates it: one text for each violation, which
// names what is wrong without a secret.
type Invariant struct {
	Name string // a few words, for a person
	SQL  string
}

// Invariants is every one of them.
func Invariants() []Invariant {
	return []Invariant{
		{"held of a line is the sum over its assignments", `SELECT n.ref FROM lines n LEFT JOIN assignments a ON a.line = n.ref
			GROUP BY n.ref, n.held HAVING n.held <> COALESCE(SUM(a.held), 0)`},
		{"held of an assignment is the greatest of want, ordered and exposed", `SELECT server || ' ' || line FROM assignments
			WHERE held <> CASE WHEN want >= ordered AND want >= exposed THEN want WHEN ordered >= exposed THEN ordered ELSE exposed END`},
		{"no more is held than was bought", `SELECT ref FROM lines WHERE held > bought AND overcommitted = 0`},
		{"what is marked as overcommitted is", `SELECT ref FROM lines WHERE held <= bought AND overcommitted = 1`},
		{"no count is negative", `SELECT server || ' ' || line FROM assignments
			WHERE want < 0 OR ordered < 0 OR exposed < 0 OR proved < 0 OR claimed < 0 OR held < 0
			UNION ALL SELECT ref FROM lines WHERE held < 0 OR bought < 0`},
		{"a claimed document is covered by what is exposed", `SELECT server || ' ' || line FROM assignments WHERE exposed < claimed`},
		{"what is proved is covered by what is exposed", `SELECT server || ' ' || line FROM assignments WHERE exposed < proved`},
		{"seats are held at sites of their owner", `SELECT a.server || ' ' || a.line FROM assignments a
			LEFT JOIN servers s ON s.id = a.server LEFT JOIN lines n ON n.ref = a.line
			WHERE a.owner <> COALESCE(s.owner, '') OR a.owner <> COALESCE(n.owner, '')`},
		{"what is ordered is in the claimed document or in one to be claimed", `SELECT a.server || ' ' || a.line FROM assignments a
			JOIN ledger_servers l ON l.server = a.server
			WHERE a.ordered <> a.claimed AND l.claimed_digest <> '' AND l.claimed_hold = 0 AND l.generation = l.claimed_generation`},
		{"without a claimed document nothing is claimed", `SELECT a.server || ' ' || a.line FROM assignments a
			JOIN ledger_servers l ON l.server = a.server WHERE a.claimed <> 0 AND (l.claimed_digest = '' OR l.claimed_hold = 1)`},
		{"a claimed document is kept with its digest and place", `SELECT server FROM ledger_servers
			WHERE (claimed_digest = '') <> (claimed_payload IS NULL) OR claimed_digest <> '' AND (claimed_agent = '' OR claimed_topic = '')`},
		{"orders and claims are not ahead of the generation", `SELECT server FROM ledger_servers
			WHERE order_generation > generation OR claimed_generation > generation OR claimed_order > claimed_generation OR claimed_order > order_generation`},
		{"every server is of the ledger's epoch", `SELECT l.server FROM ledger_servers l
			WHERE l.epoch <> COALESCE((SELECT epoch FROM ledger_state), 0)`},
		{"only adopting servers hold or were restored", `SELECT server FROM ledger_servers WHERE adopting = 0 AND (hold = 1 OR restored = 1)`},
		{"an adopting server has claimed nothing but a hold document", `SELECT server FROM ledger_servers
			WHERE adopting = 1 AND claimed_digest <> '' AND claimed_hold = 0`},
		{"an adopting server is not being released", `SELECT server FROM ledger_servers WHERE adopting = 1 AND release_key <> ''`},
		{"no proof and no refusal is of an order to come", `SELECT a.server || ' ' || a.line FROM assignments a JOIN ledger_servers l ON l.server = a.server
			WHERE a.proved_epoch > l.epoch OR a.proved_epoch = l.epoch AND a.proved_generation > l.order_generation
			OR a.code_epoch > l.epoch OR a.code_epoch = l.epoch AND a.code_generation > l.order_generation`},
		{"a server that is being released is ordered down", `SELECT a.server || ' ' || a.line FROM assignments a JOIN ledger_servers l ON l.server = a.server
			WHERE l.release_key <> '' AND (a.want <> 0 OR a.ordered <> 0)`},
		{"a release is of the order that the server has", `SELECT server FROM ledger_servers
			WHERE release_key <> '' AND release_generation <> order_generation`},
		{"every entitlement has lines, and every line right of its own", `SELECT e.ref FROM entitlements e
			WHERE NOT EXISTS (SELECT 1 FROM lines n WHERE n.entitlement = e.ref)
			UNION ALL SELECT MIN(ref) FROM lines GROUP BY right_id HAVING COUNT(*) > 1`},
		{"every entitlement was imported by somebody", `SELECT e.ref FROM entitlements e
			WHERE NOT EXISTS (SELECT 1 FROM audit u WHERE u.subject = e.ref AND u.action = 'import')`},
		{"every assignment was decided by somebody", `SELECT DISTINCT a.server FROM assignments a
			WHERE NOT EXISTS (SELECT 1 FROM audit u WHERE u.subject = a.server AND u.action IN ('assign', 'adopt'))`},
	}
}

// Violation is an invariant that is broken, and where.
type Violation struct {
	Invariant string
	Rows      []string
}

// maxRows is how many places a text names of one violation.
const maxRows = 5

func (v Violation) String() string {
	if len(v.Rows) <= maxRows {
		return v.Invariant + ": " + strings.Join(v.Rows, ", ")
	}
	return fmt.Sprintf("%s: %s and %d more", v.Invariant, strings.Join(v.Rows[:maxRows], ", "), len(v.Rows)-maxRows)
}

// Verify asks every invariant, in one statement over one snapshot, and returns those that are broken.
func Verify(tx *db.Tx) ([]Violation, error) {
	all := Invariants()
	questions := make([]string, len(all))
	for i, invariant := range all {
		questions[i] = fmt.Sprintf("SELECT %d AS place, q.* FROM (%s) q", i, invariant.SQL)
	}
	rows := make([][]string, len(all))
	err := each(tx, strings.Join(questions, " UNION ALL "), nil, func(scan func(...any) error) error {
		var place int
		var row string
		err := scan(&place, &row)
		rows[place] = append(rows[place], row)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("verify the ledger: %w", err)
	}
	var broken []Violation
	for i, invariant := range all {
		if len(rows[i]) > 0 {
			broken = append(broken, Violation{invariant.Name, rows[i]})
		}
	}
	return broken, nil
}
