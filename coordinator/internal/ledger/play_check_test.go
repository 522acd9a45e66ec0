package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

func (p *play) backUp(*rapid.T) {
	p.backup, p.backupModel = map[string][][]any{}, p.model.copy()
	require.NoError(p.w, p.w.d.View(context.Background(), func(tx *db.Tx) error {
		for _, table := range ledgerTables {
			rows, err := everyRow(tx, table)
			if err != nil {
				return err
			}
			p.backup[table] = rows
		}
		return nil
	}))
}

func everyRow(tx *db.Tx, table string) (all [][]any, err error) {
	rows, err := tx.Query("SELECT * FROM " + table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	for rows.Next() && err == nil {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err = rows.Scan(into...)
		all = append(all, values)
	}
	return all, errors.Join(err, rows.Err())
}

// restore puts the backup back and says so, as a restore does, in one transaction.
func (p *play) restore(*rapid.T) {
	if p.backup == nil {
		return
	}
	p.w.must(func(tx *db.Tx) error {
		var newest int64
		if err := tx.QueryRow("SELECT epoch FROM ledger_state").Scan(&newest); err != nil {
			return err
		}
		for _, table := range slices.Backward(ledgerTables) {
			if _, err := tx.Exec("DELETE FROM " + table); err != nil {
				return err
			}
		}
		for _, table := range ledgerTables {
			for _, values := range p.backup[table] {
				if _, err := tx.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%s)", table, marks(1, len(values))), values...); err != nil {
					return err
				}
			}
		}
		// Time goes faster here than seconds do.
		_, err := NewEpochAbove(tx, audit.Operator, newest, "restored")
		return err
	})
	p.model = p.backupModel.copy()
	p.model.newEpoch()
}

// check is after every step; the invariants were asked with it.
func (p *play) check(*rapid.T) {
	var all []Server
	require.NoError(p.w, p.w.d.View(context.Background(), func(tx *db.Tx) (err error) {
		all, err = View(tx)
		return err
	}))
	for _, s := range all {
		for _, a := range s.Assignments {
			p.seen[string(a.Phase)]++
		}
		for _, c := range s.Conditions {
			p.seen[string(c)]++
		}
		for _, line := range p.lines {
			require.Equal(p.w, p.model.at(s.ID, line), s.at(line).Counts, "%s %s", s.ID, line)
		}
		require.Equal(p.w, p.model.servers[s.ID].adopting, slices.Contains(s.Conditions, IsAdopting), s.ID)
		require.Equal(p.w, p.model.servers[s.ID].stranded, slices.Contains(s.Conditions, IsStranded), s.ID)
	}
	for _, line := range p.lines {
		require.LessOrEqual(p.w, p.las.used(line), p.las.bought[line])
		if p.model.adoptingAny() {
			continue
		}
		p.seen["consumption compared"]++
		require.LessOrEqual(p.w, p.model.sum(line), p.las.bought[line], "no seat twice")
		for _, server := range p.servers {
			h := p.las.host(server)
			require.LessOrEqual(p.w, h.holds[line]+h.pending[line], p.model.at(server, line).Held(), "%s consumes what the ledger thinks free", server)
		}
	}
}

// settleDown lets everybody do what there is to do until nobody does anything, and then everybody must agree.
func (p *play) settleDown() {
	const rounds = 60
	for round := range rounds {
		busy := false
		for _, server := range p.servers {
			a := p.agents[server]
			busy = p.adoptOne(server) || busy
			busy = p.claimOne(server) || busy
			if n := len(a.retained); n > 0 {
				a.accept(a.retained[n-1])
				a.fresh = true
			}
			for p.stepAgent(server, false) {
				busy = true
			}
			p.reportOne(server)
			busy = p.postReleases(false) || busy
			p.check(nil)
		}
		if !busy {
			break
		}
		require.Less(p.w, round, rounds-1, "it never comes to rest")
	}
	for _, server := range p.servers {
		a, seen := p.agents[server], p.w.view(server)
		require.Equal(p.w, seen.Claimed.Digest, a.accepted.Digest, server)
		for _, line := range p.lines {
			assignment, h := seen.at(line), p.las.host(server)
			if assignment.Phase == Failed {
				continue // named, with a code
			}
			require.Zero(p.w, h.pending[line])
			require.Equal(p.w, h.holds[line], a.installed[line], "%s %s", server, line)
			if assignment.Line == "" {
				continue // the ledger never had it: from before Licet, at a server that was adopted by its own report
			}
			require.Equal(p.w, assignment.Ordered, h.holds[line], "%s %s %+v", server, line, assignment)
			require.Equal(p.w, assignment.Ordered, assignment.Exposed, "%s %s", server, line)
			require.Contains(p.w, []Phase{Activated, Freed, Assigned}, assignment.Phase, "%s %s", server, line)
		}
	}
}
