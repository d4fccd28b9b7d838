package scenarios

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Config is the matrix to be measured.
type Config struct {
	Meshes      []string
	Pods        []Pods
	Requests    []string // names of requests in the lab file
	Connections []int
	Count       int           // requests per attempt
	Repeats     int           // attempts per cell and mesh; the first is kept apart
	WarmUp      int           // requests of one warm-up; at least one per connection is sent
	Timeout     time.Duration // of one request
	Limit       time.Duration // of one attempt
	Seed        uint64        // of the order in which the meshes take turns
}

// The bounds of a Config. MaxTimeout is the highest latency that the
// histograms of the result document hold.
const (
	MaxConnections = 10_000
	MaxCount       = 10_000_000
	MaxRepeats     = 1000
	MaxTimeout     = 60 * time.Second
)

// Validate returns all errors of the matrix, joined.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }

	checkNames(bad, "mesh", c.Meshes)
	checkNames(bad, "request", c.Requests)
	checkNames(bad, "kind of pods", c.Pods)
	for _, p := range c.Pods {
		if p != SingleNode && p != MultipleNodes {
			bad("pods %q: want %s or %s", p, SingleNode, MultipleNodes)
		}
	}
	if len(c.Connections) == 0 {
		bad("no number of connections given")
	}
	for i, n := range c.Connections {
		if n < 1 || n > MaxConnections {
			bad("connections %d: want 1 to %d", n, MaxConnections)
		}
		if slices.Contains(c.Connections[:i], n) {
			bad("connections %d is given twice", n)
		}
		if n > c.Count {
			bad("%d requests over %d connections: every connection needs at least one request, so give %d requests or more", c.Count, n, n)
		}
	}
	if c.Count < 1 || c.Count > MaxCount {
		bad("requests per attempt %d: want 1 to %d", c.Count, MaxCount)
	}
	if c.Repeats < 2 || c.Repeats > MaxRepeats {
		bad("repeats %d: want 2 to %d, for the first attempt of a cell is kept apart from the later ones", c.Repeats, MaxRepeats)
	}
	if c.WarmUp < 0 || c.WarmUp > MaxCount {
		bad("warm-up of %d requests: want 0 to %d", c.WarmUp, MaxCount)
	}
	if c.Timeout <= 0 || c.Timeout > MaxTimeout {
		bad("timeout %v of a request: want more than 0 and at most %v", c.Timeout, MaxTimeout)
	}
	if c.Limit <= 0 {
		bad("limit %v of an attempt: want more than 0", c.Limit)
	}
	return errors.Join(errs...)
}

func checkNames[T ~string](bad func(string, ...any), what string, names []T) {
	if len(names) == 0 {
		bad("no %s given", what)
	}
	for i, n := range names {
		if n == "" {
			bad("%s %d has an empty name", what, i+1)
		}
		if slices.Contains(names[:i], n) {
			bad("%s %q is given twice", what, n)
		}
	}
}

// Point is a cell without its mesh: what the meshes are compared at.
type Point struct {
	Pods        Pods
	Request     string
	Connections int
}

// String names the point as in "API, MN, 8 connections".
func (p Point) String() string {
	unit := "connections"
	if p.Connections == 1 {
		unit = "connection"
	}
	return fmt.Sprintf("%s, %s, %d %s", p.Request, p.Pods, p.Connections, unit)
}

// Step is one attempt, or one warm-up, of the plan.
type Step struct {
	Point
	Mesh    string
	Attempt int // 1 is the first, cold one; 0 is a warm-up, whose figures are dropped
}

// WarmUp tells whether the step's figures are dropped.
func (s Step) WarmUp() bool { return s.Attempt == 0 }

// Plan returns the order of the run: point by point, and at each point
// attempt 1 under every mesh, before anything has warmed that point up, then
// one warm-up under every mesh, then the later attempts. Within each of these
// rounds the meshes take turns in a random order that the seed decides, so
// that a slow minute of the machine strikes all of them alike. Pods change
// least often, for each kind needs a lab of its own.
//
// The configuration must be valid. The same one gives the same plan.
func Plan(c Config) []Step {
	// The second word of the generator's state is arbitrary and fixed.
	rng := rand.New(rand.NewPCG(c.Seed, 0x6d657368))
	var steps []Step
	round := func(p Point, attempt int) {
		for _, i := range rng.Perm(len(c.Meshes)) {
			steps = append(steps, Step{Point: p, Mesh: c.Meshes[i], Attempt: attempt})
		}
	}
	for _, pods := range c.Pods {
		for _, request := range c.Requests {
			for _, n := range c.Connections {
				p := Point{Pods: pods, Request: request, Connections: n}
				round(p, 1)
				round(p, 0)
				for a := 2; a <= c.Repeats; a++ {
					round(p, a)
				}
			}
		}
	}
	return steps
}
