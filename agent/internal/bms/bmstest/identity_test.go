package bmstest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/licet-project/licet/agent/internal/durable"
)

func TestIdentityIsMadeOnceAndForThisUserAlone(t *testing.T) {
	dir := t.TempDir()
	folder, err := durable.OpenFolder(dir, nil)
	require.NoError(t, err)
	first, err := openIdentity(folder, "HOST-1")
	require.NoError(t, err)
	again, err := openIdentity(folder, "HOST-1")
	require.NoError(t, err)
	require.Equal(t, first.key.ID(), again.key.ID())
	require.Equal(t, first.fingerprint(), again.fingerprint())
	for _, name := range []string{keyFile, certificateFile, trustFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm(), name)
	}
	public, err := os.ReadFile(filepath.Join(dir, trustFile))
	require.NoError(t, err)
	require.NotContains(t, string(public), "PRIVATE")
}

func TestACrashWhileAFileIsWrittenLeavesNoHalfFile(t *testing.T) {
	folder, err := durable.OpenFolder(t.TempDir(), nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(folder.Path(keyFile+".new"), []byte("-----BEGIN PRIV"), 0o600))
	first, err := openIdentity(folder, "HOST-1")
	require.NoError(t, err)
	again, err := openIdentity(folder, "HOST-1")
	require.NoError(t, err)
	require.Equal(t, first.key.ID(), again.key.ID())
}

func TestAStoreThatIsNotThisServersIsRefused(t *testing.T) {
	folder, err := durable.OpenFolder(t.TempDir(), nil)
	require.NoError(t, err)
	require.NoError(t, writeState(folder, state{V: storeVersion, Host: "HOST-1"}))
	_, err = readState(folder, "HOST-2")
	require.ErrorContains(t, err, "read the trusted store: it is not one of HOST-2")
	require.NoError(t, folder.Write(storeFile, []byte(`{"v":1,"host":"HOST-1","surprise":1}`)))
	_, err = readState(folder, "HOST-1")
	require.ErrorContains(t, err, "surprise")
}
