package entitlement

import "strings"

// field is what a label or a heading announces.
type field int

const (
	unknown field = iota

	entitlementID
	soldTo
	orderNumber
	issued
	kind

	activationID
	product
	version
	partNumber
	orderLine
	count
	remaining
	start
	expires
)

// labels are the words for each field, in their plain spelling (see plainLabel). Of two columns for one field the one whose
// label comes first here is taken. A new wording of the vendor's is one word here.
var labels = map[field][]string{
	entitlementID: {"entitlement id", "entitlement number", "entitlement no"},
	soldTo:        {"sold to", "sold to name", "customer", "customer name", "company"},
	orderNumber:   {"order number", "order no", "order id", "sales order"},
	issued:        {"issued", "issued on", "date issued", "issue date", "date"},
	kind:          {"type", "entitlement type", "license type", "kind"},

	activationID: {"activation id", "activation code"},
	product:      {"product", "product name", "product description", "description"},
	version:      {"version", "product version"},
	partNumber:   {"part number", "part no", "part", "item number", "item no", "sku"},
	orderLine:    {"order line", "order line number", "line", "line number", "line no"},
	count:        {"seat count", "seats", "number of seats", "count", "qty", "quantity", "number of licenses", "licenses"},
	remaining:    {"remaining", "remaining count", "remaining seats", "available"},
	start:        {"start date", "start", "starts", "valid from"},
	expires:      {"expiration date", "expiration", "expires", "expires on", "expiry date", "expiry", "end date", "valid until", "valid to"},
}

// inHeader reports whether the field is said once for the whole certificate.
func (f field) inHeader() bool { return f >= entitlementID && f <= kind }

// inLine reports whether the field is a column of the lines.
func (f field) inLine() bool { return f >= activationID && f <= expires }

// column is a heading: what it announces, as it is written.
type column struct {
	field field
	rank  int
	label string
}

// announced is labels the other way round; the rank is the place among the labels of the field.
var announced = func() map[string]column {
	all := make(map[string]column)
	for f, words := range labels {
		for rank, word := range words {
			all[word] = column{field: f, rank: rank}
		}
	}
	return all
}()

// fieldOf is what the label announces, and its rank among the labels of that field.
func fieldOf(label string) (field, int) {
	found := announced[plainLabel(label)]
	return found.field, found.rank
}

var spelling = strings.NewReplacer(".", "", ":", " ", "*", " ", "_", " ", "licence", "license") //nolint:misspell // British spelling is read too

// plainLabel is the label in lower case, without colon, full stop and asterisk, in American spelling.
func plainLabel(label string) string {
	if len(label) > 64 {
		return "" // no label is that long
	}
	return strings.Join(strings.Fields(spelling.Replace(strings.ToLower(label))), " ")
}
