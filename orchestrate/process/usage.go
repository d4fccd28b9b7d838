package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Usage is what a part of a lab has used.
//
// CPU is processor time since the manager was made, of all processes of the
// part, their descendants, and those among them that have ended. Of a living
// process it is read from the process' CPU clock, in nanoseconds and up to
// date to the last switch of threads: /proc/PID/stat counts ticks of 10 ms,
// which is too coarse for a trial of a second. Of children that have ended
// and were waited for, the kernel tells only ticks, and of orphans that have
// ended nothing.
//
// It is what the kernel charges to processes. Work in softirqs, such as all
// switching of a kernel datapath, is charged to whoever was interrupted by
// it, or to nobody (CONFIG_IRQ_TIME_ACCOUNTING), and so is not in it.
type Usage struct {
	Part   Part
	CPU    time.Duration
	Memory uint64 // bytes: proportional set size, so pages that processes share count once
	// Resident says that Memory has the resident set size of at least one
	// process, shared pages in full: the kernel did not tell the other.
	Resident bool
}

// Parts returns all parts, from the wire up.
func Parts() []Part {
	return []Part{PartSwitch, PartController, PartRegistry, PartSidecar, PartService, PartLink}
}

// errEnded says that a process ended while it was looked at.
var errEnded = errors.New("a process has ended")

// usageTries is how often Usage looks again because processes ended meanwhile.
const usageTries = 20

// Usage tells what each part that has or had processes has used, in the order
// of Parts. All CPU clocks are read first, within some milliseconds, and then
// memory, which may take longer. A lab whose processes end all the time gives
// an error. It may be called from any goroutine.
func (m *Manager) Usage(ctx context.Context) ([]Usage, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("read usage of processes: %w", err)
	}
	for range usageTries {
		used, owners, err := m.cpu(ctx, proc)
		if err == nil {
			for pid, part := range owners {
				addMemory(proc, pid, used[part])
			}
			return inOrder(used), nil
		}
		if !errors.Is(err, errEnded) {
			return nil, fmt.Errorf("read usage of processes: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read usage of processes: %w", context.Cause(ctx))
		case <-time.After(time.Millisecond): // until the ended one is in the books
		}
	}
	return nil, fmt.Errorf("read usage of processes: %w, %d times while it was looked at", errEnded, usageTries)
}

func inOrder(used map[Part]*Usage) []Usage {
	var all []Usage
	for _, part := range Parts() {
		if u := used[part]; u != nil {
			all = append(all, *u)
		}
	}
	return all
}

// cpu reads the clocks, and returns the part of each process too.
func (m *Manager) cpu(ctx context.Context, proc procfs.FS) (map[Part]*Usage, map[int]Part, error) {
	used, roots, metered := m.books()
	for c, live := range metered {
		cpu, memory, err := live.Usage(ctx)
		if err != nil && !m.runs(c, live) {
			return nil, nil, errEnded
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.spec.Name, err)
		}
		used[c.spec.Part].CPU += cpu
		used[c.spec.Part].Memory += memory
	}
	list, err := proc.AllProcs()
	if err != nil {
		return nil, nil, err
	}
	tree := map[int]procfs.ProcStat{}
	for _, p := range list {
		stat, err := p.Stat()
		if ended(err) {
			continue // of a managed one it is seen below; of others it is in their parent's books
		}
		if err != nil {
			return nil, nil, err
		}
		tree[p.PID] = stat
	}
	for pid := range roots {
		if _, ok := tree[pid]; !ok {
			return nil, nil, errEnded
		}
	}
	owners := map[int]Part{}
	for pid, stat := range tree {
		part, ok := owner(pid, tree, roots)
		if !ok {
			continue
		}
		clock, err := cpuClock(pid)
		if err != nil {
			return nil, nil, err
		}
		owners[pid] = part
		used[part].CPU += clock + ticks(stat.CUTime+stat.CSTime)
	}
	return used, owners, nil
}

// books are what ended processes have used, the living ones by number, and
// those that tell themselves what they use.
func (m *Manager) books() (map[Part]*Usage, map[int]Part, map[*child]Metered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	used, roots, metered := map[Part]*Usage{}, map[int]Part{}, map[*child]Metered{}
	for part, cpu := range m.ended {
		used[part] = &Usage{Part: part, CPU: cpu}
	}
	for _, c := range m.children {
		if used[c.spec.Part] == nil {
			used[c.spec.Part] = &Usage{Part: c.spec.Part}
		}
		if c.info.State != Running && c.info.State != Paused {
			continue
		}
		if live, ok := c.live.(Metered); ok {
			metered[c] = live
		} else {
			roots[c.info.PID] = c.spec.Part
		}
	}
	return used, roots, metered
}

// runs tells whether that program is still the one that runs of a process.
func (m *Manager) runs(c *child, live Metered) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (c.info.State == Running || c.info.State == Paused) && c.live.(Metered) == live
}

// owner is the part of a process: that of the managed process whose
// descendant it is, or, when its parent has ended, whose process group it is in.
func owner(pid int, tree map[int]procfs.ProcStat, roots map[int]Part) (Part, bool) {
	for range len(tree) { // the list is no snapshot: it may hold a loop
		if part, ok := roots[pid]; ok {
			return part, true
		}
		stat, ok := tree[pid]
		if !ok {
			return "", false
		}
		if part, ok := roots[stat.PGRP]; ok {
			return part, true
		}
		pid = stat.PPID
	}
	return "", false
}

// cpuClock reads the CPU clock of a process: clock_getcpuclockid(3), whose
// clock ids are ~PID << 3 | CPUCLOCK_SCHED (Linux,
// include/linux/posix-timers_types.h).
func cpuClock(pid int) (time.Duration, error) {
	const cpuclockSched = 2
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &ts)
	if errors.Is(err, unix.EINVAL) { // no such process
		return 0, errEnded
	}
	if err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// ticks are the unit of /proc/PID/stat: 1/100 s on every architecture that
// Linux runs Go on (USER_HZ).
func ticks(n int) time.Duration { return time.Duration(n) * (time.Second / 100) }

// addMemory adds a process' memory. One that has ended since has none.
func addMemory(proc procfs.FS, pid int, to *Usage) {
	p, err := proc.Proc(pid)
	if err != nil {
		return
	}
	if rollup, err := p.ProcSMapsRollup(); err == nil {
		to.Memory += rollup.Pss
		return
	} else if ended(err) {
		return
	}
	if stat, err := p.Stat(); err == nil {
		to.Memory += uint64(stat.ResidentMemory())
		to.Resident = true
	}
}

func ended(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }
