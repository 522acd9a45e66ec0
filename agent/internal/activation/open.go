package activation

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
	"github.com/licet-project/licet/shared/protocol"
)

// Open reads the journal in o.Dir. One that is damaged is put aside and forgotten, see readJournal; one that this version
// does not understand, or of another host, is an error and stays as it is.
func Open(o Options) (*Machine, error) {
	if o.Dir == "" || o.System == nil || o.Host == "" || o.Keys == nil {
		return nil, errors.New("open an activation: a folder, a system, a host and the activation server's keys are needed")
	}
	if o.Server == "" {
		o.Server = protocol.ServerName(string(o.Host))
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = time.Minute
	}
	folder, err := durable.OpenFolder(o.Dir, o.Files)
	if err != nil {
		return nil, fmt.Errorf("open the activation journal of %s: %w", o.Host, err)
	}
	m := &Machine{o: o, folder: folder, wake: make(chan struct{}, 1), secrets: make(map[exchange.ActivationID]bool)}
	if m.state, err = m.readJournal(); err != nil {
		return nil, fmt.Errorf("open the activation journal of %s: %w", o.Host, err)
	}
	if m.state.desired != nil {
		m.keepSecret(m.state.desired)
	}
	return m, nil
}

// readJournal returns what the journal says; without one, or with a damaged one, that nothing is known.
//
// To forget is safe, because it is what happens when an agent is restored from an image that was taken before its first
// document, and the rules hold for that: nothing that changes counts begins before the retained document is here again; a
// forgotten request that still arrives is refused by fence or sequence, or is the newest one, and then the report below gets
// its outcome back; a forgotten confirmation is covered by the next one; a forgotten receipt is asked for anew. The report
// comes first, since a damaged journal says that something was going on. What is lost is only what was refused before.
//
// To forget is not safe, and an error, where the journal is whole but cannot be read: it is of a newer version, of another
// host, or the disk does not give it out. There it may be needed as it is, so it stays untouched.
func (m *Machine) readJournal() (state, error) {
	empty := state{journal: journal{V: journalVersion, Host: m.o.Host}}
	data, err := m.folder.Read(journalName, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return state{}, err
	}
	s, err := decodeJournal(data, m.o.Host)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, errDamaged) {
		return state{}, fmt.Errorf("%s: %w", m.folder.Path(journalName), err)
	}
	if err := m.folder.Rename(journalName, damagedName); err != nil {
		return state{}, fmt.Errorf("put the damaged journal aside: %w", err)
	}
	m.o.Logger.Warn().Str("host", string(m.o.Host)).Str("kept", m.folder.Path(damagedName)).
		Msg("the activation journal is damaged: what was in flight is forgotten, a report comes first; look at the disk")
	empty.NeedReport = true
	return empty, nil
}
