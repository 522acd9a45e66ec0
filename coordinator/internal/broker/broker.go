// Package broker is the seam between MQTT and the coordinator: messages of agents come in by a Handler, documents for
// agents go out by an Outbox. Embedded implements both in this process. Nothing outside of this package knows an MQTT library.
package broker

import (
	"context"
	"errors"
)

// Message is what an agent said. The broker has checked that the agent may speak on the topic; who handles it checks again.
type Message struct {
	Agent   string // client ID of the connection
	Topic   string
	Payload []byte // the handler's to keep
}

// Handler takes a message and calls done once, from any goroutine, after the commit. With nil the agent is told that its
// message has arrived. With an error it is not, and its connection is closed: it comes back and says it again. The context
// ends when nobody waits for done any more. Messages of one agent come one after the other, those of different agents at once.
type Handler func(ctx context.Context, m Message, done func(error))

// Outbox sends a document to whoever subscribed to the topic. A retained one is also kept for those who come later, until
// an empty payload takes its place. No error means that it is on its way, not that it arrived.
type Outbox interface {
	Publish(ctx context.Context, topic string, payload []byte, retained bool) error
}

// Why the broker itself refuses what a client says, before it is a Message.
var (
	ErrTooLarge  = errors.New("the packet is larger than any document may be")
	ErrForbidden = errors.New("no agent of this name may do that")
)
