package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// writeReady tells whoever waits for the file that the process serves. The file appears whole or not at all.
func writeReady(path string, content any) error {
	if path == "" {
		return nil
	}
	data, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	fresh := fmt.Sprintf("%s.%d.new", path, os.Getpid())
	if err := os.WriteFile(fresh, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the ready file: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(fmt.Errorf("write the ready file: %w", err), os.Remove(fresh))
	}
	return nil
}

// removeReady takes the file away: one of an earlier process must not speak for this one.
func removeReady(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the ready file: %w", err)
	}
	return nil
}
