package exchangetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/licet-project/licet/shared/signed"
)

// keyring is the key that signs and the public keys that were published before it. The server's lock guards it.
type keyring struct {
	dir     string // empty: memory only
	current signed.Key
	retired signed.KeySet
}

func (k *keyring) signingPath() string { return filepath.Join(k.dir, "signing.key") }
func (k *keyring) retiredPath() string { return filepath.Join(k.dir, "retired-keys.json") }

func openKeyring(dir string) (*keyring, error) {
	k := &keyring{dir: dir, retired: signed.KeySet{}}
	var err error
	if dir == "" {
		k.current, err = signed.NewKey()
		return k, err
	}
	k.current, err = signed.ReadKey(k.signingPath())
	if errors.Is(err, fs.ErrNotExist) {
		if k.current, err = signed.NewKey(); err == nil {
			err = k.install(k.current)
		}
	}
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(k.retiredPath())
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &k.retired)
	}
	if err != nil {
		return nil, fmt.Errorf("read the retired keys: %w", err)
	}
	return k, nil
}

func (k *keyring) public() signed.KeySet {
	keys := signed.NewKeySet(k.current.Public())
	maps.Copy(keys, k.retired)
	return keys
}

// rotate replaces the signing key. The old public key is published before the new key signs, so that a crash at any point
// leaves every earlier signature verifiable.
func (k *keyring) rotate() error {
	next, err := signed.NewKey()
	if err != nil {
		return err
	}
	retired := k.public()
	if k.dir != "" {
		data, err := json.Marshal(retired)
		if err != nil {
			return fmt.Errorf("rotate the signing key: %w", err)
		}
		if err := replaceFile(k.retiredPath(), data); err != nil {
			return fmt.Errorf("rotate the signing key: %w", err)
		}
		if err := k.install(next); err != nil {
			return fmt.Errorf("rotate the signing key: %w", err)
		}
	}
	k.current, k.retired = next, retired
	return nil
}

// install puts the whole key in place at once: no crash leaves half a key behind.
func (k *keyring) install(key signed.Key) error {
	fresh := k.signingPath() + ".new"
	_ = os.Remove(fresh) // of a start or a rotation that a crash interrupted
	if err := key.WriteFile(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, k.signingPath()); err != nil {
		return err
	}
	return syncFolder(k.dir)
}

// replaceFile leaves the old content or the new at path, whatever happens.
func replaceFile(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), syncFolder(filepath.Dir(path)))
}

// syncFolder makes names in the folder durable. Some systems cannot sync a folder: there a name is durable with its file.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}
