package bmstest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIdentityIsMadeOnceAndForThisUserAlone(t *testing.T) {
	dir := t.TempDir()
	first, err := openIdentity(dir, "HOST-1")
	require.NoError(t, err)
	again, err := openIdentity(dir, "HOST-1")
	require.NoError(t, err)
	require.Equal(t, first.key.ID(), again.key.ID())
	require.Equal(t, first.fingerprint(), again.fingerprint())
	for name, mode := range map[string]os.FileMode{"host-key.pem": 0o600, "tls.pem": 0o600, trustFile: 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
	public, err := os.ReadFile(filepath.Join(dir, trustFile))
	require.NoError(t, err)
	require.NotContains(t, string(public), "PRIVATE")
}

func TestACrashWhileAFileIsWrittenLeavesNoHalfFile(t *testing.T) {
	dir := t.TempDir()
	for _, half := range []string{"host-key.pem.new", "tls.pem.new", trustFile + ".new", "store.json.new"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, half), []byte("-----BEGIN PRIV"), 0o600))
	}
	_, err := openIdentity(dir, "HOST-1")
	require.NoError(t, err)
	held, err := readState(dir, "HOST-1")
	require.NoError(t, err)
	require.Zero(t, held.Sequence)
	held.Sequence = 7
	require.NoError(t, writeState(dir, held))
	held, err = readState(dir, "HOST-1")
	require.NoError(t, err)
	require.EqualValues(t, 7, held.Sequence)
}

func TestAStoreThatIsNotThisServersIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeState(dir, state{V: storeVersion, Host: "HOST-1"}))
	_, err := readState(dir, "HOST-2")
	require.ErrorContains(t, err, "read the trusted store: it is not one of HOST-2")
	require.NoError(t, os.WriteFile(storePath(dir), []byte(`{"v":1,"host":"HOST-1","surprise":1}`), 0o600))
	_, err = readState(dir, "HOST-1")
	require.ErrorContains(t, err, "surprise")
}
