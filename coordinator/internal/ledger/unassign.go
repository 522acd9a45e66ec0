package ledger

import (
	"fmt"
	"slices"

	"github.com/licet-project/licet/coordinator/internal/audit"
	"github.com/licet-project/licet/coordinator/internal/db"
)

// Unassign lowers what each server should hold of the product to Count, or of every product to nothing if no part number is
// given. Seats of which nothing was sent are free at once. The others are a return: they are ordered down in the same
// transaction, and stay held until the activation server's receipt; the result says how many.
func Unassign(tx *db.Tx, actor audit.Actor, r Request) (Result, error) {
	servers, err := r.check(0)
	if err != nil {
		return Result{}, err
	}
	if r.PartNumber == "" && r.Count != 0 {
		return Result{}, &NotAssignableError{PartNumber: "every product", Why: "a count needs a product"}
	}
	found, err := members(tx, servers...)
	if err != nil {
		return Result{}, err
	}
	seats, err := seatsOf(tx, servers...)
	if err != nil {
		return Result{}, err
	}
	if err := lowerable(servers, found); err != nil {
		return Result{}, err
	}
	expiry, err := expiryOrder(tx, r.PartNumber)
	if err != nil {
		return Result{}, err
	}
	result := Result{Servers: len(servers)}
	b := booking{tx: tx}
	var touched, ordered []string
	for _, id := range servers {
		own := slices.DeleteFunc(slices.Clone(seats[id]), func(s seat) bool { return r.PartNumber != "" && s.partNumber != r.PartNumber })
		slices.SortStableFunc(own, func(a, b seat) int { return expiry[a.line] - expiry[b.line] })
		took, down, err := takeAway(&b, own, r.Count, &result)
		if err != nil {
			return Result{}, &NotAssignableError{PartNumber: r.PartNumber, Reasons: []Reason{found[id].because("%s", err.Error())}}
		}
		if len(took) == 0 {
			result.Unchanged++
			continue
		}
		touched = append(touched, id)
		if down {
			ordered = append(ordered, id)
		}
		err = audit.Record(tx, audit.Entry{Actor: actor, Action: "unassign", Subject: id, Detail: map[string]any{
			"product": r.PartNumber, "count": r.Count, "lines": took, "return": down,
		}})
		if err != nil {
			return Result{}, err
		}
	}
	if err := b.close(); err != nil {
		return Result{}, err
	}
	if err := orders(tx, ordered...); err != nil {
		return Result{}, err
	}
	return result, changed(tx, touched...)
}

// takeAway notes what is left of the seats, and whether that is a new order.
func takeAway(b *booking, seats []seat, count int, result *Result) (took map[string]int, down bool, err error) {
	options, total := make([]option, len(seats)), 0
	for i, s := range seats {
		options[i] = option{counts: s.Counts}
		total += s.Want
	}
	if total < count {
		return nil, false, fmt.Errorf("it should hold %d, and %d would be more", total, count)
	}
	wants, _ := spread(count, options)
	for i, before := range seats {
		after := before
		after.Want, after.Ordered = wants[i], min(before.Ordered, wants[i])
		if after.Counts == before.Counts {
			continue
		}
		b.put(after, before.Counts)
		result.Freed += before.Held() - after.Held()
		result.Returns += max(after.Held()-after.Want, 0)
		down = down || after.Ordered < before.Ordered
		if took == nil {
			took = make(map[string]int)
		}
		took[after.line] = after.Want
	}
	return took, down, nil
}

// lowerable is why the servers cannot be changed now, or nil.
func lowerable(servers []string, found map[string]member) error {
	refused, adopting := &StateError{What: "nothing is unassigned"}, &AdoptingError{}
	for _, id := range servers {
		m, ok := found[id]
		switch {
		case !ok:
			refused.Reasons = append(refused.Reasons, Reason{Server: id, Why: "no such server"})
		case m.releaseKey != "":
			refused.Reasons = append(refused.Reasons, m.because("it is being released"))
		case m.adopting:
			adopting.Servers = append(adopting.Servers, id)
		}
	}
	switch {
	case len(refused.Reasons) > 0:
		return refused
	case len(adopting.Servers) > 0:
		return adopting
	}
	return nil
}

// expiryOrder numbers the lines of the product (of every product, if none is given) by their expiry.
func expiryOrder(tx *db.Tx, partNumber string) (map[string]int, error) {
	refs, err := texts(tx, `SELECT ref FROM lines WHERE part_number = $1 OR $1 = '' ORDER BY COALESCE(expires, 9223372036854775807), ref`, partNumber)
	if err != nil {
		return nil, fmt.Errorf("read the lines of %s: %w", partNumber, err)
	}
	place := make(map[string]int, len(refs))
	for i, ref := range refs {
		place[ref] = i
	}
	return place, nil
}
