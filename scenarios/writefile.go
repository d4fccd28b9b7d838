package scenarios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
// path stays there when that fails. What is no file, as /dev/stdout or a pipe,
// is not replaced but written to.
func WriteFile(path string, body []byte) (err error) {
	if stream(path) {
		return writeTo(path, body)
	}
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

// Writable returns an error when WriteFile could not write to path, as far as that
// can be known beforehand. It changes nothing.
func Writable(path string) error {
	if stream(path) {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("write %s: it is a folder: name a file in it", path)
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case err != nil:
		return fmt.Errorf("write %s: %w: make the folder first", path, err)
	case !info.IsDir():
		return fmt.Errorf("write %s: %s is not a folder", path, dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write %s: no file can be made in folder %s: %w", path, dir, err)
	}
	return nil
}

// stream tells whether path is something to write to and not a file to replace:
// a device, a pipe, or a file that some process has open (proc_pid_fd(5)), which
// is what /dev/stdout leads to.
func stream(path string) bool {
	if strings.HasPrefix(pointed(path), "/proc/") {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// pointed is where in /proc path leads to, or its link does; else path.
func pointed(path string) string {
	target, _ := os.Readlink(path) // "" of what is no link
	for _, p := range []string{path, target} {
		dir, err := filepath.EvalSymlinks(filepath.Dir(p))
		if p = filepath.Join(dir, filepath.Base(p)); err == nil && strings.HasPrefix(p, "/proc/") {
			return p
		}
	}
	return path
}

func writeTo(path string, body []byte) error {
	f, err := openStream(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// openStream opens what is written to. What this program has open itself is not
// opened anew: of a file, that would have a place of its own in it, and one would
// write over what the other has written.
func openStream(path string) (*os.File, error) {
	own, err := filepath.EvalSymlinks("/proc/self/fd")
	dir, name := filepath.Split(pointed(path))
	if fd, nerr := strconv.Atoi(name); err == nil && nerr == nil && filepath.Clean(dir) == own {
		fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
		return os.NewFile(uintptr(fd), path), nil
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
}
