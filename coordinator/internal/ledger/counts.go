package ledger

// Counts are what is stored of one assignment: one activation ID on one server, in seats.
type Counts struct {
	Want    int // decided
	Ordered int // admitted to the server's desired document
	Exposed int // the most that the activation server may hold, or come to hold, for this server
	Proved  int // what the newest valid receipt says that it holds
}

// Held is how many seats nobody else can have. It falls only when all three fall, and Exposed falls only on proof.
func (c Counts) Held() int { return max(c.Want, c.Ordered, c.Exposed) }

// zero reports whether nothing is decided, sent or held; what was proved is then zero as well.
func (c Counts) zero() bool { return c.Want == 0 && c.Ordered == 0 && c.Exposed == 0 }

// canFail reports whether a refusal means something: there is a raise or a return that could be refused. A right that is
// named with 0 and not held can be refused too, and nothing is missing.
func (c Counts) canFail() bool { return c.Exposed > 0 }

// claim is the counts once a document that carries Ordered may leave.
func (c Counts) claim() Counts {
	c.Exposed = max(c.Exposed, c.Ordered)
	return c
}

// settle is the counts after a receipt that settles: claimed is the count in the document last claimed, held and pending
// are the receipt's. Seats above both are free; a seat that is asked for stays, or it could be given away while the agent
// asks for it again.
func (c Counts) settle(claimed, held, pending int) Counts {
	c.Proved = held
	c.Exposed = max(claimed, held+pending)
	return c
}

// adopted is the counts of a right that the activation server says the server holds; what was wished before counts for
// nothing.
func adopted(held, pending int) Counts {
	return Counts{Want: held, Ordered: held, Exposed: held + pending, Proved: held}
}
