package bmstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/licet-project/licet/agent/internal/bms"
	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/shared/exchange"
)

// state is a trusted store: everything that a server must not forget. It is written whole, in one rename, so rights,
// sequence and confirmation are always those of one and the same response.
type state struct {
	V            int                     `json:"v"`
	Host         string                  `json:"host"`
	Rights       []exchange.WireRight    `json:"rights"`   // as of the response applied last, by activation ID
	Licenses     []exchange.GrantedCount `json:"licenses"` // as of the response applied last
	Sequence     int64                   `json:"sequence"` // of the response applied last
	Request      exchange.Digest         `json:"request,omitempty"`
	Applied      exchange.Digest         `json:"applied,omitempty"`      // digest of the response applied last
	Confirmation []byte                  `json:"confirmation,omitempty"` // the very bytes that confirmed it
	Clock        time.Time               `json:"clock"`                  // the newest time that this server has seen
}

const storeVersion = 1

const (
	storeFile = "store.json"
	maxStore  = 4 << 20 // bytes; a response has at most exchange.MaxMessage
)

// readState reads the store in the folder; without one the server holds nothing yet.
func readState(folder *durable.Folder, host bms.HostID) (state, error) {
	data, err := folder.Read(storeFile, maxStore)
	if errors.Is(err, fs.ErrNotExist) {
		return state{V: storeVersion, Host: string(host)}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("read the trusted store: %w", err)
	}
	return decodeState(data, host)
}

func decodeState(data []byte, host bms.HostID) (state, error) {
	var s state
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return state{}, fmt.Errorf("read the trusted store: %w", err)
	}
	if s.V != storeVersion || s.Host != string(host) || s.Sequence < 0 {
		return state{}, fmt.Errorf("read the trusted store: it is not one of %s", host)
	}
	return s, nil
}

func encodeState(s state) ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the trusted store: %w", err)
	}
	return data, nil
}

func writeState(folder *durable.Folder, s state) error {
	data, err := encodeState(s)
	if err != nil {
		return err
	}
	if err := folder.Write(storeFile, data); err != nil {
		return fmt.Errorf("write the trusted store: %w", err)
	}
	return nil
}

// count is how many of the right the store holds.
func (s state) count(id string) int {
	for _, right := range s.Rights {
		if right.ActivationID == id {
			return right.Count
		}
	}
	return 0
}
