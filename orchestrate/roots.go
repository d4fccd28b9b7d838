package orchestrate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// roots lists the folders that may hold state of this user's labs: that of
// now, and those that it is without XDG_RUNTIME_DIR or with the usual one
// (pam_systemd(8)), as after sudo, su or in a job of cron.
func roots() []string {
	all := []string{StateRoot()}
	if uid := os.Geteuid(); uid != 0 {
		for _, dir := range []string{fmt.Sprintf("/run/user/%d/meshlab", uid), fmt.Sprintf("/tmp/meshlab-%d", uid)} {
			if !slices.Contains(all, dir) && checkRoot(dir) == nil {
				all = append(all, dir)
			}
		}
	}
	return all
}

// ListAll is List for all state folders that this user may have had, with the
// labs whose state folder has been deleted while they live.
func ListAll() ([]Entry, error) {
	var all []Entry
	var errs []error
	for _, root := range roots() {
		labs, err := list(root)
		all, errs = append(all, labs...), append(errs, err)
	}
	return append(all, Orphans()...), errors.Join(errs...)
}

// Orphans finds labs of this user whose state folder has been deleted while
// they live: their first processes still hold it open. No verb reaches them.
func Orphans() []Entry {
	var all []Entry
	known := roots()
	for _, p := range firsts() {
		for _, fd := range p.files() {
			path, err := os.Readlink(fd)
			dir, deleted := strings.CutSuffix(path, " (deleted)") // proc_pid_fd(5)
			if err != nil || !deleted || !slices.Contains(known, filepath.Dir(dir)) {
				continue
			}
			all = append(all, Entry{
				Record: Record{Name: filepath.Base(dir), PID: p.pid, StartTime: p.start}, Dir: dir,
				Condition: Up, Problem: "its state folder has been deleted", Orphan: true,
			})
			break
		}
	}
	return all
}

// first is the first process of a sandbox of this user.
type first struct {
	pid   int
	start uint64 // clock ticks since boot
}

// firsts lists the first processes of all sandboxes of this user that are
// directly in this PID namespace.
func firsts() []first {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []first
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil || !firstOfSandbox(pid) {
			continue
		}
		info, err := os.Stat(filepath.Join("/proc", e.Name()))
		if err != nil {
			continue // it has ended since
		}
		if sys, ok := info.Sys().(*syscall.Stat_t); !ok || int(sys.Uid) != os.Geteuid() {
			continue
		}
		if start, err := StartTime(pid); err == nil {
			all = append(all, first{pid, start})
		}
	}
	return all
}

// files lists the paths of its open files below /proc.
func (f first) files() []string {
	dir := fmt.Sprintf("/proc/%d/fd", f.pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil // it has ended since
	}
	var all []string
	for _, fd := range fds {
		all = append(all, filepath.Join(dir, fd.Name()))
	}
	return all
}

// firstOfSandbox tells whether a process has the number 1 in a PID namespace
// directly below ours: the last of its numbers in NSpid (proc_pid_status(5)),
// of which it has one more than this process.
func firstOfSandbox(pid int) bool {
	own, err := numbersOf("self")
	if err != nil {
		return false
	}
	its, err := numbersOf(fmt.Sprint(pid))
	return err == nil && len(its) == len(own)+1 && its[len(its)-1] == "1"
}

// numbersOf lists the numbers that a process has in its PID namespace and
// those above, the outermost first.
func numbersOf(pid string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(numbers), nil
		}
	}
	return nil, errors.New("no line NSpid")
}
