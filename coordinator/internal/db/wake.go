package db

import (
	"sync"
	"time"
)

// waker signals everybody who waits for changes. Signals join: after a signal, read until nothing is left.
type waker struct {
	mu      sync.Mutex
	waiting map[chan struct{}]struct{}
	timer   *time.Timer // set while a late signal is due
	stopped bool
}

func newWaker() *waker { return &waker{waiting: make(map[chan struct{}]struct{})} }

// Wake is a channel that holds a signal after every commit that left rows in the change feed, of this process or (on
// PostgreSQL) of another one. Signals join and may be one too many; the function ends the subscription.
func (d *DB) Wake() (<-chan struct{}, func()) {
	signal := make(chan struct{}, 1)
	d.wake.mu.Lock()
	defer d.wake.mu.Unlock()
	d.wake.waiting[signal] = struct{}{}
	return signal, func() {
		d.wake.mu.Lock()
		defer d.wake.mu.Unlock()
		delete(d.wake.waiting, signal)
	}
}

func (w *waker) all() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signal()
}

func (w *waker) signal() {
	for signal := range w.waiting {
		select {
		case signal <- struct{}{}:
		default: // one waits there already
		}
	}
}

// later signals after a while, once for all who ask meanwhile.
func (w *waker) later(after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil || w.stopped {
		return
	}
	w.timer = time.AfterFunc(after, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.timer = nil
		w.signal()
	})
}

func (w *waker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
