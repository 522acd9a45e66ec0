// Package ledger keeps the seats: what was bought, what every BMS server should hold of it, what the activation server may
// have been led to hold, and what it has proved.
//
// Stored are counts, never a phase. The rules stand in files that know no database (counts, phase, judge, refusal, spread);
// the rows and the operations on them stand beside. Every operation takes the transaction of its caller, writes its audit
// entry into it and leaves rows of kind FeedKind in the change feed. An error of type Refusal (errors.Is with ErrRefused)
// changed nothing and may be shown to a person; after any error the caller must roll back.
package ledger

// FeedKind is the kind of the ledger's rows in the change feed; their key is the server's ID.
const FeedKind = "ledger"
