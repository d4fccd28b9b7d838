package openloop

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
)

// trial is one trial under way. Everything that it writes to while requests
// are sent is made before.
type trial struct {
	spec    scenarios.TrialSpec
	timeout time.Duration
	plan    []arrival
	records []record // by the index of plan
	queues  []*queue // of the active sides
	clock   clock
	took    time.Duration
	cpu     time.Duration
}

// record is what became of an arrival. Times count from the trial's start; end
// is 0 for one that was not sent.
type record struct {
	sent, end time.Duration
	queued    bool   // no connection was free when it was due
	kind      string // what went wrong
}

// queue holds the arrivals of one side, first come, first served.
type queue struct {
	side     *side
	arrivals []int // indexes of the plan
	next     atomic.Int64
	turn     chan struct{} // holds the connection that waits for the next arrival's time
}

func newTrial(spec scenarios.TrialSpec, e *Engine) *trial {
	sides := active(spec, len(e.sides))
	t := &trial{spec: spec, timeout: e.timeout, plan: draw(spec, sides, e.weights)}
	t.records = make([]record, len(t.plan))
	queues := make(map[int]*queue)
	for _, i := range sides {
		q := &queue{side: e.sides[i], arrivals: make([]int, 0, spec.Requests), turn: make(chan struct{}, 1)}
		queues[i] = q
		t.queues = append(t.queues, q)
	}
	for i, a := range t.plan {
		queues[a.side].arrivals = append(queues[a.side].arrivals, i)
	}
	return t
}

// run sends everything and waits until all of it is answered, or the limit has
// passed. It returns an error when ctx is done.
func (t *trial) run(ctx context.Context) error {
	// A connection of each side is asleep in the kernel all the time, and the Go
	// runtime takes such a thread for a busy one, for up to 10 ms. With as many
	// threads as cores the answers would wait for that.
	if n := runtime.NumCPU() + len(t.queues); n > runtime.GOMAXPROCS(0) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	}
	before := processorTime()
	t.clock = startClock(lead)
	if t.spec.Announce && t.spec.Begun != nil {
		t.spec.Begun(t.clock.start)
	}
	limited, cancel := context.WithDeadline(ctx, t.clock.start.Add(t.spec.Limit))
	defer cancel()
	var wg sync.WaitGroup
	for _, q := range t.queues {
		for _, c := range q.side.clients {
			wg.Go(func() { t.work(limited, q, c) })
		}
	}
	wg.Wait()
	t.cpu = processorTime() - before
	t.took = t.clock.now()
	return ctx.Err()
}

// work sends arrivals of one side over one connection. A connection that is
// free takes the next arrival before its time and waits for that time itself,
// so nothing has to be handed over when it comes; the free ones wait for their
// turn to do so. That is half as late, and takes a third less processor time,
// than one thread that hands all arrivals to waiting connections. More than
// one sleeper per side is not less late, and costs more.
func (t *trial) work(ctx context.Context, q *queue, c *client.Client) {
	var free time.Duration // when the connection became free
	for {
		q.turn <- struct{}{}
		n := int(q.next.Add(1)) - 1
		due := n < len(q.arrivals) && t.clock.sleep(ctx, t.plan[q.arrivals[n]].at)
		<-q.turn
		if !due {
			return
		}
		a, r := &t.plan[q.arrivals[n]], &t.records[q.arrivals[n]]
		sent := time.Now()
		end, kind := c.Do(ctx, sent.Add(t.timeout), q.side.steps[a.step])
		if kind == client.Cancelled {
			kind = fmt.Sprintf("unanswered after %v", t.spec.Limit)
		}
		*r = record{sent: sent.Sub(t.clock.start), end: end.Sub(t.clock.start), queued: free > a.at, kind: kind}
		free = t.clock.now()
	}
}

// processorTime is what this process has used of the processors.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0 // getrusage(2): fails for wrong arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
