package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"meshlab.dev/meshlab/orchestrate/process"
)

// maxEnds is how often a process may end while the lab waits for it. All
// that it needs is there by then, so more of that will not help. The pauses
// between its starts grow, so this takes some ten seconds.
const maxEnds = 3

// errUnstable says that a process ends again and again.
var errUnstable = errors.New("it ends whenever it is started")

// whileStable runs a step that waits for the lab's processes, and cuts it
// short when one of them will not stay.
func (r *raising) whileStable(fn func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		before := map[string]int{}
		for _, p := range r.procs.List() {
			before[p.Name] = p.Restarts
		}
		go func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if err := unstable(before, r.procs.List()); err != nil {
					cancel(err)
					return
				}
			}
		}()
		detail, err := fn(ctx)
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errUnstable) {
			return "", cause
		}
		return detail, err
	}
}

// unstable names a process that has been started again too often since
// before, or that will not be started again.
func unstable(before map[string]int, now []process.Info) error {
	for _, p := range now {
		if p.State == process.Exited || p.Restarts-before[p.Name] >= maxEnds {
			return fmt.Errorf("%s on %s: %w (%s)", p.Name, p.Node, errUnstable, p.Exit)
		}
	}
	return nil
}
