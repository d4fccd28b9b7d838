// Package sandbox starts a program inside kernel namespaces of its own: PID,
// mount, network, IPC, UTS, and for an ordinary user a user namespace. All
// that the program makes (processes, network namespaces, links, mounts, files
// below /run, shared memory) ends with the first process of the sandbox: the kernel
// guarantees it (pid_namespaces(7)), whatever happened before.
package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Config says what runs in a sandbox.
type Config struct {
	Program string     // absolute path; "": this same program
	Args    []string   // its arguments, with which it must call Init
	Files   []*os.File // inherited as file descriptors 3, 4, ...
	Held    *os.File   // open in the first process alone, until the sandbox ends
	Log     *os.File   // standard output and error
}

// ErrForbidden says that the kernel does not let this user make the
// namespaces.
var ErrForbidden = errors.New("the kernel forbids this user to make namespaces; `meshlab doctor` names the remedy")

// Start starts the program as the first process of a new sandbox. The
// process is in a session of its own and outlives the caller.
func Start(cfg Config) (*os.Process, error) {
	cmd := exec.Command(cmp.Or(cfg.Program, "/proc/self/exe"), cfg.Args...)
	cmd.ExtraFiles = append(slices.Clone(cfg.Files), cfg.Held)
	cmd.Stdout, cmd.Stderr = cfg.Log, cfg.Log
	cmd.Dir = "/"
	attr := &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	if uid := os.Geteuid(); uid != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("make sandbox: %w (%w)", ErrForbidden, err)
		}
		return nil, fmt.Errorf("make sandbox: %w", err)
	}
	return cmd.Process, nil
}

// Bind is a file or folder of the machine that a sandbox sees too, most often
// below its own /run.
type Bind struct{ Source, Target string } // absolute paths

// Init is what the first process of a sandbox does: it gives the sandbox its
// own /proc, /run and /dev/shm, and in them what binds name, starts this
// program again with args (and the given number of files, inherited from 3
// on), and collects orphans until that one ends. It returns the exit code to
// end with.
func Init(args []string, files int, binds ...Bind) (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("start sandbox: not the first process of a PID namespace; this command is for meshlab's own use")
	}
	unix.CloseOnExec(3 + files) // Config.Held
	if err := mounts(binds); err != nil {
		return 0, err
	}
	argv := append([]string{os.Args[0]}, args...)
	fds := []uintptr{0, 1, 2}
	for i := range files {
		fds = append(fds, uintptr(3+i))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: fds,
	})
	if err != nil {
		return 0, fmt.Errorf("start supervisor: %w", err)
	}
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for supervisor: %w", err)
		case got == pid && status.Exited():
			return status.ExitStatus(), nil
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}

const shm = "/dev/shm"

// mounts replaces what must be private, and puts what is bound into it. Nothing
// of it reaches the machine's own mount namespace.
func mounts(binds []Bind) error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// What is below /run is out of sight once that is private.
	sources := make([]int, len(binds))
	for i, b := range binds {
		fd, err := unix.Open(b.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s for the sandbox: %w", b.Source, err)
		}
		defer unix.Close(fd)
		sources[i] = fd
	}
	steps := []struct {
		target, fstype string
		flags          uintptr
		data           string
	}{
		{"/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		// Shared memory (shm_overview(7)) of a process that is killed would stay.
		{shm, "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	}
	for _, s := range steps {
		err := unix.Mount("meshlab", s.target, s.fstype, s.flags, s.data)
		if s.target == shm && errors.Is(err, unix.ENOENT) {
			continue // nobody can use it then
		}
		if err != nil {
			return fmt.Errorf("mount %s on %s: %w", s.fstype, s.target, err)
		}
	}
	for i, b := range binds {
		if err := bind(sources[i], b.Target); err != nil {
			return fmt.Errorf("bind %s to %s: %w", b.Source, b.Target, err)
		}
	}
	return nil
}

// bind mounts what a descriptor stands for on target, which it makes.
func bind(source int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	dir := target
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		dir = filepath.Dir(target)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if dir != target {
		f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil && !errors.Is(err, unix.ENXIO) { // a socket, that is there already
			return err
		}
		f.Close()
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", source), target, "", unix.MS_BIND, "")
}
