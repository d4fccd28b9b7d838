package openloop

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// The bounds of a trial.
const (
	maxArrivals = 2_000_000 // of all sides
	maxRate     = 1_000_000 // arrivals per second and side
	maxLimit    = 24 * time.Hour
	maxWindows  = 100_000
	maxWeight   = 1_000_000
)

// CheckTrial returns all that is wrong with a trial for a generator with that
// many sides, joined.
func CheckTrial(spec scenarios.TrialSpec, sides int) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := make(map[int]bool)
	for _, i := range spec.Only {
		if i < 0 || i >= sides {
			bad("side %d: there are 0 to %d", i, sides-1)
		}
		if seen[i] {
			bad("side %d is there twice", i)
		}
		seen[i] = true
	}
	if n := max(1, len(active(spec, sides))); spec.Requests < 1 || spec.Requests > maxArrivals/n {
		bad("requests %d: want 1 to %d for %d sides", spec.Requests, maxArrivals/n, n)
	}
	if !(spec.Rate > 0 && spec.Rate <= maxRate) { // NaN is neither
		bad("rate %v: want more than 0 and at most %d requests per second", spec.Rate, maxRate)
	}
	if spec.Arrivals != scenarios.Constant && spec.Arrivals != scenarios.Poisson {
		bad("arrivals %q: want %q or %q", spec.Arrivals, scenarios.Constant, scenarios.Poisson)
	}
	if spec.Limit <= 0 || spec.Limit > maxLimit {
		bad("limit %v of the trial: want more than 0 and at most %v", spec.Limit, maxLimit)
	}
	if spec.Window < 0 || spec.Window > 0 && spec.Limit/spec.Window > maxWindows {
		bad("window %v: want 0, or at least %v", spec.Window, spec.Limit/maxWindows)
	}
	return errors.Join(errs...)
}

// active returns the indexes of the sides that take part.
func active(spec scenarios.TrialSpec, sides int) []int {
	if len(spec.Only) > 0 {
		return spec.Only
	}
	all := make([]int, sides)
	for i := range all {
		all[i] = i
	}
	return all
}

// arrival is one request that is to be sent.
type arrival struct {
	at   time.Duration // since the trial's start
	side int
	step int
}

// draw makes the whole plan of a trial. The order of arrivals is that of their
// times. Each slot has one arrival per active side, in an order drawn anew,
// and one step for all of them, drawn by weight.
func draw(spec scenarios.TrialSpec, active []int, weights []int) []arrival {
	// PCG takes two words; the second tells these draws from others of the
	// same seed.
	rng := rand.New(rand.NewPCG(spec.Seed, 0x6d6573686c6162))
	total := 0
	for _, w := range weights {
		total += w
	}
	gap := 1 / (spec.Rate * float64(len(active))) // mean, seconds
	order := make([]int, len(active))
	copy(order, active)

	plan := make([]arrival, 0, spec.Requests*len(active))
	now := 0.0 // seconds
	for range spec.Requests {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		step := pick(weights, rng.IntN(total))
		for _, side := range order {
			plan = append(plan, arrival{at: seconds(now), side: side, step: step})
			if spec.Arrivals == scenarios.Poisson {
				now += rng.ExpFloat64() * gap
			} else {
				now = float64(len(plan)) * gap // a sum would drift
			}
		}
	}
	return plan
}

// pick returns the index whose share of the summed weights holds n.
func pick(weights []int, n int) int {
	for i, w := range weights {
		if n < w {
			return i
		}
		n -= w
	}
	return len(weights) - 1
}

// seconds turns seconds into a Duration; what does not fit is the longest one.
func seconds(s float64) time.Duration {
	ns := s * float64(time.Second)
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}
