package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrLingers says that the engine has removed a container, and that a process
// of it, or the one that the engine kept beside it, is still there.
var ErrLingers = errors.New("the engine has removed a container, and a process of it is still there")

// lingerLimit is how long Remove waits for the last processes of containers
// that the engine has removed. Beside each container it runs a shim, which ends
// after the engine has called the container gone: 20 to 400 ms after on two
// idle cores, and up to some seconds on busy ones. containerd asks a shim to end
// once, with a limit of time, and logs that it "might be leaked" when that fails
// (containerd, runtime/v2/shim.go, delete): one that is there after half of this
// limit stays for ever.
const lingerLimit = 20 * time.Second

// lingerPoll is the pause between two looks at all processes of the machine,
// each some 10 ms of processor time with 500 of them.
const lingerPoll = 20 * time.Millisecond

// awaitEnd waits until no process is left of containers that the engine has
// removed, given by their IDs, and removes control groups that it has left: it
// does when a shim is killed while it makes a container. A shim that is still
// there after half of limit, without a process of its container, is killed: it
// has been forgotten. awaitEnd sees processes in the PID namespace that proc is
// of, and below it. The error wraps ErrLingers or the cause of ctx.
func awaitEnd(ctx context.Context, proc, groups string, ids map[string]bool, limit time.Duration) error {
	begin := time.Now()
	for deadline := begin.Add(limit); len(ids) > 0; {
		l, found, err := findLingering(proc, ids)
		if err != nil {
			return err
		}
		if !found {
			if l.group, l.id = removeGroups(groups, ids); l.group == "" {
				return nil
			}
		}
		if time.Now().After(deadline) && l.group != "" {
			return fmt.Errorf("%w, %v later: in %s, where it cannot be seen from here", ErrLingers, limit, l.group)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w, %v later: %d (%s) of container %.12s; `kill -9 %d` ends it", ErrLingers, limit, l.pid, l.command, l.id, l.pid)
		}
		if found && l.shim && time.Since(begin) > limit/2 {
			killShim(proc, l, ids)
		}
		select {
		case <-time.After(lingerPoll):
		case <-ctx.Done():
			return fmt.Errorf("wait for the last process of container %.12s to end: %w", l.id, context.Cause(ctx))
		}
	}
	return nil
}

// lingering is a process of a container.
type lingering struct {
	pid     int
	command string
	shim    bool   // containerd's process beside the container, not one in it
	id      string // of the container
	group   string // instead of pid and command: a control group that something is in
}

// findLingering finds a process of one of the containers: one in its control
// group, or else one that the engine runs for it.
func findLingering(proc string, ids map[string]bool) (l lingering, found bool, err error) {
	dirs, err := filepath.Glob(filepath.Join(escapeGlob(proc), "[0-9]*"))
	if err != nil {
		return l, false, fmt.Errorf("look for processes of containers: %w", err)
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // it has just ended
		}
		args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if id := keeperOf(args, ids); id != "" {
			l, found = lingering{pid: pid, command: strings.Join(args, " "), shim: isShim(args), id: id}, true
		} else if id := memberOf(dir, ids); id != "" {
			return lingering{pid: pid, command: strings.Join(args, " "), id: id}, true, nil
		}
	}
	return l, found, nil
}

// killShim kills a shim as soon as it is certain that it is still the process
// that was found: the handle keeps its number from meaning another one. What
// cannot be killed stays, and is told when the time is over. containerd sees
// that the shim has gone, and deletes what is left of the container.
func killShim(proc string, l lingering, ids map[string]bool) {
	p, err := os.FindProcess(l.pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }() // it cannot fail on Linux
	line, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(l.pid), "cmdline"))
	if err != nil {
		return
	}
	args := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	if isShim(args) && keeperOf(args, ids) == l.id {
		_ = p.Kill()
	}
}

// isShim tells whether a process with these arguments is one of containerd's
// beside a container.
func isShim(args []string) bool {
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim")
}

// keeperOf returns the container that a process with these arguments is run
// for, "" if none: `containerd-shim-runc-v2 -namespace moby -id ID ...` lives
// as long as the container (containerd, runtime/v2/README.md), and `runc ...
// delete --force ID` removes what is left of it (runc-delete(8)).
func keeperOf(args []string, ids map[string]bool) string {
	if program := filepath.Base(args[0]); !isShim(args) && program != "runc" && program != "crun" {
		return ""
	}
	if i := slices.IndexFunc(args, func(a string) bool { return ids[a] }); i > 0 {
		return args[i]
	}
	return ""
}

// memberOf returns the container whose control group a process is in, "" if
// none. One that has ended, and that only its parent has to collect, is in
// none; but the first thread may have ended before the others, and the kernel
// has the last one end all processes of a PID namespace.
func memberOf(dir string, ids map[string]bool) string {
	files := []string{filepath.Join(dir, "cgroup")}
	switch state, threads := threadsOf(dir); {
	case state != "Z" && state != "X":
	case threads < 2:
		return ""
	default:
		all, err := filepath.Glob(filepath.Join(escapeGlob(dir), "task", "*", "cgroup"))
		if err != nil {
			return ""
		}
		files = all
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		// Lines "HIERARCHY:CONTROLLERS:/PATH" (cgroups(7)).
		for name := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == '/' || r == '\n' }) {
			name = strings.TrimSuffix(strings.TrimPrefix(name, "docker-"), ".scope")
			if ids[name] {
				return name
			}
		}
	}
	return ""
}

// threadsOf reads the fields 3, the state of the first thread, and 20, the
// number of threads, of the stat file of a process (proc(5)).
func threadsOf(dir string) (state string, threads int) {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return "X", 0
	}
	// The second field, the name in parentheses, may itself hold spaces.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 18 {
		return "X", 0
	}
	threads, err = strconv.Atoi(f[17])
	if err != nil {
		return "X", 0
	}
	return f[0], threads
}
