package openloop

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// clock is the time of a trial.
type clock struct {
	start time.Time
	nanos int64 // start, on the system's monotonic clock
}

const (
	// coarse is the longest wait that is spent in the kernel; longer ones begin
	// with a timer of Go, which takes no thread and heeds the context.
	coarse = 50 * time.Millisecond
	// early is how much before the time such a timer ends. Go's timers are late
	// by up to about a millisecond (golang/go#44343).
	early = 10 * time.Millisecond
	// slack is the timer slack, in nanoseconds; the system's default is 50 us
	// (prctl(2), PR_SET_TIMERSLACK).
	slack = 1
)

// startClock returns a clock that starts so much later.
func startClock(later time.Duration) clock {
	// Both clocks are read one after the other, until the thread was not
	// interrupted in between.
	var best clock
	for shortest, i := time.Duration(1<<62), 0; i < 16; i++ {
		var ts unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic(err) // clock_gettime(2): fails for an unknown clock only
		}
		if d := time.Since(before); d < shortest {
			shortest = d
			best = clock{start: before.Add(d/2 + later), nanos: ts.Nano() + int64(later)}
		}
	}
	return best
}

// now returns the time since the start.
func (c clock) now() time.Duration { return time.Since(c.start) }

// sleep waits until at, and reports whether that time has come before the end
// of ctx. It returns at once for a time that has passed.
//
// The last stretch is spent in clock_nanosleep(2) with the least timer slack:
// the sleeps of Go's runtime are late by ten times as much.
func (c clock) sleep(ctx context.Context, at time.Duration) bool {
	if left := at - c.now(); left > coarse {
		timer := time.NewTimer(left - early)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	if c.now() < at {
		c.nanosleep(at)
	}
	return ctx.Err() == nil
}

func (c clock) nanosleep(at time.Duration) {
	runtime.LockOSThread() // slack belongs to the thread
	defer runtime.UnlockOSThread()
	// An error leaves the slack as it was; lateness tells.
	_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, slack, 0)
	until := unix.NsecToTimespec(c.nanos + int64(at))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &until, nil) == unix.EINTR {
		// Go interrupts threads by signals, to preempt them.
	}
}
