package bmstest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// makeFolder makes the folder and what leads to it, for this user alone.
func makeFolder(dir string) error { return os.MkdirAll(dir, 0o700) }

// writeFile replaces a file so that after a crash at any instant either the old or the new content is there, whole: write
// beside it, fsync, rename over it, fsync the folder.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, errWrite := f.Write(data)
	if err := errors.Join(errWrite, f.Sync(), f.Close()); err != nil {
		return err
	}
	return moveFile(beside, path)
}

// moveFile renames and makes the rename last.
func moveFile(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
