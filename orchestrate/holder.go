package orchestrate

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Holder finds the first process of the lab that lives in the folder, by the
// folder that it holds open, whatever the record says. The Record has only
// PID and StartTime; without such a process it is the zero Record, whose Kill
// does nothing.
func (s State) Holder() Record {
	folder, err := os.Stat(s.Dir)
	if err != nil {
		return Record{}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return Record{}
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !firstOfSandbox(pid) {
			continue
		}
		start, err := StartTime(pid)
		if err != nil {
			continue // it has ended since
		}
		files := filepath.Join("/proc", e.Name(), "fd")
		fds, err := os.ReadDir(files)
		if err != nil {
			continue // it has ended since, or is another user's
		}
		for _, fd := range fds {
			if held, err := os.Stat(filepath.Join(files, fd.Name())); err == nil && os.SameFile(held, folder) {
				return Record{Name: filepath.Base(s.Dir), PID: pid, StartTime: start}
			}
		}
	}
	return Record{}
}

// firstOfSandbox tells whether a process has the number 1 in a PID namespace
// below ours: the last of several numbers in NSpid (proc_pid_status(5)).
func firstOfSandbox(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(numbers)
			return len(f) > 1 && f[len(f)-1] == "1"
		}
	}
	return false
}
