package fortio

import (
	"context"
	"fmt"
	"net"
	"time"

	"fortio.org/fortio/periodic"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
)

// worker is one connection of an attempt. Fortio calls its Run from one
// goroutine only.
type worker struct {
	ctx     context.Context // of the attempt: ends it at its limit
	limit   time.Duration
	timeout time.Duration
	request *client.Request
	client  *client.Client

	sent      int
	latencies []time.Duration // of successes
	errors    map[string]int  // by kind
}

func newWorker(ctx context.Context, spec scenarios.LoadSpec, r *client.Request) *worker {
	// Fortio gives the first connection the remainder of the division.
	most := spec.Requests/spec.Connections + spec.Requests%spec.Connections
	return &worker{
		ctx:       ctx,
		limit:     spec.Limit,
		timeout:   spec.Timeout,
		request:   r,
		client:    client.New(&net.Dialer{}),
		latencies: make([]time.Duration, 0, most),
		errors:    make(map[string]int),
	}
}

// Run sends one request and books the outcome. Fortio's context carries the
// thread's number and no end, so the attempt's own is used.
func (w *worker) Run(_ context.Context, _ periodic.ThreadID) (ok bool, details string) {
	if w.ctx.Err() != nil {
		return false, "not sent"
	}
	w.sent++
	start := time.Now()
	end, kind := w.client.Do(w.ctx, start.Add(w.timeout), w.request)
	switch kind {
	case "":
		w.latencies = append(w.latencies, end.Sub(start))
		return true, ""
	case client.Cancelled:
		kind = cutShort(w.limit)
	}
	w.errors[kind]++
	return false, kind
}

// notSent and cutShort name what the limit of an attempt left undone.
func notSent(limit time.Duration) string  { return fmt.Sprintf("not sent within %v", limit) }
func cutShort(limit time.Duration) string { return fmt.Sprintf("unanswered after %v", limit) }
