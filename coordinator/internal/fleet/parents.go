package fleet

import (
	"strings"

	"github.com/licet-project/licet/shared/protocol"
)

// parents finds the server above each row's, and checks that every system has its top: a field server stands below a top
// server, or below an Enterprise Server that stands below an Enterprise Central.
func (m *merger) parents(steps []step) {
	final := map[string]*Server{} // as it will be, by site and name
	byID := map[string]*Server{}  // the same, by ID
	rows := map[string]int{}      // row by ID
	for i := range steps {
		st := &steps[i]
		rows[st.after.ID] = st.listed.Row
		byID[st.after.ID] = &st.after
		final[placeKey(st.after.Site, st.after.Name)] = &st.after
		if st.absorbs != nil {
			rows[st.absorbs.ID] = st.listed.Row
		}
	}
	var others []*Server
	for i := range m.servers {
		s := &m.servers[i]
		if rows[s.ID] != 0 {
			continue
		}
		byID[s.ID] = s
		others = append(others, s)
		if s.Site == "" {
			continue
		}
		if final[placeKey(s.Site, s.Name)] != nil {
			continue // a row takes its name: refused already
		}
		final[placeKey(s.Site, s.Name)] = s
	}
	for i := range steps {
		m.parent(&steps[i], final)
	}
	for i := range steps {
		if st := &steps[i]; st.after.Parent != "" {
			if why := notAbove(byID[st.after.Parent], &st.after, byID); why != "" {
				m.problems.add(st.listed.Row, "parent", "%s", why)
			}
		}
	}
	for _, s := range others {
		above := byID[s.Parent]
		if above == nil || rows[above.ID] == 0 || !s.Listed {
			continue
		}
		if why := notAbove(above, s, byID); why != "" {
			m.problems.add(rows[above.ID], "role", "%s stands below it: %s", s.Name, why)
		}
	}
}

// parent resolves the name of the server above.
func (m *merger) parent(st *step, final map[string]*Server) {
	listed, after := st.listed, &st.after
	after.Parent, after.ParentName = "", ""
	switch {
	case listed.Role == protocol.RoleTop && listed.Parent == "":
		return
	case listed.Role == protocol.RoleTop:
		m.problems.add(listed.Row, "parent", "a top server has none: leave it empty, or write the role field")
		return
	case listed.Parent == "":
		m.problems.add(listed.Row, "parent", "it is missing: a field server stands below a top server")
		return
	}
	above := final[placeKey(listed.Site, listed.Parent)]
	if site, name, elsewhere := strings.Cut(listed.Parent, "/"); above == nil && elsewhere {
		above = final[placeKey(site, name)]
	}
	if above == nil {
		m.problems.add(listed.Row, "parent", "there is no server %q at the site %s; at another site it is written site/name", listed.Parent, listed.Site)
		return
	}
	after.Parent, after.ParentName = above.ID, above.Name
}

// notAbove says why the server cannot stand above the other one, or nothing.
func notAbove(above, below *Server, byID map[string]*Server) string {
	if above == nil {
		return "it is not known any more"
	}
	if above.ID == below.ID {
		return "it stands below itself"
	}
	if above.Role == protocol.RoleTop {
		return ""
	}
	top := byID[above.Parent]
	switch {
	case top != nil && top.ID == below.ID:
		return above.Name + " stands below it: this is a circle"
	case above.Type == "ES" && top != nil && top.Role == protocol.RoleTop && top.Type == "EC":
		return ""
	}
	return above.Name + " is not a top server (an ES below an EC would do)"
}
