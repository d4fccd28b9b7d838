package shape

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// prioritise makes the calling thread leave on time. What the user may not do
// is left out: the counters tell how late frames are.
func prioritise() {
	// The kernel gathers wake-ups within 50 us by default (prctl(2)).
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	// Before all that is not real time; root only (sched(7)).
	param := struct{ priority int32 }{1}
	if _, _, errno := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_RR|unix.SCHED_RESET_ON_FORK, uintptr(unsafe.Pointer(&param))); errno != 0 {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	}
}
