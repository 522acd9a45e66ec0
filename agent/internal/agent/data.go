package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrInUse means that another agent uses the data folder.
var ErrInUse = errors.New("another agent uses this folder")

// data is the agent's folder, locked: two agents with one journal would undo each other's work.
type data struct{ lock *os.File }

// openData makes the folder if there is none, and locks it. The lock goes with the process, whatever ends it.
func openData(path string) (*data, error) {
	if path == "" {
		return nil, errors.New("open the data folder: none is given")
	}
	if err := os.MkdirAll(filepath.Join(path, "servers"), 0o700); err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the data folder %s: %w", path, err)
	}
	return &data{f}, nil
}

func (d *data) close() { _ = d.lock.Close() }
