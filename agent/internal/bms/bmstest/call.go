package bmstest

// Call is a kind of call that a server can be told to refuse.
type Call string

// The calls of a bms.System that name a host, and that of a bms.Explainer.
const (
	CallRequest  Call = "request"
	CallReport   Call = "report"
	CallResponse Call = "response"
	CallExplain  Call = "explain"
)
