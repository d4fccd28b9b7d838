package dockertest

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups lists the cgroups that those of the containers are in: one, or with
// version 1 one for each controller (cgroups(7)).
func (d *daemon) cgroups() ([]string, error) {
	var roots []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + d.cgroup, "/sys/fs/cgroup/*/" + d.cgroup} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		roots = append(roots, found...)
	}
	return roots, nil
}

// removeCgroups removes the cgroups of the containers, which the kernel keeps.
func (d *daemon) removeCgroups() error {
	roots, err := d.cgroups()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(Timeout)
	for _, root := range roots {
		for {
			err := removeCgroup(root)
			if err == nil {
				break
			}
			// A cgroup is busy until the kernel has buried its last process.
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// removeCgroup removes a cgroup with those below it: folders alone, the files
// go with them (cgroups(7)).
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
