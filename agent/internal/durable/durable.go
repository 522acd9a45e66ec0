// Package durable writes small files so that a power cut at any instant leaves the old content or the new, whole, and
// never less than what a caller was told is written.
//
// A write is, in this order:
//
//	open(.NAME.RANDOM.tmp, O_CREAT|O_EXCL, 0600)   a file beside the target, so that rename does not cross file systems
//	write, fsync, close                            the content is on the disk before any name leads to it
//	rename(.NAME.RANDOM.tmp, NAME)                 readers see the old file or the new one
//	open(folder), fsync, close                     the name is on the disk: only now may the caller act on the write
//
// A crash before the rename leaves a temporary file, which OpenFolder removes; a crash after it may undo the rename until
// the last line returns.
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/licet-project/licet/shared/crash"
)

// WriteFile replaces the file at path, mode 0600. Its folder must exist.
func WriteFile(path string, data []byte) error { return write(OS{}, path, data) }

// Remove removes the file at path for good; that there is none is no error.
func Remove(path string) error { return remove(OS{}, path) }

// Folder is a folder of files that one process owns.
type Folder struct {
	path string
	fs   FS
}

// OpenFolder makes the folder with mode 0700 if there is none, and removes what a crash left half written. The caller is
// the only writer in it. A nil file system is the real one.
func OpenFolder(path string, fsys FS) (*Folder, error) {
	if fsys == nil {
		fsys = OS{}
	}
	if err := fsys.MakeFolder(path); err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	f := &Folder{path: path, fs: fsys}
	names, err := fsys.ReadFolder(path)
	if err != nil {
		return nil, fmt.Errorf("open the folder %s: %w", path, err)
	}
	removed := false
	for _, name := range names {
		if !temporary(name) {
			continue
		}
		if err := fsys.Remove(f.Path(name)); err != nil {
			return nil, fmt.Errorf("remove a file that a crash left half written: %w", err)
		}
		removed = true
	}
	if removed {
		if err := fsys.SyncFolder(path); err != nil {
			return nil, fmt.Errorf("open the folder %s: %w", path, err)
		}
	}
	return f, nil
}

// Path is where a file of the folder is.
func (f *Folder) Path(name string) string { return filepath.Join(f.path, name) }

// Write replaces a file. After an error the old or the new content may be there: write again, or read.
func (f *Folder) Write(name string, data []byte) error { return write(f.fs, f.Path(name), data) }

// Read returns a file of at most limit bytes; an error that is fs.ErrNotExist means that there is none.
func (f *Folder) Read(name string, limit int) ([]byte, error) {
	return f.fs.ReadFile(f.Path(name), limit)
}

// Remove removes a file; that there is none is no error.
func (f *Folder) Remove(name string) error { return remove(f.fs, f.Path(name)) }

// Rename gives a file another name in the same folder, in the place of any file of that name.
func (f *Folder) Rename(from, to string) error {
	if err := f.fs.Rename(f.Path(from), f.Path(to)); err != nil {
		return fmt.Errorf("rename %s: %w", f.Path(from), err)
	}
	if err := f.fs.SyncFolder(f.path); err != nil {
		return fmt.Errorf("rename %s: sync its folder: %w", f.Path(from), err)
	}
	return nil
}

func write(fsys FS, path string, data []byte) error {
	folder, name := filepath.Split(path)
	beside := filepath.Join(folder, "."+name+"."+rand.Text()[:8]+temporarySuffix)
	if err := writeBeside(fsys, beside, data); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, discard(fsys, beside)))
	}
	// A crash here leaves the old content and a temporary file.
	crash.At("durable.temporary-written")
	if err := fsys.Rename(beside, path); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, discard(fsys, beside)))
	}
	// A crash of the process here leaves the new content; a power cut may still bring the old one back. Nobody was told.
	crash.At("durable.renamed")
	if err := fsys.SyncFolder(filepath.Clean(folder)); err != nil {
		return fmt.Errorf("write %s: sync its folder: %w", path, err)
	}
	return nil
}

func writeBeside(fsys FS, path string, data []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// discard removes what a failed write left. That it never came to be is no second error.
func discard(fsys FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func remove(fsys FS, path string) error {
	if err := fsys.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	if err := fsys.SyncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("remove %s: sync its folder: %w", path, err)
	}
	return nil
}

const temporarySuffix = ".tmp"

func temporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, temporarySuffix)
}
