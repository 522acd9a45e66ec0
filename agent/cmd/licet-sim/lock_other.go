//go:build !unix

package main

import (
	"errors"
	"fmt"
	"os"
)

var errInUse = errors.New("another process uses it")

// lockFolder makes the data folder if there is none. Where there is no flock, two processes in one folder are the
// caller's to avoid.
func lockFolder(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the data folder: %w", err)
	}
	return func() error { return nil }, nil
}
