package service

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// ask sends a request with the header's values to a service that says which
// delay it was handed.
func ask(ctx context.Context, values ...string) *httptest.ResponseRecorder {
	h := delayed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "passed on: %q", r.Header.Values(DelayHeader))
	}))
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	for _, v := range values {
		r.Header.Add(DelayHeader, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestDelay(t *testing.T) {
	for _, d := range []time.Duration{time.Nanosecond, 150 * time.Microsecond, 2 * time.Millisecond, 30 * time.Millisecond} {
		begin := time.Now()
		w := ask(t.Context(), d.String())
		took := time.Since(begin)
		if w.Code != http.StatusOK || w.Body.String() != "passed on: []" {
			t.Errorf("%v: status %d, %q", d, w.Code, w.Body)
		}
		if took < d || took > d+5*time.Second {
			t.Errorf("%v: took %v", d, took)
		}
	}
	if w := ask(t.Context()); w.Code != http.StatusOK {
		t.Errorf("no delay: status %d", w.Code)
	}
}

func TestDelayRefused(t *testing.T) {
	for _, values := range [][]string{{""}, {"150"}, {"0"}, {"0s"}, {"-1us"}, {"10.001s"}, {"1h"}, {"soon"}, {"1us", "2us"}, {strings.Repeat("9", 1000)}} {
		w := ask(t.Context(), values...)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "as in 150us") || w.Body.Len() > 300 {
			t.Errorf("%.40q: status %d, %q", values, w.Code, w.Body)
		}
	}
}

// A client that goes away takes its long delay with it.
func TestDelayEndsWithTheClient(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	ask(ctx, "10s")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// The delay is late by far less than time.Sleep, which wakes up in whole
// milliseconds.
func TestDelayIsPrecise(t *testing.T) {
	const d = 150 * time.Microsecond
	var best time.Duration
	for range 20 { // others use this machine
		late := make([]time.Duration, 0, 1000)
		for range cap(late) {
			begin := time.Now()
			sleepUntil(t.Context(), begin.Add(d))
			late = append(late, time.Since(begin)-d)
		}
		slices.Sort(late)
		best = late[len(late)/2]
		t.Logf("of %v late by %v at the median, %v at the 99th percentile", d, best, late[len(late)*99/100])
		if late[0] < 0 {
			t.Fatalf("early by %v", -late[0])
		}
		if best < 30*time.Microsecond {
			return
		}
	}
	t.Errorf("late by %v at the median", best)
}
