// Package openloop sends requests at times that were fixed before, whatever
// the answers do (an open loop), to one or more sides at once. Latency counts
// from the intended start of each request, so that a server that stalls is
// seen by all who would have come meanwhile, not only by the one who waits.
//
// It sends, and books what it saw. Which trials are made, and what they say,
// is decided in package scenarios. It knows of labs only that they hand out
// sockets.
package openloop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/client"
)

const (
	// maxSides bounds the sides of a generator.
	maxSides = 16
	// opening bounds how many connections of a side are opened at a time.
	opening = 32
	// lead is the time from a trial's last preparations to its start, in which
	// all connections get ready.
	lead = 5 * time.Millisecond
)

// Engine is the generator, in this process. It makes one trial at a time;
// Trial and Close may be called by several goroutines.
type Engine struct {
	mu      sync.Mutex
	timeout time.Duration
	sides   []*side
	weights []int // of the steps, the same for all sides

	collect func() // garbage, before a trial; nil: not
}

// side is where a part of the arrivals goes.
type side struct {
	steps   []*client.Request
	clients []*client.Client
	pool    *pool // nil: sockets of this process' own network
}

// New prepares a generator. It returns an error when the spec makes no sense;
// nothing is connected before the first trial, or asked of a lab.
func New(ctx context.Context, spec scenarios.GeneratorSpec) (*Engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("prepare the generator: %w", err)
	}
	if err := checkGenerator(spec); err != nil {
		return nil, fmt.Errorf("prepare the generator: %w", err)
	}
	e := &Engine{timeout: spec.Timeout}
	for i, s := range spec.Sides {
		var d client.Dialer = &net.Dialer{}
		made := &side{}
		if s.Lab != "" {
			made.pool = newPool(s.Lab, s.Node, len(spec.Sides))
			d = made.pool
		}
		for j, step := range s.Steps {
			r, err := client.Prepare(step.RequestSpec)
			if err == nil && made.pool != nil {
				_, err = address4(r.Address())
			}
			if err != nil {
				return nil, fmt.Errorf("prepare the generator: step %d of side %q: %w", j+1, s.Name, err)
			}
			made.steps = append(made.steps, r)
			if i == 0 {
				e.weights = append(e.weights, step.Weight)
			}
		}
		for range spec.Connections {
			made.clients = append(made.clients, client.New(d))
		}
		e.sides = append(e.sides, made)
	}
	return e, nil
}

func checkGenerator(spec scenarios.GeneratorSpec) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if n := len(spec.Sides); n < 1 || n > maxSides {
		bad("%d sides: want 1 to %d", n, maxSides)
	}
	if spec.Connections < 1 || spec.Connections > scenarios.MaxConnections {
		bad("connections %d: want 1 to %d", spec.Connections, scenarios.MaxConnections)
	}
	if spec.Timeout <= 0 || spec.Timeout > scenarios.MaxTimeout {
		bad("timeout %v: want more than 0 and at most %v", spec.Timeout, scenarios.MaxTimeout)
	}
	for _, s := range spec.Sides {
		if len(s.Steps) == 0 {
			bad("side %q has no steps", s.Name)
		}
		if len(s.Steps) != len(spec.Sides[0].Steps) {
			bad("side %q has %d steps, the first side %d: a slot sends the same step to all", s.Name, len(s.Steps), len(spec.Sides[0].Steps))
			continue
		}
		for j, step := range s.Steps {
			if step.Weight < 1 || step.Weight > maxWeight {
				bad("step %d of side %q: weight %d: want 1 to %d", j+1, s.Name, step.Weight, maxWeight)
			}
			if step.Weight != spec.Sides[0].Steps[j].Weight {
				bad("step %d of side %q: weight %d, on the first side %d", j+1, s.Name, step.Weight, spec.Sides[0].Steps[j].Weight)
			}
		}
	}
	return errors.Join(errs...)
}

// Trial makes one trial; see scenarios.Generator. Connections that are kept
// are opened before its clock starts, and renewed where the server has closed
// them since the last trial. One that cannot be opened is tried again by the
// requests that need it, which meet the error.
//
// A side sends with the connections that are free; an arrival that finds none
// waits, first come, first served. When spec.Limit has passed, what was not
// sent or not answered is counted as an error.
func (e *Engine) Trial(ctx context.Context, spec scenarios.TrialSpec) (scenarios.TrialOutcome, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := CheckTrial(spec, len(e.sides)); err != nil {
		return scenarios.TrialOutcome{}, fmt.Errorf("make a trial: %w", err)
	}
	t := newTrial(spec, e)
	if err := e.open(ctx, t); err != nil {
		return scenarios.TrialOutcome{}, fmt.Errorf("make a trial: %w", err)
	}
	if e.collect != nil {
		e.collect()
	}
	if err := t.run(ctx); err != nil {
		return scenarios.TrialOutcome{}, fmt.Errorf("make a trial: stopped: %w", err)
	}
	outcome, err := t.outcome(len(e.sides))
	if err != nil {
		return scenarios.TrialOutcome{}, fmt.Errorf("make a trial: %w", err)
	}
	return outcome, nil
}

// open fetches the sockets of the trial and opens the connections that are
// kept. It returns an error when a lab does not hand out sockets.
func (e *Engine) open(ctx context.Context, t *trial) error {
	for _, q := range t.queues {
		s := q.side
		if s.pool != nil {
			if err := s.pool.expect(ctx, s.need(t, q)); err != nil {
				return err
			}
		}
		var group errgroup.Group
		group.SetLimit(opening)
		for _, c := range s.clients {
			group.Go(func() error {
				for _, r := range s.steps {
					_ = c.Connect(ctx, time.Now().Add(e.timeout), r) // the requests meet it
				}
				return nil
			})
		}
		_ = group.Wait()
	}
	return ctx.Err()
}

// need counts the sockets that a trial takes at most if no connection breaks,
// by network.
func (s *side) need(t *trial, q *queue) map[string]int {
	need := make(map[string]int)
	kept := make(map[string]bool) // network, protocol and address
	for i, r := range s.steps {
		network := networkOf(r.Protocol())
		if r.Protocol() == scenarios.HTTP1Close {
			for _, at := range q.arrivals {
				if t.plan[at].step == i {
					need[network]++
				}
			}
			continue
		}
		key := fmt.Sprint(network, r.Protocol(), r.Address())
		if !kept[key] {
			kept[key] = true
			need[network] += len(s.clients)
		}
	}
	return need
}

func networkOf(p scenarios.Protocol) string {
	if p == scenarios.UDPEcho {
		return "udp"
	}
	return "tcp"
}

// address4 reads the address of a request that goes over a socket of a lab.
func address4(s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil || !a.Addr().Is4() {
		return netip.AddrPort{}, fmt.Errorf("address %s: sockets of a lab reach IPv4 addresses", s)
	}
	return a, nil
}

// Close closes all connections and gives back the sockets. It waits for a
// trial that is under way.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.sides {
		for _, c := range s.clients {
			c.Close()
		}
		if s.pool != nil {
			s.pool.close()
		}
	}
	return nil
}
