package cli

import (
	"time"

	"github.com/licet-project/licet/coordinator/client"
)

// callTime is how long the coordinator may take to answer, waiting on behalf of the operator left out.
const callTime = time.Minute

// assignmentTable shows assignments; of one server, its name needs no column.
func assignmentTable(all []client.Assignment, names bool) *grid {
	g := &grid{empty: "no assignments", columns: []column{
		{title: "SERVER"},
		{title: "SITE"},
		{title: "PRODUCT"},
		{title: "ACTIVATION ID", wide: true},
		{title: "LINE", wide: true},
		{title: "WANT", right: true},
		{title: "ORDERED", right: true, wide: true},
		{title: "EXPOSED", right: true, wide: true},
		{title: "PROVED", right: true},
		{title: "HELD", right: true, wide: true},
		{title: "PHASE"},
		{title: "CONDITIONS"},
		{title: "REASON"},
	}}
	for _, a := range all {
		g.add(text(a.Name), text(a.Site), text(a.PartNumber), text(a.ActivationID), text(a.Line), number(a.Want), number(a.Ordered),
			number(a.Exposed), number(a.Proved), number(a.Held), phase(a.Phase), conditions(a.Conditions), toned(a.Reason, bad))
	}
	if !names {
		g.columns = g.columns[2:]
		for i := range g.rows {
			g.rows[i] = g.rows[i][2:]
		}
	}
	return g
}

func phase(p client.Phase) cell {
	switch p {
	case client.Activated:
		return toned(string(p), good)
	case client.Failed:
		return toned(string(p), bad)
	case client.Assigned, client.Freed:
		return text(string(p))
	}
	return toned(string(p), busy)
}

