// Package exchangetest is the reference License Activation Server: what licet-sim runs, and what tests run in process, as
// net/http/httptest is to net/http. It sells what an order book says and speaks the reference format of package exchange.
//
//	las := exchangetest.Start(t, exchangetest.Options{})            // on a loopback port, until the test ends
//	las, err := exchangetest.New(exchangetest.Options{Dir: folder}) // an http.Handler; Process and Direct need no HTTP
//
// # Rules
//
// Per host it keeps the sequence, the fence (the highest order seen), the rights, the removals that wait for their
// confirmation, and the host's key, pinned at first contact: another key is refused as clone-suspected. One lock makes
// everything happen one after the other, and an answer leaves only when all it could have seen is on disk.
//
//   - The same bytes get the same bytes, for ever, refusals included. Only busy, unavailable and rate-limited are not kept,
//     nor is the refusal of what is not a message at all.
//   - A request is refused superseded below the fence, else out-of-step if its last sequence is not the host's. Else it sets
//     the rights that it names to absolute counts, all at once; others stay. A raise takes back the host's own pending
//     removals first. Rights that cannot be raised are named with a code and stay as they were; lowering is always possible.
//   - A report is always accepted and changes no right. Both raise sequence and fence; neither lowers a fence.
//   - A confirmation names a response by sequence and digest, and frees every removal up to that sequence. Its receipt has
//     the order of that response, and what the host holds at this moment under the host's sequence of this moment.
//   - A release or fence below the fence is refused superseded with status 409. Else it raises sequence and fence; one that
//     takes leaves the host nothing. The same key gets the same receipt; the same key for another release is refused.
//   - An entitlement on hold gives right-suspended, an obsolete one and a product that is managed elsewhere right-denied.
//
// # Faults
//
// POST /v1/faults, or Server.Fault, orders one; GET /v1/faults, or Server.Faults, tells how often each struck. All but the
// last three can be limited by "host" and "operation" (request, report, confirm, release), and strike "count" times (once by
// default), the oldest order first:
//
//	{"fault":"delay","ms":500,"after":"receive"}       waits before anything is changed, or "after":"commit"
//	{"fault":"refuse","code":"busy"}                   refuses a whole message; a code that is not transient is kept for
//	                                                   that digest. A code about a right (right-..., return-limit-reached,
//	                                                   whole-server-return-only) refuses the next right that a request
//	                                                   changes, or lowers; "activation_id" says which
//	{"fault":"drop-reply","after":"commit"}            closes the connection without an answer when everything is durable,
//	                                                   or before anything is changed with "after":"receive"
//	{"fault":"duplicate"}                              the message arrives twice; the second answer is sent
//	{"fault":"corrupt-signature"}                      damages the answer on its way; what is kept stays whole
//	{"fault":"shift-clock","seconds":-3600}            the clock is off by so much from now on, until 0 or a restart
//	{"fault":"rotate-keys"}                            a new key signs from now on; the old ones stay published
//	{"fault":"forget-right","host":"...","activation_id":"..."}   takes one right off a host at once, behind everybody's back
//
// Faults are not kept over a restart; what rotate-keys and forget-right did is.
package exchangetest
