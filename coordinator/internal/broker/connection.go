package broker

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// connection is what we know of a client beyond what the library does. It is the library's net.Conn as well, so that the
// hooks find it there.
type connection struct {
	net.Conn
	patience time.Duration
	slow     func()
	agent    string        // once it is let in; its reading goroutine's
	failed   bool          // a message was not taken: nothing said after it may overtake it. Its reading goroutine's.
	over     atomic.Bool   // another connection has its name now: what it still says is not heard
	left     chan struct{} // closed when the library is done with it
	ended    chan struct{} // closed when everybody is
	senders  sync.WaitGroup
	queue    queue
}

func newConnection(conn net.Conn, patience time.Duration, slow func()) *connection {
	return &connection{
		Conn: conn, patience: patience, slow: slow,
		left: make(chan struct{}), ended: make(chan struct{}), queue: queue{room: make(chan struct{}, 1)},
	}
}

// connectionOf is nil for the coordinator's own client.
func connectionOf(cl *mqtt.Client) *connection {
	c, _ := cl.Net.Conn.(*connection)
	return c
}

// Write ends the connection if it takes too long: the library holds a lock meanwhile that everybody needs who sends this
// client a document.
func (c *connection) Write(data []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(data)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.slow()
		}
		_ = c.Close() // half a packet may have left
	}
	return n, err
}

func (c *connection) hasLeft() bool {
	select {
	case <-c.left:
		return true
	default:
		return c.over.Load()
	}
}

// queue counts the documents in a client's write queue. The library drops what does not fit, and a system of a thousand
// servers gets a thousand retained documents the moment it subscribes; so the sender waits.
type queue struct {
	mu     sync.Mutex
	length int
	room   chan struct{} // holds a signal after a document has left
}

const (
	writeQueue = 256             // packets that wait for one client's connection: 2 KiB each client, used or not
	queueLimit = writeQueue - 16 // the rest is for what is not counted here
)

// enter counts one more document for the client; one that makes room for none for too long is closed: it comes back, and
// gets what is retained.
func (c *connection) enter() {
	var timeout *time.Timer
	for !c.queue.tryEnter() {
		if timeout == nil {
			timeout = time.NewTimer(c.patience)
			defer timeout.Stop()
		}
		select {
		case <-c.queue.room:
		case <-c.left:
			return // what is sent now is lost with the connection anyway
		case <-timeout.C:
			c.slow()
			_ = c.Close()
			return
		}
	}
}

func (q *queue) tryEnter() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.length >= queueLimit {
		return false
	}
	q.length++
	if q.length < queueLimit {
		q.signal() // signals join, and another sender may wait too
	}
	return true
}

func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.length--
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.room <- struct{}{}:
	default:
	}
}
