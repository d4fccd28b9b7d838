package process

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/prometheus/procfs"
)

// signalTree sends a signal to a process, its process group, and all
// descendants of both, also those that lead groups of their own, as the
// backends of Postgres do. What has ended meanwhile is no error.
func signalTree(root int, sig syscall.Signal) error {
	first := sig
	if sig == syscall.SIGKILL {
		first = syscall.SIGSTOP // what stands still starts nothing, and its children stay its own
	}
	var errs []error
	send := func(pid int, sig syscall.Signal) {
		if err := syscall.Kill(pid, sig); err != nil && !ended(err) {
			errs = append(errs, fmt.Errorf("send %v to process %d: %w", sig, pid, err))
		}
	}
	done := map[int]bool{}
	for again := true; again; { // what was started meanwhile is found by looking again
		again = false
		all, err := treeOf(root)
		if err != nil {
			errs = append(errs, err)
			break
		}
		for _, pid := range all {
			if !done[pid] {
				done[pid], again = true, true
				send(pid, first)
			}
		}
	}
	if sig != first {
		for pid := range done {
			send(pid, sig)
		}
		_ = syscall.Kill(-root, sig) // whatever could not be listed
	}
	return errors.Join(errs...)
}

// treeOf lists a process, its process group, and the descendants of both.
func treeOf(root int) ([]int, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	list, err := proc.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	stats := map[int]procfs.ProcStat{}
	for _, p := range list {
		stat, err := p.Stat()
		if ended(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at process %d: %w", p.PID, err)
		}
		stats[p.PID] = stat
	}
	var all []int
	for pid := range stats {
		if _, ok := owner(pid, stats, map[int]Part{root: ""}); ok {
			all = append(all, pid)
		}
	}
	return all, nil
}
