// Package durabletest has a disk that forgets what was not synced, as a real one does when the power fails.
package durabletest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/licet-project/licet/agent/internal/durable"
)

// Disk is a durable.FS in memory. The zero value is an empty disk. It is safe for concurrent use.
type Disk struct {
	// Fail is asked before every operation, by name ("create", "write", "sync", "rename", "remove", "sync folder") and path; an
	// error makes the operation fail with no effect. Nil: nothing fails.
	Fail func(operation, path string) error

	mu      sync.Mutex
	names   map[string]*inode
	folders map[string]bool
	synced  map[string]*inode // the names that a power cut leaves
	pending []change          // changes of names, oldest first, that may or may not survive a power cut
}

type inode struct {
	data, synced []byte
}

type change struct {
	folder string
	apply  func(names map[string]*inode)
}

// PowerCut forgets what was not synced: content always, and of the changes of names all but the oldest kept. It returns how
// many changes of names were not synced, so that a test can walk every cut.
func (d *Disk) PowerCut(kept int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	unsynced := len(d.pending)
	for _, c := range d.pending[:min(kept, unsynced)] {
		c.apply(d.synced)
	}
	d.pending = nil
	d.names = make(map[string]*inode)
	for path, file := range d.synced {
		file.data = slices.Clone(file.synced)
		d.names[path] = file
	}
	return unsynced
}

// Create implements durable.FS.
func (d *Disk) Create(path string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fail("create", path); err != nil {
		return nil, err
	}
	if d.names[path] != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	}
	if !d.folders[filepath.Dir(path)] {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	file := &inode{}
	d.change(path, func(names map[string]*inode) { names[path] = file })
	return &handle{disk: d, file: file, path: path}, nil
}

// ReadFile implements durable.FS.
func (d *Disk) ReadFile(path string, limit int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := d.names[path]
	if file == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if len(file.data) > limit {
		return nil, fmt.Errorf("read %s: %w", path, durable.ErrTooLarge)
	}
	return slices.Clone(file.data), nil
}

// Rename implements durable.FS.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fail("rename", to); err != nil {
		return err
	}
	file := d.names[from]
	if file == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.change(to, func(names map[string]*inode) {
		delete(names, from)
		names[to] = file
	})
	return nil
}

// Remove implements durable.FS.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fail("remove", path); err != nil {
		return err
	}
	if d.names[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	d.change(path, func(names map[string]*inode) { delete(names, path) })
	return nil
}

// MakeFolder implements durable.FS.
func (d *Disk) MakeFolder(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.folders == nil {
		d.folders, d.names, d.synced = make(map[string]bool), make(map[string]*inode), make(map[string]*inode)
	}
	d.folders[path] = true
	return nil
}

// ReadFolder implements durable.FS.
func (d *Disk) ReadFolder(path string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		if rest, ok := strings.CutPrefix(name, path+string(filepath.Separator)); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}

// SyncFolder implements durable.FS.
func (d *Disk) SyncFolder(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fail("sync folder", path); err != nil {
		return err
	}
	d.pending = slices.DeleteFunc(d.pending, func(c change) bool {
		if c.folder == path {
			c.apply(d.synced)
		}
		return c.folder == path
	})
	return nil
}

func (d *Disk) change(path string, apply func(names map[string]*inode)) {
	apply(d.names)
	d.pending = append(d.pending, change{filepath.Dir(path), apply})
}

func (d *Disk) fail(operation, path string) error {
	if d.Fail == nil {
		return nil
	}
	return d.Fail(operation, path)
}

type handle struct {
	disk   *Disk
	file   *inode
	path   string
	closed bool
}

var errClosed = errors.New("the file is closed")

func (h *handle) Write(data []byte) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return 0, errClosed
	}
	if err := h.disk.fail("write", h.path); err != nil {
		return 0, err
	}
	h.file.data = append(h.file.data, data...)
	return len(data), nil
}

func (h *handle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.closed {
		return errClosed
	}
	if err := h.disk.fail("sync", h.path); err != nil {
		return err
	}
	h.file.synced = slices.Clone(h.file.data)
	return nil
}

func (h *handle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.closed = true
	return nil
}
