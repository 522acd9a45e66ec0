package exchangetest

import (
	"errors"

	"github.com/licet-project/licet/shared/exchange"
)

// ErrInUse means that another process has the data folder.
var ErrInUse = errors.New("another process uses it")

// store is everything that the server remembers. The server's lock guards it, except sync.
type store struct {
	journal  *journal // nil: memory only
	accounts map[string]account
	used     map[string]int // seats taken, by activation ID; always the sum over the accounts
	answers  map[exchange.Digest]place
	issued   map[issuedKey]issued
	releases map[releaseKey]place
}

type issuedKey struct {
	host     string
	sequence int64
}

type releaseKey struct{ host, key string }

// openStore reads the journal at path; an empty path keeps everything in memory alone.
func openStore(path string) (*store, error) {
	s := &store{
		accounts: map[string]account{},
		used:     map[string]int{},
		answers:  map[exchange.Digest]place{},
		issued:   map[issuedKey]issued{},
		releases: map[releaseKey]place{},
	}
	if path == "" {
		return s, nil
	}
	j, err := openJournal(path, s.apply)
	if err != nil {
		return nil, err
	}
	s.journal = j
	return s, nil
}

// commit writes the record and takes it over. It is durable after the next sync, and nobody may hear of it before.
func (s *store) commit(r record) error {
	p, err := s.journal.append(r)
	if err != nil {
		return err
	}
	return s.apply(r, p)
}

func (s *store) apply(r record, p place) error {
	if a := r.Account; a != nil {
		for id, h := range s.accounts[a.Host].Held {
			if s.used[id] -= h.taken(); s.used[id] == 0 {
				delete(s.used, id)
			}
		}
		for id, h := range a.Held {
			s.used[id] += h.taken()
		}
		s.accounts[a.Host] = *a
	}
	if r.Message != "" {
		if r.Answer == nil {
			return errors.New("a message without its answer")
		}
		s.answers[r.Message] = p
	}
	if i := r.Issued; i != nil {
		s.issued[issuedKey{i.Host, i.Sequence}] = *i
	}
	if l := r.Release; l != nil {
		s.releases[releaseKey{l.Host, l.Key}] = p
	}
	return nil
}

// account is what is known of the host; of a stranger, that it holds nothing.
func (s *store) account(host string) (account, bool) {
	a, known := s.accounts[host]
	a.Host = host
	return a, known
}

// answer is what the message was answered with.
func (s *store) answer(message exchange.Digest) (answer, bool, error) {
	p, known := s.answers[message]
	if !known {
		return answer{}, false, nil
	}
	r, err := s.journal.at(p)
	if err != nil {
		return answer{}, false, err
	}
	return *r.Answer, true, nil
}

// release is the release that was done under the key, with its receipt.
func (s *store) release(host, key string) (record, bool, error) {
	p, known := s.releases[releaseKey{host, key}]
	if !known {
		return record{}, false, nil
	}
	r, err := s.journal.at(p)
	return r, err == nil, err
}
