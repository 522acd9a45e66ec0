package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/durable"
	"github.com/licet-project/licet/agent/internal/durable/durabletest"
)

func TestWriteFileReplacesAndIsForTheOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.json")
	require.NoError(t, durable.WriteFile(path, []byte("old")))
	require.NoError(t, durable.WriteFile(path, []byte("new")))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(data))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")

	require.NoError(t, durable.Remove(path))
	require.NoError(t, durable.Remove(path), "there is none any more")
	require.NoFileExists(t, path)
}

func TestWriteFileIntoAMissingFolderChangesNothing(t *testing.T) {
	err := durable.WriteFile(filepath.Join(t.TempDir(), "missing", "journal.json"), []byte("x"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestOpenFolderRemovesWhatACrashLeftHalfWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	folder, err := durable.OpenFolder(dir, nil)
	require.NoError(t, err)
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	require.NoError(t, folder.Write("journal.json", []byte("whole")))
	half := filepath.Join(dir, ".journal.json.ABCDEFGH.tmp")
	require.NoError(t, os.WriteFile(half, []byte("ha"), 0o600))

	folder, err = durable.OpenFolder(dir, nil)
	require.NoError(t, err)
	require.NoFileExists(t, half)
	data, err := folder.Read("journal.json", 10)
	require.NoError(t, err)
	require.Equal(t, "whole", string(data))
}

func TestReadIsLimited(t *testing.T) {
	for name, fsys := range map[string]durable.FS{"real": nil, "forgetful": &durabletest.Disk{}} {
		t.Run(name, func(t *testing.T) {
			folder, err := durable.OpenFolder(filepath.Join(t.TempDir(), "d"), fsys)
			require.NoError(t, err)
			require.NoError(t, folder.Write("f", []byte("12345")))
			_, err = folder.Read("f", 5)
			require.NoError(t, err)
			_, err = folder.Read("f", 4)
			require.ErrorIs(t, err, durable.ErrTooLarge)
			_, err = folder.Read("g", 4)
			require.ErrorIs(t, err, fs.ErrNotExist)
			require.NoError(t, folder.Rename("f", "g"))
			_, err = folder.Read("g", 5)
			require.NoError(t, err)
		})
	}
}

func TestOpenFolderWhereAFileIsSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := durable.OpenFolder(path, nil)
	require.ErrorContains(t, err, "open the folder "+path)
}

var errDead = errors.New("the process is dead")

// diesAt makes every operation from the n-th on fail, as if the process had died before it. It tells how many there were.
func diesAt(n int, count *int) func(string, string) error {
	*count = 0
	return func(operation, _ string) error {
		*count++
		if *count > n {
			return fmt.Errorf("%s: %w", operation, errDead)
		}
		return nil
	}
}

// TestAPowerCutLeavesTheOldOrTheNew dies before each operation of a write and cuts the power with every possible rest of
// unsynced names: the content is the old or the new, whole, and the new one if the write had returned.
func TestAPowerCutLeavesTheOldOrTheNew(t *testing.T) {
	const operations = 5 // create, write, sync, rename, sync folder
	var seen int
	for dies := 0; dies <= operations; dies++ {
		for kept, unsynced := 0, 0; kept <= unsynced; kept++ {
			disk := &durabletest.Disk{}
			folder, err := durable.OpenFolder("/data", disk)
			require.NoError(t, err)
			require.NoError(t, folder.Write("f", []byte("old")))

			disk.Fail = diesAt(dies, &seen)
			written := folder.Write("f", []byte("new"))
			disk.Fail = nil
			unsynced = disk.PowerCut(kept)

			folder, err = durable.OpenFolder("/data", disk)
			require.NoError(t, err)
			data, err := folder.Read("f", 100)
			require.NoError(t, err)
			if written == nil {
				require.Equal(t, "new", string(data))
			} else {
				require.ErrorIs(t, written, errDead)
				require.Contains(t, []string{"old", "new"}, string(data), "died before operation %d, kept %d", dies+1, kept)
			}
			names, err := disk.ReadFolder("/data")
			require.NoError(t, err)
			require.Equal(t, []string{"f"}, names, "a leftover is removed when the folder is opened")
		}
	}
	require.Equal(t, operations, seen, "a write is exactly these operations")
}

func TestAFullDiskLeavesNoTemporaryFile(t *testing.T) {
	disk := &durabletest.Disk{}
	folder, err := durable.OpenFolder("/data", disk)
	require.NoError(t, err)
	disk.Fail = func(operation, _ string) error {
		if operation == "write" {
			return errors.New("no space left on device")
		}
		return nil
	}
	require.ErrorContains(t, folder.Write("f", []byte("new")), "write /data/f: no space left on device")
	names, err := disk.ReadFolder("/data")
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestARemovedFileStaysRemoved(t *testing.T) {
	disk := &durabletest.Disk{}
	folder, err := durable.OpenFolder("/data", disk)
	require.NoError(t, err)
	require.NoError(t, folder.Write("f", []byte("x")))
	require.NoError(t, folder.Remove("f"))
	disk.PowerCut(0)
	_, err = folder.Read("f", 10)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
