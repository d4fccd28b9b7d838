package service

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// DelayHeader is the request header that makes a service wait before it
// answers: a duration as in Go, "150us". Paired trials slow one side down by
// it, to learn what they would find. It is not passed on to upstreams.
const DelayHeader = "Meshlab-Delay"

const (
	maxDelay = 10 * time.Second
	// busyDelay is the end of a delay, which is spent in a loop. What goes before
	// it is slept, and time.Sleep may be late by a millisecond (golang/go#53824).
	busyDelay = 2 * time.Millisecond
)

// delayed makes h honour DelayHeader. A value that is no duration above 0 and
// up to 10 s is answered with status 400.
//
// The end of the delay is spent busily, as it is by a service that has more to
// do. A thread that sleeps is late by the time that the kernel takes to wake it, 36
// to 53 us at the median on two virtual processors, and leaves the processor idle,
// which makes what comes after it late, too: no small delay could be made so.
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
	if early := time.Until(end) - busyDelay; early > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(early):
		}
	}
	for time.Now().Before(end) { // which is when the delay ends
	}
}
