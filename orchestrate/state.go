package orchestrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Record is what the machine outside a lab remembers of it.
type Record struct {
	Lab       string    `json:"lab"`  // name of the lab file
	Name      string    `json:"name"` // of this lab on this machine
	Mesh      Mesh      `json:"mesh"`
	PID       int       `json:"pid"`        // first process of the sandbox
	StartTime uint64    `json:"start_time"` // of PID, clock ticks since boot: tells it from a later process with the same number
	Created   time.Time `json:"created"`
	Version   string    `json:"version"` // of meshlab

	// Runtime is what the hosts are; of a lab that an older version made it is
	// empty, and Namespaces is meant. Engine is the socket of the engine that
	// has the containers of a lab of Docker. Both are in the record before the
	// first container is made.
	Runtime Runtime `json:"runtime,omitempty"`
	Engine  string  `json:"engine,omitempty"`
}

// Contained tells whether the lab has, or had, containers: the kernel does not
// remove those with the lab's first process.
func (r Record) Contained() bool { return r.Runtime == Docker }

// State is the folder of one lab: its record, sockets and log.
type State struct{ Dir string }

// StateRoot is the folder that holds the state of this user's labs:
// /run/meshlab for root, $XDG_RUNTIME_DIR/meshlab for others, and
// /tmp/meshlab-UID where that variable is missing.
func StateRoot() string {
	if os.Geteuid() == 0 {
		return "/run/meshlab"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		// A relative path is invalid (XDG Base Directory Specification).
		if st, err := os.Stat(dir); err == nil && st.IsDir() && filepath.IsAbs(dir) {
			return filepath.Join(dir, "meshlab")
		}
	}
	return fmt.Sprintf("/tmp/meshlab-%d", os.Geteuid())
}

// StateOf is the state folder of the named lab, which may not exist.
func StateOf(name string) State { return State{filepath.Join(StateRoot(), name)} }

// Control is the path of the supervisor's socket for verbs.
func (s State) Control() string { return filepath.Join(s.Dir, "control.sock") }

// Exec is the path of the supervisor's socket for commands.
func (s State) Exec() string { return filepath.Join(s.Dir, "exec.sock") }

// Shared is the folder that the containers of a lab see as /run/meshlab.
func (s State) Shared() string { return filepath.Join(s.Dir, "shared") }

// Log is the path of the supervisor's log.
func (s State) Log() string { return filepath.Join(s.Dir, "supervisor.log") }

func (s State) record() string { return filepath.Join(s.Dir, "lab.json") }

// ErrNotUp says that no lab of that name is up.
var ErrNotUp = errors.New("the lab is not up")

// ErrUp says that a lab of that name is up already.
var ErrUp = errors.New("the lab is up already")

// Read returns the record. Without one the error matches ErrNotUp.
func (s State) Read() (Record, error) {
	var r Record
	if err := checkRoot(filepath.Dir(s.Dir)); err != nil {
		return r, err
	}
	b, err := os.ReadFile(s.record())
	if errors.Is(err, fs.ErrNotExist) {
		return r, ErrNotUp
	}
	if err != nil {
		return r, fmt.Errorf("read record of lab: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("read record of lab %s: %w; `meshlab down %s` removes it", s.record(), err, filepath.Base(s.Dir))
	}
	return r, nil
}

// Write stores the record, whole or not at all.
func (s State) Write(r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record of lab: %w", err)
	}
	tmp := s.record() + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write record of lab: %w", err)
	}
	if err := os.Rename(tmp, s.record()); err != nil {
		return fmt.Errorf("write record of lab: %w", err)
	}
	return nil
}

// Alive says whether the lab's first process still runs.
func (r Record) Alive() bool {
	t, err := StartTime(r.PID)
	return err == nil && t == r.StartTime
}

// Kill ends the lab at once and waits until the kernel has removed all of
// it. It is no error when the lab has ended already.
func (r Record) Kill(timeout time.Duration) error {
	if r.PID <= 1 {
		return nil
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d of lab %s: %w", r.PID, r.Name, err)
	}
	defer unix.Close(fd)
	// Checked after the open: the number cannot be reused now. That the process
	// looks ended is not enough: when one of its threads has not, the kernel is
	// still removing the lab.
	if t, _, err := stat(r.PID); err != nil || t != r.StartTime {
		return nil
	}
	sockets := takePacketSockets(r.PID)
	defer func() { closeTogether(sockets) }()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d of lab %s: %w", r.PID, r.Name, err)
	}
	deadline := time.Now().Add(timeout)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("lab %s: process %d has not ended after %v", r.Name, r.PID, timeout)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for end of lab %s: %w", r.Name, err)
		}
		if n > 0 {
			return nil
		}
	}
}

// StartTime is when a process started, in clock ticks since boot. A process
// that has ended but is not yet collected counts as gone.
func StartTime(pid int) (uint64, error) {
	t, state, err := stat(pid)
	if err == nil && (state == "Z" || state == "X") {
		return 0, os.ErrProcessDone
	}
	return t, err
}

// stat reads the fields 22, the start time, and 3, the state of the main
// thread, of /proc/PID/stat (proc(5)).
func stat(pid int) (startTime uint64, state string, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	// The second field, the name in parentheses, may itself hold spaces.
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 20 {
		return 0, "", fmt.Errorf("read /proc/%d/stat: too few fields", pid)
	}
	startTime, err = strconv.ParseUint(f[19], 10, 64)
	return startTime, f[0], err
}
