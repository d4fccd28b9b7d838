// Package netns makes the network namespaces of a lab's hosts and runs code
// inside them. Names are those of ip-netns(8): a bind mount under
// /run/netns, which inside a lab is a private file system, so that two labs
// may use the same names.
package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const dir = "/run/netns"

// Create makes the named network namespace. It fails with an error that
// matches fs.ErrExist when the name is taken.
func Create(name string) error {
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("create network namespace %s: %s: %w", name, path, os.ErrExist)
	}
	return onThread(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return fmt.Errorf("create network namespace %s: %w", name, err)
		}
		return ns.Close()
	})
}

// Adopt gives a network namespace that somebody else has made a name. It lives
// on for as long as it has that. The error matches fs.ErrExist when the name is
// taken.
func Adopt(name string, ns *os.File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("adopt network namespace %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("adopt network namespace %s: %w", name, err)
	}
	f.Close()
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()), path, "", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return fmt.Errorf("adopt network namespace %s: %w", name, err)
	}
	return nil
}

// Open returns a handle of the named namespace; close it after use.
func Open(name string) (netns.NsHandle, error) {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return ns, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	return ns, nil
}

// Do runs fn on a thread of its own inside the named namespace; "" is the
// namespace of the calling process. Sockets that fn opens and processes that
// it starts stay in that namespace; goroutines that it starts do not.
func Do(name string, fn func() error) error {
	if name == "" {
		return fn()
	}
	ns, err := Open(name)
	if err != nil {
		return err
	}
	defer ns.Close()
	return onThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", name, err)
		}
		return fn()
	})
}

// onThread runs fn on a locked thread that ends with it: a thread that has
// changed its namespace is never used again for anything else.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- fn()
	}()
	return <-done
}

// Sysctl writes one kernel parameter of the network namespace that the
// calling thread is in; name is a path below /proc/sys, for example
// "net/ipv4/tcp_tw_reuse".
func Sysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %q: %w", name, value, err)
	}
	return nil
}
