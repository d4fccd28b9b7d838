package kubetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// confinedVariable tells the test program that it is to become a confined
// process: a confinement, as JSON.
const confinedVariable = "KUBETEST_CONFINED"

// confinement is what a kubelet's runtime makes of a container and its security
// context: a root of its own, mounts, a user, capabilities. Seccomp's filter
// and cgroups are not stood in for.
type confinement struct {
	Root         string            // empty folder to build the root in
	ReadOnlyRoot bool              //
	Binds        []bind            // what is seen of outside
	Files        map[string][]byte // files that volumes are made of, read-only; by path
	Memory       []string          // empty folders to write into
	User         int               //
	KeepAll      bool              // capabilities, and the way to more of them
	Args         []string          // the program first, a path inside
}

// bind is a file or folder of outside at a path inside.
type bind struct {
	From, To string
	ReadOnly bool
}

// programFolders are what a dynamically linked program needs, in place of the
// image.
var programFolders = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}

// confinedMain becomes the program of a confinement. It does not return, but
// with an error. The process has a mount namespace of its own.
func confinedMain() error {
	runtime.LockOSThread() // capabilities are a thread's; exec keeps those of the one that calls it
	var c confinement
	if err := json.Unmarshal([]byte(os.Getenv(confinedVariable)), &c); err != nil {
		return fmt.Errorf("read %s: %w", confinedVariable, err)
	}
	if err := c.build(); err != nil {
		return err
	}
	if err := unix.Chroot(c.Root); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := c.drop(); err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, confinedVariable+"=") })
	return fmt.Errorf("start %s: %w", c.Args[0], unix.Exec(c.Args[0], c.Args, env))
}

// build makes the root.
func (c *confinement) build() error {
	mount := func(from, to, kind string, flags uintptr, data string) error {
		if err := unix.Mount(from, to, kind, flags, data); err != nil {
			return fmt.Errorf("mount %s at %s: %w", from, to, err)
		}
		return nil
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("root", c.Root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	proc := filepath.Join(c.Root, "proc")
	if err := os.Mkdir(proc, 0o755); err != nil {
		return err
	}
	if err := mount("proc", proc, "proc", 0, ""); err != nil {
		return err
	}
	binds := c.Binds
	for _, folder := range programFolders {
		if to, err := os.Readlink(folder); err == nil {
			if err := os.Symlink(to, filepath.Join(c.Root, folder)); err != nil {
				return err
			}
		} else if _, err := os.Stat(folder); err == nil {
			binds = append([]bind{{folder, folder, true}}, binds...)
		}
	}
	for _, b := range binds {
		to := filepath.Join(c.Root, b.To)
		if err := place(b.From, to); err != nil {
			return err
		}
		if err := mount(b.From, to, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if b.ReadOnly {
			if err := mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				return err
			}
		}
	}
	for _, folder := range c.Memory {
		to := filepath.Join(c.Root, folder)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := mount("memory", to, "tmpfs", 0, "mode=777"); err != nil {
			return err
		}
	}
	for path, content := range c.Files {
		to := filepath.Join(c.Root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o644)); err != nil {
			return err
		}
	}
	if !c.ReadOnlyRoot {
		return nil
	}
	return mount("", c.Root, "", unix.MS_REMOUNT|unix.MS_RDONLY, "mode=755")
}

// place makes a place for a bind mount.
func place(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(to, 0o755)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, nil, 0o755))
}

// drop gives up what the container is not to have (capabilities(7)).
func (c *confinement) drop() error {
	if !c.KeepAll {
		for one := uintptr(0); one <= unix.CAP_LAST_CAP; one++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, one, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("drop capability %d: %w", one, err)
			}
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	if c.User != 0 {
		// Of this thread alone, as exec is.
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(c.User), uintptr(c.User), uintptr(c.User)); err != 0 {
			return fmt.Errorf("become user %d: %w", c.User, err)
		}
	}
	if c.KeepAll {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
		return fmt.Errorf("drop all capabilities: %w", err)
	}
	return nil
}
