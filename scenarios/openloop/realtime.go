package openloop

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// startRealTime starts the command with the lowest real-time priority
// (SCHED_FIFO, sched(7)), which its threads inherit, where this process may:
// root may. Then a due request does not wait for a processor that something of
// the labs is using, as it would not if it came from another machine. Where
// that is not allowed, the command starts like any other.
func startRealTime(cmd *exec.Cmd) error {
	// fork(2) takes over the policy of the calling thread, so this one stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return cmd.Start()
	}
	first := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &first, 0); err != nil {
		return cmd.Start()
	}
	err = cmd.Start()
	if back := unix.SchedSetAttr(0, before, 0); err == nil && back != nil {
		// To run on with that priority would disturb the labs more than anything.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		err = back
	}
	return err
}

// realTime tells whether this process runs with real-time priority.
func realTime() bool {
	a, err := unix.SchedGetAttr(0, 0)
	return err == nil && a.Policy == unix.SCHED_FIFO
}
