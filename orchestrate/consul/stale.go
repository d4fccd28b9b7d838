package consul

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// StaleBuilds lists the folders that killed builds have left in the cache. It
// lists none while another meshlab builds. The next build removes them too.
func StaleBuilds(o Options) ([]string, error) {
	return withLock(o, func(dir string) ([]string, error) { return filepath.Glob(filepath.Join(dir, tempPrefix+"*")) })
}

// RemoveStaleBuilds removes what StaleBuilds lists.
func RemoveStaleBuilds(o Options) error {
	_, err := withLock(o, func(dir string) ([]string, error) { return nil, removeStale(dir) })
	return err
}

// withLock looks into the cache folder while nobody builds in it. Without a
// folder, and while somebody does, it does nothing.
func withLock(o Options, look func(dir string) ([]string, error)) ([]string, error) {
	dir, err := CacheDir(o)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into the cache folder: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock the cache folder %s: %w", dir, err)
	}
	return look(dir)
}
