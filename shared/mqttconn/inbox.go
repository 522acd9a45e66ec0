package mqttconn

import (
	"context"
	"errors"
	"sync"
)

type message struct {
	topic    string
	payload  []byte
	retained bool
}

// inbox is the bounded queue between paho and Handle. Paho's handler only puts in and never waits, so paho goes on
// reading and its pings are answered whatever Handle does.
type inbox struct {
	mu      sync.Mutex
	waiting []message
	wake    chan struct{} // capacity 1
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

var errOverflow = errors.New("messages arrive faster than they are handled")

// put keeps the order of its calls. A full queue is an error: dropping one message would go unnoticed, while after a new
// connection everything that is retained comes again.
func (i *inbox) put(m message) error {
	i.mu.Lock()
	full := len(i.waiting) >= maxWaiting
	if !full {
		i.waiting = append(i.waiting, m)
	}
	i.mu.Unlock()
	if full {
		return errOverflow
	}
	select {
	case i.wake <- struct{}{}:
	default:
	}
	return nil
}

func (i *inbox) take() (message, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.waiting) == 0 {
		i.waiting = nil // a burst's memory goes with the burst
		return message{}, false
	}
	m := i.waiting[0]
	i.waiting[0] = message{}
	i.waiting = i.waiting[1:]
	return m, true
}

// run handles what is put in until ctx ends; what still waits then belongs to a connection that is over.
func (i *inbox) run(ctx context.Context, handle func(topic string, payload []byte, retained bool)) {
	for ctx.Err() == nil {
		if m, ok := i.take(); ok {
			if handle != nil {
				handle(m.topic, m.payload, m.retained)
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-i.wake:
		}
	}
}
