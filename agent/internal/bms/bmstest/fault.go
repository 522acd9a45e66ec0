package bmstest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/signed"
)

// RefuseNext makes the server refuse the next response with the code, even one that it would have applied again.
func (s *System) RefuseNext(host bms.HostID, code exchange.Code) error {
	return s.RefuseNextCall(host, CallResponse, code)
}

// RefuseNextCall makes the server refuse the next call of the kind. Orders queue up.
func (s *System) RefuseNextCall(host bms.HostID, kind Call, code exchange.Code) error {
	if code != code.Known() || !slices.Contains([]Call{CallRequest, CallReport, CallResponse, CallExplain}, kind) {
		return fmt.Errorf("refuse a %.32q with %.64q: no such call or code", kind, code)
	}
	return s.change(host, func(v *server) error {
		v.refusals[kind] = append(v.refusals[kind], code)
		return nil
	})
}

// SetUnanswered makes the server silent, for the reason given; an empty reason heals it. Behind a silent top server
// nothing answers.
func (s *System) SetUnanswered(host bms.HostID, why string) error {
	return s.change(host, func(v *server) error { v.unanswered = why; return nil })
}

// ShiftClock sets the server's clock off by d; 0 sets it right.
func (s *System) ShiftClock(host bms.HostID, d time.Duration) error {
	return s.change(host, func(v *server) error { v.shift = d; return nil })
}

// SetKeys gives every server of the system the keys of the activation server, as an operator does after it has new ones.
func (s *System) SetKeys(keys signed.KeySet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// ErrNothingHeld means that there is no right to tamper with.
var ErrNothingHeld = errors.New("the server holds no right")

// Tamper changes one fact in the server's store behind everybody's back: the count of one right, with its licenses in
// proportion. The empty ID means the first right that the server holds.
func (s *System) Tamper(host bms.HostID, id exchange.ActivationID, count int) error {
	if count < 0 || count > exchange.MaxCount {
		return fmt.Errorf("tamper with %s: impossible count %d", host, count)
	}
	return s.change(host, func(v *server) error {
		if id == "" {
			if len(v.state.Rights) == 0 {
				return fmt.Errorf("tamper with %s: %w", host, ErrNothingHeld)
			}
			id = exchange.ActivationID(v.state.Rights[0].ActivationID)
		}
		next, err := tampered(v.state, id.Reveal(), count)
		if err != nil {
			return err
		}
		return v.save(time.Time{}, next)
	})
}

func tampered(held state, id string, count int) (state, error) {
	before := held.count(id)
	rights := slices.DeleteFunc(slices.Clone(held.Rights), func(r exchange.WireRight) bool { return r.ActivationID == id })
	if count > 0 {
		rights = append(rights, exchange.WireRight{ActivationID: id, Count: count})
	}
	sorted, err := sortRights(rights)
	if err != nil {
		return held, err
	}
	licenses := slices.Clone(held.Licenses)
	for i := range licenses {
		if licenses[i].ActivationID == id && before > 0 {
			licenses[i].Count = licenses[i].Count / before * count
		}
	}
	licenses = slices.DeleteFunc(licenses, func(g exchange.GrantedCount) bool { return g.ActivationID == id && g.Count == 0 })
	held.Rights, held.Licenses = sorted, licenses
	return held, nil
}

// Image is a copy of one server's trusted store, as a virtual machine's snapshot or a backup would hold it.
type Image struct {
	host bms.HostID
	data []byte
}

// Image takes a copy of the server's store.
func (s *System) Image(host bms.HostID) (Image, error) {
	image := Image{host: host}
	err := s.change(host, func(v *server) (err error) {
		image.data, err = encodeState(v.state)
		return err
	})
	return image, err
}

// Restore makes the server what it was when the image was taken.
func (s *System) Restore(image Image) error {
	return s.change(image.host, func(v *server) error {
		old, err := decodeState(image.data, image.host)
		if err != nil {
			return err
		}
		return v.save(time.Time{}, old)
	})
}

// Store is what a server's trusted store holds, for a test to compare.
type Store struct {
	Rights   []bms.HeldRight // by activation ID
	Sequence int64
	Request  exchange.Digest // the newest request or report
	Applied  exchange.Digest // the response applied last
}

// Store is what is on disk.
func (s *System) Store(host bms.HostID) (Store, error) {
	var store Store
	err := s.change(host, func(v *server) error {
		held, err := readState(v.folder, host)
		if err != nil {
			return err
		}
		store = Store{Sequence: held.Sequence, Request: held.Request, Applied: held.Applied}
		store.Rights = v.facts(time.Time{}, held, true).Rights
		return nil
	})
	return store, err
}

// Clone opens a second system with the same servers, keys and stores in a folder of its own: two machines with one
// identity. Faults and the clock's error are not copied.
func (s *System) Clone(dir string) (*System, error) {
	for _, v := range s.servers {
		if err := v.copyTo(dir, s.options.Disk); err != nil {
			return nil, fmt.Errorf("clone server %s: %w", v.spec.HostID, err)
		}
	}
	o := s.options
	o.Dir, o.Keys = dir, s.trusted()
	return New(o)
}

func (v *server) copyTo(dir string, disk durable.FS) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	path := filepath.Join(dir, folderName(v.spec.HostID))
	for _, name := range []string{keyFile, certificateFile} {
		if err := copyFile(filepath.Dir(v.folder.Path(name)), path, name, nil); err != nil {
			return err
		}
	}
	return copyFile(filepath.Dir(v.folder.Path(storeFile)), path, storeFile, disk)
}

// copyFile copies a file from one folder to another on the same disk; if there is none, nothing was ever stored.
func copyFile(from, to, name string, disk durable.FS) error {
	source, err := durable.OpenFolder(from, disk)
	if err != nil {
		return err
	}
	target, err := durable.OpenFolder(to, disk)
	if err != nil {
		return err
	}
	data, err := source.Read(name, maxStore)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return target.Write(name, data)
}

// change runs do with the server's lock held.
func (s *System) change(host bms.HostID, do func(*server) error) error {
	v, err := s.find(host)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return do(v)
}
