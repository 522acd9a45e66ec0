package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is what durable needs of a file system. Tests give one that forgets what was not synced (package durabletest).
type FS interface {
	Create(path string) (File, error)                // a new file, mode 0600; it is an error if there is one
	ReadFile(path string, limit int) ([]byte, error) // a longer file is an error
	Rename(from, to string) error                    // replaces a file
	Remove(path string) error
	MakeFolder(path string) error // mode 0700, durably, with the folders that lead to it; one that is there is left as it is
	ReadFolder(path string) ([]string, error)
	SyncFolder(path string) error // every name in it is on the disk
}

// File is an open file.
type File interface {
	io.WriteCloser
	Sync() error
}

// ErrTooLarge means that a file is longer than its reader allows.
var ErrTooLarge = errors.New("file too large")

// OS is the real file system.
type OS struct{}

// Create implements FS.
func (OS) Create(path string) (File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// ReadFile implements FS.
func (OS) ReadFile(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// MakeFolder implements FS. It makes one level at a time, since each new name must be synced in the folder that it stands in.
func (o OS) MakeFolder(path string) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: fs.ErrExist}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := o.MakeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return o.SyncFolder(parent)
}

// ReadFolder implements FS.
func (OS) ReadFolder(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}
