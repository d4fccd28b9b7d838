package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile writes body to path, with mode 0644. The file appears whole or
// not at all: it is written beside path, synced and renamed, and what stood at
// path stays there when that fails.
func WriteFile(path string, body []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
			_ = f.Close()           // closed already on some paths
			_ = os.Remove(f.Name()) // the first error is the one that counts
		}
	}()
	if _, err = f.Write(body); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
