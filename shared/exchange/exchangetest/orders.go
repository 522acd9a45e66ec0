package exchangetest

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/licet-project/licet/shared/exchange"
)

// Orders is the order book: what the activation server has sold.
type Orders struct{ Entitlements []Entitlement }

// Entitlement is one order.
type Entitlement struct {
	ID          string
	Kind        string // commercial, engineering, demo
	State       string // one of StateDeployed, StateOnHold, StateObsolete
	SoldTo      string
	OrderNumber string
	Lines       []Line
}

// Line is one activation ID with its seats.
type Line struct {
	ActivationID exchange.ActivationID
	PartNumber   string
	Count        int
	Start        time.Time
	Expires      *time.Time // the last second of the last day; nil is permanent
}

// States of an entitlement.
const (
	StateDeployed = "deployed"
	StateOnHold   = "on-hold"
	StateObsolete = "obsolete"
)

// Entitlement is the entitlement with this ID.
func (o Orders) Entitlement(id string) (Entitlement, bool) {
	for _, e := range o.Entitlements {
		if e.ID == id {
			return e, true
		}
	}
	return Entitlement{}, false
}

//go:embed testdata/orders.yaml
var sampleOrders []byte

// SampleOrders is the order book of the samples, with its dates relative to now.
func SampleOrders(now time.Time) Orders {
	o, err := ParseOrders(sampleOrders, now)
	if err != nil {
		panic(err) // it is part of this program, and a test reads it
	}
	return o
}

type ordersFile struct {
	Entitlements []struct {
		ID          string     `yaml:"id"`
		Kind        string     `yaml:"kind"`
		State       string     `yaml:"state"`
		SoldTo      string     `yaml:"sold_to"`
		OrderNumber string     `yaml:"order_number"`
		Lines       []lineFile `yaml:"lines"`
	} `yaml:"entitlements"`
}

type lineFile struct {
	ActivationID string `yaml:"activation_id"`
	PartNumber   string `yaml:"part_number"`
	Count        int    `yaml:"count"`
	Start        string `yaml:"start"`
	Expires      string `yaml:"expires"`
}

// ParseOrders reads an order book, with relative dates (+365d) counted from the day of now in UTC, and names every mistake
// with its place. No message contains an entitlement ID or an activation ID.
func ParseOrders(data []byte, now time.Time) (Orders, error) {
	var file ordersFile
	place, err := readYAML("orders", data, &file)
	if err != nil {
		return Orders{}, err
	}
	b := orderReader{place: place, now: now, ids: map[string]bool{}, rights: map[string]bool{}}
	var orders Orders
	for i, e := range file.Entitlements {
		at := func(key string) []any { return []any{"entitlements", i, key} }
		entitlement := Entitlement{ID: e.ID, Kind: e.Kind, State: e.State, SoldTo: e.SoldTo, OrderNumber: e.OrderNumber}
		if e.ID == "" || b.ids[e.ID] {
			b.wrong("the entitlement's id is missing or there twice", at("id")...)
		}
		b.ids[e.ID] = true
		b.oneOf(e.Kind, []string{"commercial", "engineering", "demo"}, at("kind")...)
		b.oneOf(e.State, []string{StateDeployed, StateOnHold, StateObsolete}, at("state")...)
		if len(e.Lines) == 0 {
			b.wrong("the entitlement has no lines", at("lines")...)
		}
		for j, l := range e.Lines {
			entitlement.Lines = append(entitlement.Lines, b.line(l, "entitlements", i, "lines", j))
		}
		orders.Entitlements = append(orders.Entitlements, entitlement)
	}
	if len(b.problems) == 0 && len(orders.Entitlements) == 0 {
		b.problems = append(b.problems, errors.New("orders: there is no entitlement"))
	}
	if err := errors.Join(b.problems...); err != nil {
		return Orders{}, err
	}
	return orders, nil
}

// orderReader collects every mistake of one order book.
type orderReader struct {
	place       func(path ...any) string
	now         time.Time
	ids, rights map[string]bool
	problems    []error
}

func (b *orderReader) wrong(text string, path ...any) {
	b.problems = append(b.problems, fmt.Errorf("orders %s: %s", b.place(path...), text))
}

func (b *orderReader) oneOf(text string, allowed []string, path ...any) {
	if !slices.Contains(allowed, text) {
		b.wrong(fmt.Sprintf("%v is not one of %s", path[len(path)-1], strings.Join(allowed, ", ")), path...)
	}
}

func (b *orderReader) line(l lineFile, path ...any) Line {
	at := func(key string) []any { return append(slices.Clone(path), key) }
	line := Line{ActivationID: exchange.ActivationID(l.ActivationID), PartNumber: l.PartNumber, Count: l.Count}
	if err := exchange.CheckActivationID(line.ActivationID); err != nil {
		b.wrong(err.Error(), at("activation_id")...)
	} else if b.rights[l.ActivationID] {
		b.wrong("the activation ID is there twice", at("activation_id")...)
	}
	b.rights[l.ActivationID] = true
	if l.PartNumber == "" {
		b.wrong("part_number is missing", at("part_number")...)
	}
	if l.Count < 1 || l.Count > exchange.MaxCount {
		b.wrong(fmt.Sprintf("count is not between 1 and %d", exchange.MaxCount), at("count")...)
	}
	start, err := readDate(l.Start, b.now)
	switch {
	case err != nil:
		b.wrong("start: "+err.Error(), at("start")...)
	case start == nil:
		b.wrong("start: a date is wanted", at("start")...)
	default:
		line.Start = *start
	}
	expires, err := readDate(l.Expires, b.now)
	if err != nil {
		b.wrong("expires: "+err.Error(), at("expires")...)
	} else if expires != nil {
		last := expires.Add(24*time.Hour - time.Second)
		line.Expires = &last
		if last.Before(line.Start) {
			b.wrong("expires before it starts", at("expires")...)
		}
	}
	return line
}

// maxDays bounds a relative date: about a century.
const maxDays = 36_500

// readDate reads 2026-03-06, permanent (nil), or days relative to now: +365d, -30d.
func readDate(text string, now time.Time) (*time.Time, error) {
	if text == "permanent" {
		return nil, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok && (strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-")) {
		if n, err := strconv.Atoi(days); err == nil && n >= -maxDays && n <= maxDays {
			day := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, n)
			return &day, nil
		}
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil, errors.New("neither a date (2026-03-06) nor permanent nor days from today (+365d)")
	}
	return &day, nil
}
