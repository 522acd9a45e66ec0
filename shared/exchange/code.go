package exchange

import "slices"

// Retry says when the same thing may be tried again.
type Retry string

// The three answers to "again?".
const (
	RetryNever         Retry = "never"          // not with these bytes; something must change first
	RetryLater         Retry = "later"          // the same bytes again after a pause
	RetryAfterOperator Retry = "after-operator" // a person must act first
)

// Code is a reason that an operator can act on.
type Code string

// Codes of one right, of a host, of a message, of the moment.
const (
	RightUnknown    Code = "right-unknown"
	RightDenied     Code = "right-denied"
	RightExpired    Code = "right-expired"
	RightNotStarted Code = "right-not-started"
	RightExhausted  Code = "right-exhausted"
	RightSuspended  Code = "right-suspended"

	WholeServerReturnOnly Code = "whole-server-return-only"
	ReturnLimitReached    Code = "return-limit-reached"

	HostUnknown    Code = "host-unknown"
	HostReturned   Code = "host-returned"
	HostObsolete   Code = "host-obsolete"
	CloneSuspected Code = "clone-suspected"
	BindingBroken  Code = "binding-broken"

	ClockWoundBack Code = "clock-wound-back"
	ClockSkewed    Code = "clock-skewed"

	ResponseStale       Code = "response-stale"
	ResponseExpired     Code = "response-expired"
	ResponseForAnother  Code = "response-for-another-host"
	SignatureInvalid    Code = "signature-invalid"
	KeyUnknown          Code = "key-unknown"
	ConfirmationPending Code = "confirmation-pending"
	Superseded          Code = "superseded"
	OutOfStep           Code = "out-of-step"

	Busy        Code = "busy"
	Unavailable Code = "unavailable"
	RateLimited Code = "rate-limited"

	Malformed Code = "malformed"
	TooLarge  Code = "too-large"
	Unknown   Code = "unknown" // a code that this version does not know, or no code at all
)

// Meaning is what a person reads of a code.
type Meaning struct {
	Retry Retry
	Text  string // what happened
	Hint  string // what to do next
}

// Meanings has every code once; a test walks it.
var Meanings = map[Code]Meaning{
	RightUnknown:    {RetryAfterOperator, "the activation server does not know this activation ID", "compare the entitlement certificate with the vendor's portal"},
	RightDenied:     {RetryAfterOperator, "the activation server denied this right by its policy", "ask the vendor's support which policy applies"},
	RightExpired:    {RetryAfterOperator, "the right has expired", "renew the entitlement, then retry"},
	RightNotStarted: {RetryAfterOperator, "the right has not started yet", "retry on or after its start date"},
	RightExhausted:  {RetryAfterOperator, "the activation server has no seat of this right left", "find the host that holds it: licet check"},
	RightSuspended:  {RetryAfterOperator, "the right is on hold at the vendor", "ask the vendor to release the entitlement"},

	WholeServerReturnOnly: {RetryNever, "this server can only return all of its licenses at once", "return the whole server"},
	ReturnLimitReached:    {RetryAfterOperator, "no more returns are allowed for this right", "ask the vendor's support for another return"},

	HostUnknown:    {RetryAfterOperator, "the activation server does not know this host", "compare the host ID with the server's"},
	HostReturned:   {RetryAfterOperator, "the host is marked as returned", "ask the vendor to make it active again"},
	HostObsolete:   {RetryAfterOperator, "the host is marked as obsolete", "ask the vendor to make it active again"},
	CloneSuspected: {RetryAfterOperator, "two machines seem to use one host ID", "stop the copy, then retry"},
	BindingBroken:  {RetryAfterOperator, "the server's license store no longer fits its hardware", "ask the vendor's support for a repair"},

	ClockWoundBack: {RetryAfterOperator, "the server's clock was set back", "set the clock right, then retry"},
	ClockSkewed:    {RetryAfterOperator, "the server's clock is too far off", "set the clock right, then retry"},

	ResponseStale:       {RetryNever, "the response is older than what the server holds", "nothing: the agent gets back into step by itself"},
	ResponseExpired:     {RetryNever, "the response is past its time", "nothing: the agent asks again"},
	ResponseForAnother:  {RetryNever, "the response is for another host or another request", "nothing: the agent asks again"},
	SignatureInvalid:    {RetryNever, "the signature does not fit", "look for a proxy that alters traffic"},
	KeyUnknown:          {RetryAfterOperator, "it is signed with a key that is not trusted here", "give the server the activation server's new keys"},
	ConfirmationPending: {RetryLater, "a removal waits for its confirmation", "nothing: the agent confirms it"},
	Superseded:          {RetryNever, "a newer order of this host is known", "nothing: the agent waits for the newer order"},
	OutOfStep:           {RetryNever, "server and activation server are out of step", "nothing: the agent sends a report"},

	Busy:        {RetryLater, "the activation server is busy", "nothing: the same bytes go again"},
	Unavailable: {RetryLater, "the activation server is not available", "nothing: the same bytes go again"},
	RateLimited: {RetryLater, "too many requests in a short time", "nothing: the same bytes go again"},

	Malformed: {RetryNever, "the message cannot be read", "report this as a bug, with the digest"},
	TooLarge:  {RetryNever, "the message is too large", "report this as a bug, with the digest"},
	Unknown:   {RetryAfterOperator, "the activation server refused without a code that is known here", "read the detail, then retry"},
}

// Known is the code itself, or Unknown if this version does not know it.
func (c Code) Known() Code {
	if _, ok := Meanings[c]; ok {
		return c
	}
	return Unknown
}

// Meaning is what a person reads of the code.
func (c Code) Meaning() Meaning { return Meanings[c.Known()] }

// Transient reports whether a refusal with this code says nothing about the message: it is not kept for a replay.
func (c Code) Transient() bool { return slices.Contains([]Code{Busy, Unavailable, RateLimited}, c) }
