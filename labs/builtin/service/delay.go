package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// DelayHeader is the request header that makes a service wait before it
// answers: a duration as in Go, "150us". Paired trials slow one side down by
// it, to learn what they would find. It is not passed on to upstreams.
const DelayHeader = "Meshlab-Delay"

const (
	maxDelay = 10 * time.Second
	// preciseDelay is the end of a delay, which a thread of its own waits for.
	// What goes before it needs no thread, and may be late by less than this.
	preciseDelay = 10 * time.Millisecond
)

// delayed makes h honour DelayHeader. A value that is no duration above 0 and
// up to 10 s is answered with status 400.
//
// The delay is late by the time that the kernel takes to wake a thread. Of
// 150 us, on two virtual processors that others used too: 36 to 53 us at the
// median and 0.10 to 0.11 ms at the 99th percentile at a load average of 5,
// with one or two requests at a time; 27 us and 0.3 to 10 ms at a load average
// of 20. time.Sleep was 0.95 ms late at the median. TestDelayIsPrecise logs the
// machine's own figures.
func delayed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		values := r.Header.Values(DelayHeader)
		if len(values) == 0 {
			h.ServeHTTP(w, r)
			return
		}
		d, err := time.ParseDuration(values[0])
		if err != nil || len(values) > 1 || d <= 0 || d > maxDelay {
			http.Error(w, fmt.Sprintf("%s: %.80q is not one duration above 0 and up to %v, as in 150us", DelayHeader, values, maxDelay), http.StatusBadRequest)
			return
		}
		r.Header.Del(DelayHeader)
		sleepUntil(r.Context(), begin.Add(d))
		h.ServeHTTP(w, r)
	})
}

// sleepUntil returns at that time, or early when ctx ends.
func sleepUntil(ctx context.Context, end time.Time) {
	if early := time.Until(end) - preciseDelay; early > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(early):
		}
	}
	if left := time.Until(end); left > 0 {
		sleepPrecisely(left)
	}
}

// sleepPrecisely sleeps on a thread of its own, with the finest timer slack.
// time.Sleep waits in epoll_wait, in whole milliseconds (golang/go#53824), and
// a thread's slack is 50 us by default (PR_SET_TIMERSLACK, prctl(2)).
func sleepPrecisely(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Without it the sleep is 50 us longer. 0 is the thread's default again.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		time.Sleep(d)
		return
	}
	end := unix.NsecToTimespec(now.Nano() + d.Nanoseconds())
	for errors.Is(unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &end, nil), unix.EINTR) {
		continue // the runtime signals threads to preempt them
	}
}
