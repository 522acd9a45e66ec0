//go:build !windows

package durable

import (
	"errors"
	"os"
)

// SyncFolder implements FS.
func (OS) SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
