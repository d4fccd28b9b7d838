package shape

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Priorities of threads (sched(7), SCHED_RR), which only root may give. Threads
// that send frames go before the others of the process; but those too go before
// all that is not real time, as Go's scheduler stops all threads for one of
// them now and then.
const (
	othersPriority = 1
	runnerPriority = 2
)

// prioritise makes the calling thread leave on time. What the user may not do
// is left out: the counters tell how late frames are.
func prioritise() {
	// The kernel gathers wake-ups within 50 us by default (prctl(2)).
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	if realTime(0, runnerPriority) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
}

// prioritiseProcess does that for all threads that there are. Those that they
// make take it on.
func prioritiseProcess() error {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := realTime(tid, othersPriority); err != nil {
			return fmt.Errorf("give thread %d priority: %w", tid, err)
		}
	}
	return nil
}

// realTime gives a thread, 0 for the calling one, a priority in SCHED_RR.
func realTime(tid int, priority int32) error {
	param := struct{ priority int32 }{priority}
	_, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(tid), unix.SCHED_RR, uintptr(unsafe.Pointer(&param)))
	if errno != 0 {
		return errno
	}
	return nil
}
