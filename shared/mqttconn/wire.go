package mqttconn

import (
	"fmt"
	"net"
	"os"
	"time"
)

// wire is the network connection under paho. Paho bounds the writing of publishes alone: a ping or an acknowledgement
// could wait for ever on a peer that does not read, so here every write has a deadline of its own. And paho makes room for
// whatever length a packet announces: here a packet that is too large ends the connection before that.
type wire struct {
	net.Conn
	writing chan struct{} // capacity 1: paho writes from several goroutines, and a deadline is of the whole connection
	in      frames
}

func newWire(conn net.Conn) *wire { return &wire{Conn: conn, writing: make(chan struct{}, 1)} }

func (w *wire) Write(p []byte) (int, error) {
	timer := time.NewTimer(writeTimeout)
	defer timer.Stop()
	select {
	case w.writing <- struct{}{}:
	case <-timer.C:
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-w.writing }()
	if err := w.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// SetDeadline is paho's bound of the handshake.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// SetWriteDeadline does nothing: paho's would be the end of somebody else's write, or take its end away.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if tooLarge := w.in.feed(p[:n]); tooLarge != nil {
		return 0, tooLarge
	}
	return n, err
}

// frames follows the packets in a stream of bytes by their fixed headers: one byte of type, one to four bytes of length.
type frames struct {
	inLength bool
	shift    int
	length   int // announced so far while inLength, then what is left of the body
}

func (f *frames) feed(p []byte) error {
	for len(p) > 0 {
		switch {
		case f.inLength:
			f.length |= int(p[0]&0x7f) << f.shift
			f.shift += 7
			f.inLength = p[0]&0x80 != 0 && f.shift < 28
			p = p[1:]
			if f.length > maxPacket {
				return fmt.Errorf("the broker sends a packet of more than %d bytes", maxPacket)
			}
		case f.length > 0:
			n := min(f.length, len(p))
			f.length -= n
			p = p[n:]
		default:
			f.inLength, f.shift = true, 0
			p = p[1:]
		}
	}
	return nil
}
