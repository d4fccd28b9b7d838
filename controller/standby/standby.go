// Package standby lets one of several processes on a machine be the one that
// works: the one that holds an exclusive lock on a file. The kernel lets go
// of the lock when its holder dies, however it died, so the next in line
// follows within a millisecond and never beside a holder that lives. What
// the work is, the package does not know.
package standby

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Wait returns once this process holds the lock on the file at path, which is
// made when it is missing, with its folder. The process id is written into
// it, for Holder. release gives the lock up; it may be called more than once.
//
// When ctx ends first the error is its cause. A wait in the kernel cannot be
// called back (flock(2)): a goroutine then stays until it gets the lock, and
// gives it up at once.
//
// The file must not be removed: two processes would hold two files of one
// name. Wait sees that while it waits, and begins again with the new file;
// somebody who holds the old one does not see it.
func Wait(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of lock: %w", err)
	}
	for {
		fd, err := lock(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		same, err := current(fd, path)
		if err == nil && same {
			err = sign(fd)
			if err == nil {
				return sync.OnceFunc(func() { _ = unix.Close(fd) }), nil // the lock goes with the file
			}
		}
		_ = unix.Close(fd) // nothing was written
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// Holder is the id of the process that holds the lock or, when nobody does,
// of the last that did; 0: nobody yet, or it cannot be read. It is for
// people: by the time it is read it may have changed.
func Holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// lock opens the file and waits for the lock on it. No child inherits the
// file (O_CLOEXEC), so none can hold the lock longer than this process. It is
// no os.File, which the garbage collector would close, and with it the lock,
// once nobody remembers how to release it.
func lock(ctx context.Context, path string) (int, error) {
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		return err
	})
	if err != nil {
		return -1, err
	}
	done := make(chan error, 1)
	go func() { done <- again(func() error { return unix.Flock(fd, unix.LOCK_EX) }) }()
	select {
	case err := <-done:
		if err != nil {
			_ = unix.Close(fd) // nothing was written
			return -1, err
		}
		return fd, nil
	case <-ctx.Done():
		go func() {
			<-done
			_ = unix.Close(fd) // and gives up the lock
		}()
		return -1, context.Cause(ctx)
	}
}

// again repeats a system call that a signal has cut short.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// current tells whether path still names the file.
func current(fd int, path string) (bool, error) {
	var mine, named unix.Stat_t
	if err := unix.Fstat(fd, &mine); err != nil {
		return false, err
	}
	err := unix.Stat(path, &named)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return mine.Dev == named.Dev && mine.Ino == named.Ino, err
}

// sign writes this process's id into the file.
func sign(fd int) error {
	if err := unix.Ftruncate(fd, 0); err != nil {
		return err
	}
	_, err := unix.Pwrite(fd, []byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
