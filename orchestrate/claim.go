package orchestrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Claim is the right to change a lab's state folder: a lock on the folder
// itself (flock(2)), which the kernel releases when the last process that
// holds File has ended. `up` holds it while it brings the lab to life, and
// the lab's first process for as long as the lab lives: who gets the claim
// of an existing folder knows that the lab has ended, or is about to be
// removed by the kernel.
type Claim struct {
	state State
	dir   *os.File
}

// File is the locked folder, for a process that inherits the claim.
func (c *Claim) File() *os.File { return c.dir }

// Release ends the claim in this process. Calling it again does nothing.
func (c *Claim) Release() { c.dir.Close() }

// Remove deletes the folder, and ends the claim.
func (c *Claim) Remove() error {
	defer c.Release()
	if err := os.RemoveAll(c.state.Dir); err != nil {
		return fmt.Errorf("remove state of lab: %w", err)
	}
	_ = os.Remove(filepath.Dir(c.state.Dir)) // succeeds for the last lab only
	return nil
}

// Lock claims the folder of a lab, without waiting. Without a folder the
// error matches fs.ErrNotExist; while another process holds the claim, ErrUp.
func (s State) Lock() (*Claim, error) {
	if err := checkRoot(filepath.Dir(s.Dir)); err != nil {
		return nil, err
	}
	for {
		dir, err := os.OpenFile(s.Dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open state folder of lab: %w", err)
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			dir.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, ErrUp
			}
			return nil, fmt.Errorf("lock state folder %s: %w", s.Dir, err)
		}
		// Between the open and the lock the folder may have been removed, and
		// one of the same name made: the lock must be on the one that is there.
		locked, err := dir.Stat()
		if err == nil {
			var there fs.FileInfo
			if there, err = os.Stat(s.Dir); err == nil && os.SameFile(locked, there) {
				return &Claim{s, dir}, nil
			}
		}
		dir.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("check state folder of lab: %w", err)
		}
	}
}

// Claim makes the folder of a new lab and claims it. What a dead lab of the
// same name has left is removed, first by undo, which gets its record, if there
// is a readable one; a live one is an error that matches ErrUp.
func (s State) Claim(undo func(Record) error) (*Claim, error) {
	c, err := s.makeLocked()
	if errors.Is(err, ErrUp) {
		if r, rerr := s.Read(); rerr == nil && r.Alive() {
			return nil, fmt.Errorf("%w (since %s, mesh %s): `meshlab down %s` ends it", ErrUp, r.Created.Format(time.DateTime), r.Mesh, r.Name)
		}
		return nil, fmt.Errorf("another meshlab is bringing this lab up or down: %w", ErrUp)
	}
	if err != nil {
		return nil, err
	}
	if r, err := s.Read(); err == nil {
		if err := undo(r); err != nil {
			c.Release()
			return nil, fmt.Errorf("remove what a dead lab left: %w", err)
		}
	}
	entries, err := os.ReadDir(s.Dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.Dir, e.Name())))
	}
	if err != nil {
		c.Release()
		return nil, fmt.Errorf("remove what a dead lab left: %w", err)
	}
	return c, nil
}

// makeLocked makes the folder when it is missing, and locks it.
func (s State) makeLocked() (*Claim, error) {
	for {
		if err := s.makeRoot(); err != nil {
			return nil, err
		}
		err := os.Mkdir(s.Dir, 0o700)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another meshlab has removed the root together with its last lab
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create state folder: %w", err)
		}
		c, err := s.Lock()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was the folder of a lab that has just gone
		}
		return c, err
	}
}

func (s State) makeRoot() error {
	root := filepath.Dir(s.Dir)
	// It is there and then it is not, says MkdirAll with ErrExist, when another
	// meshlab removes it meanwhile; the caller's next step notices that.
	if err := os.MkdirAll(root, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create state folder: %w", err)
	}
	return checkRoot(root)
}

// checkRoot refuses a root that another user may have prepared, as anybody
// can below /tmp: a record names the process to kill, and a socket gets the
// caller's own files. A root that is missing is right.
func checkRoot(root string) error {
	st, err := os.Lstat(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check state folder: %w", err)
	}
	const remedy = "remove it, or without root set XDG_RUNTIME_DIR to a folder of your own"
	if !st.IsDir() {
		return fmt.Errorf("state folder %s is not a folder; %s", root, remedy)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("state folder %s belongs to another user (uid %d); %s", root, sys.Uid, remedy)
	}
	return nil
}
