package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// unfinished begins the names of files that are being written. Nobody else
// makes such names, so those that a killed program left can be removed.
const unfinished = ".meshlab-"

// Unfinished makes a file beside path, to be renamed to path when all of it is
// written. It is locked (flock(2)) until it is closed.
func Unfinished(path string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // a file system without locks: see youngest
	return f, nil
}

// youngest is the age from which on an unfinished file that nobody holds is
// taken for one that was left: between its making and its lock, and where
// locks do not work, its writer has that long.
const youngest = time.Minute

// LeftUnfinished lists the files in a folder that programs which were killed
// have left half-written.
func LeftUnfinished(dir string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	if err != nil {
		return nil, fmt.Errorf("look for unfinished files: %w", err)
	}
	var left []string
	for _, path := range all {
		info, err := os.Lstat(path)
		if err != nil || time.Since(info.ModTime()) < youngest {
			continue
		}
		if info.Mode().IsRegular() && locked(path) {
			continue
		}
		left = append(left, path)
	}
	return left, nil
}

// locked tells whether somebody holds a lock on a file.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// WriteFile writes body to path, with mode 0644. The file appears whole or
// not at all: it is written beside path, synced and renamed, and what stood at
// path stays there when that fails.
func WriteFile(path string, body []byte) (err error) {
	f, err := Unfinished(path)
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
