package agenttest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/stretchr/testify/require"
)

// JournalImage is a copy of the journal's folder, as a backup of the agent's host would hold it.
type JournalImage struct{ files map[string][]byte }

// Image takes a copy of the journal's folder.
func (s *Stepper) Image() JournalImage {
	s.t.Helper()
	entries, err := os.ReadDir(s.o.Dir)
	require.NoError(s.t, err)
	image := JournalImage{files: make(map[string][]byte)}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(s.o.Dir, entry.Name()))
		require.NoError(s.t, err)
		image.files[entry.Name()] = data
	}
	return image
}

// RestoreImage makes the journal's folder what it was and opens the machine from it.
func (s *Stepper) RestoreImage(image JournalImage) {
	s.t.Helper()
	entries, err := os.ReadDir(s.o.Dir)
	require.NoError(s.t, err)
	for _, entry := range entries {
		require.NoError(s.t, os.Remove(filepath.Join(s.o.Dir, entry.Name())))
	}
	for name, data := range image.files {
		require.NoError(s.t, os.WriteFile(filepath.Join(s.o.Dir, name), data, 0o600))
	}
	s.open()
}

// Damaged is the image with the first half of every file only.
func (i JournalImage) Damaged() JournalImage {
	damaged := JournalImage{files: make(map[string][]byte)}
	for name, data := range i.files {
		damaged.files[name] = data[:len(data)/2]
	}
	return damaged
}

// Files are the contents of the files, in no order.
func (i JournalImage) Files() [][]byte { return slices.Collect(maps.Values(i.files)) }
