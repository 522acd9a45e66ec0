package exchangetest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// Options of a Server. The zero value is a server in memory that sells what the samples say.
type Options struct {
	Orders          Orders           // zero: SampleOrders
	Catalog         Catalog          // zero: SampleCatalog
	Dir             string           // everything that outlives the process; empty: memory only
	Now             func() time.Time // nil: time.Now
	Lifetime        time.Duration    // of a response; 0: 24 hours
	ConfirmWithin   time.Duration    // 0: 7 days
	OrdersPerMinute int              // POST /v1/orders; 0: 30
	Logger          zerolog.Logger
}

// Server is a License Activation Server. It is an http.Handler; its methods do the same without HTTP. All may be called
// at once.
type Server struct {
	options Options
	handler http.Handler
	limiter *rate.Limiter
	faults  faults
	unlock  func() error // of Dir

	mu     sync.Mutex // guards all below
	store  *store
	keys   *keyring
	shift  time.Duration // of the clock
	lines  map[exchange.ActivationID]soldLine
	closed bool
}

// soldLine is a line of the order book with what is needed to grant it.
type soldLine struct {
	Line
	state   string
	product Product
}

// New opens the server's state in Options.Dir, or starts with none. Nothing listens yet: see Serve and Start.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Orders.Entitlements) == 0 {
		o.Orders = SampleOrders(o.Now())
	}
	if len(o.Catalog.Products) == 0 {
		o.Catalog = SampleCatalog()
	}
	if o.Lifetime == 0 {
		o.Lifetime = 24 * time.Hour
	}
	if o.ConfirmWithin == 0 {
		o.ConfirmWithin = 7 * 24 * time.Hour
	}
	if o.OrdersPerMinute == 0 {
		o.OrdersPerMinute = 30
	}
	lines, err := sell(o.Orders, o.Catalog)
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o, lines: lines, unlock: func() error { return nil },
		limiter: rate.NewLimiter(rate.Limit(float64(o.OrdersPerMinute)/60), o.OrdersPerMinute),
	}
	s.handler = s.routes()
	if err := s.open(o.Dir); err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	return s, nil
}

// open reads what earlier processes left in the folder, after locking it against a second one.
func (s *Server) open(dir string) (err error) {
	journal := ""
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
		if s.unlock, err = lockFolder(dir); err != nil {
			s.unlock = func() error { return nil }
			return err
		}
		journal = filepath.Join(dir, "journal")
	}
	if s.keys, err = openKeyring(dir); err != nil {
		return err
	}
	s.store, err = openStore(journal)
	return err
}

// sell joins the order book with the catalog.
func sell(orders Orders, catalog Catalog) (map[exchange.ActivationID]soldLine, error) {
	lines := map[exchange.ActivationID]soldLine{}
	for i, e := range orders.Entitlements {
		for j, l := range e.Lines {
			product, known := catalog.Product(l.PartNumber)
			if !known {
				return nil, fmt.Errorf("orders: entitlement %d, line %d: the catalog has no product %s", i+1, j+1, quoted(l.PartNumber))
			}
			if _, twice := lines[l.ActivationID]; twice {
				return nil, fmt.Errorf("orders: entitlement %d, line %d: its activation ID is there twice", i+1, j+1)
			}
			lines[l.ActivationID] = soldLine{Line: l, state: e.State, product: product}
		}
	}
	return lines, nil
}

// Close makes everything durable and gives the folder free. Whoever serves it must have stopped before.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.store.journal.close(), s.unlock())
}

// Keys are the public keys, those that no longer sign included.
func (s *Server) Keys() signed.KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys.public()
}

// Host is what the server thinks the host holds, and whether it has ever heard of it.
func (s *Server) Host(id string) (exchange.HostState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, known := s.store.account(id)
	return a.state(), known
}

// Consumed is how many seats of a right are taken, pending ones included, and how many were sold.
func (s *Server) Consumed(id exchange.ActivationID) (taken, sold int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.store.used[id.Reveal()], s.lines[id].Count
}

// SetOrders replaces the order book, as when the vendor puts an order on hold. What hosts hold stays as it is.
func (s *Server) SetOrders(orders Orders) error {
	lines, err := sell(orders, s.options.Catalog)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Orders, s.lines = orders, lines
	return nil
}

// now is the server's clock, faults included. The caller holds the lock.
func (s *Server) now() time.Time {
	return s.options.Now().Add(s.shift).UTC().Truncate(time.Millisecond)
}
