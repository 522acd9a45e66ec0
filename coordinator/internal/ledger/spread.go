package ledger

import "slices"

// option is one line that could serve a server: how many of its seats nobody holds (negative if overcommitted), and what
// this server has of it already. Options stand in the order of expiry, the earliest first.
type option struct {
	left   int
	counts Counts
}

// room is how much more the server could want of this line: what is held for it but not wanted costs nothing.
func (o option) room() int { return max(o.counts.Held()+max(o.left, 0)-o.counts.Want, 0) }

// spread returns what the server should want of each option so that the sum is total, and false if they cannot serve it.
// A line where the server already holds something comes first, then the earliest expiry; several lines are taken only if
// one alone cannot serve what is missing.
func spread(total int, options []option) ([]int, bool) {
	wants := make([]int, len(options))
	missing := total
	for i, o := range options {
		wants[i] = o.counts.Want
		missing -= o.counts.Want
	}
	if missing <= 0 {
		lower(wants, -missing, options)
		return wants, true
	}
	order := make([]int, len(options))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return held01(options[b]) - held01(options[a]) })
	for _, i := range order {
		if options[i].room() >= missing {
			wants[i] += missing
			return wants, true
		}
	}
	for _, i := range order {
		more := min(options[i].room(), missing)
		wants[i] += more
		missing -= more
	}
	return wants, missing == 0
}

// lower takes away what is decided but not ordered first, since it is free at once, then from the latest expiry.
func lower(wants []int, excess int, options []option) {
	for _, floor := range []func(option) int{func(o option) int { return o.counts.Ordered }, func(option) int { return 0 }} {
		for i := len(wants) - 1; i >= 0 && excess > 0; i-- {
			less := min(max(wants[i]-floor(options[i]), 0), excess)
			wants[i] -= less
			excess -= less
		}
	}
}

func held01(o option) int { return min(o.counts.Held(), 1) }
