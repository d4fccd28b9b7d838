package scenarios

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// windowWidth is the width of the windows that trials keep: wide enough for a
// median at 100 requests per second.
const windowWidth = 500 * time.Millisecond

// The thresholds of the flags.
const (
	stealLimit = 0.02 // of the machine's processor time
	kneeLimit  = 0.5  // of the knee: above it, queues make latency a matter of chance
)

// trial makes the n-th trial. Variants that are live together take
// part at once; else one after the other.
func (r *duetRun) trial(ctx context.Context, labs duetLabs, n int, variants []int) (Trial, error) {
	together := [][]int{variants}
	if r.c.Method == ABBA {
		together = [][]int{{variants[0]}, {variants[1]}}
	}
	var t Trial
	var machine cpuTimes
	for part, active := range together {
		side, err := labs.use(ctx, active[0])
		if err != nil {
			return t, err
		}
		sides := sidesOf(side, active)
		if side.Fresh {
			r.report(PhaseWarmUp, n)
			w, err := r.warmUp(ctx, side.Generator, n, part, sides)
			if err != nil {
				return t, fmt.Errorf("warm up: %w", err)
			}
			t.addWarmUp(w)
			labs.warm(active[0])
		}
		if part == 0 || side.Fresh {
			r.report(PhaseTrial, n)
		}
		one, used, err := r.measure(ctx, side.Generator, active, sides, TrialSpec{
			Requests: r.duet.Load.Requests, Rate: r.duet.Load.Rate, Arrivals: r.duet.Load.Arrivals,
			Seed: r.seed(n, part), Only: r.only(sides), Limit: limitOf(r.duet.Load),
			Window: windowWidth, Log: r.c.Log,
		})
		if err != nil {
			return t, err
		}
		machine = machine.plus(used)
		if part == 0 {
			t.TrialOutcome, t.Costs, t.Faults = one.TrialOutcome, one.Costs, one.Faults
		} else if err := t.join(one, active[0]); err != nil {
			return t, err
		}
	}
	t.Steal, t.Busy = machine.ratios()
	t.Flags = r.flags(t)
	if r.h.Requests != nil && r.c.Log {
		if err := r.h.Requests(n, t.TrialOutcome); err != nil {
			return t, fmt.Errorf("keep the requests: %w", err)
		}
	}
	for i := range t.Sides {
		t.Sides[i].Log = nil
	}
	r.progress.trialDone(t)
	return t, nil
}

// sidesOf returns the generator's indexes of the active variants.
func sidesOf(at ActiveSide, active []int) []int {
	if len(active) == 1 {
		return []int{at.Side}
	}
	return active
}

// only names the active sides; none if all are.
func (r *duetRun) only(sides []int) []int {
	if r.c.Method == Alive {
		return nil
	}
	return sides
}

// limitOf is the time within which a trial must have sent its requests: three
// times what they take at the rate.
func limitOf(l OpenLoad) time.Duration {
	return time.Duration(3*float64(l.Requests)/l.Rate*float64(time.Second)) + 10*time.Second
}

// measure makes one trial of the generator, with readings before and after it.
// In what it returns, sides and costs are by variant.
func (r *duetRun) measure(ctx context.Context, g Generator, active, sides []int, spec TrialSpec) (t Trial, used cpuTimes, err error) {
	costs := r.readCosts(ctx, active)
	before, err := r.h.machine()
	if err != nil {
		return t, used, err
	}
	outcome, faults, err := r.withFaults(ctx, active, spec, func(ctx context.Context, spec TrialSpec) (TrialOutcome, error) {
		return r.send(ctx, g, active, sides, spec)
	})
	if err != nil {
		return t, used, err
	}
	after, err := r.h.machine()
	if err != nil {
		return t, used, err
	}
	t.TrialOutcome, t.Faults = outcome, faults
	t.Costs = costsBetween(costs, r.readCosts(ctx, active))
	return t, after.minus(before), nil
}

// send has the generator make a trial, and checks what it answers.
func (r *duetRun) send(ctx context.Context, g Generator, active, sides []int, spec TrialSpec) (TrialOutcome, error) {
	if err := ctx.Err(); err != nil {
		return TrialOutcome{}, err
	}
	outcome, err := ask(ctx, g, spec)
	if err != nil {
		return outcome, fmt.Errorf("send %d requests to each of %d sides: %w", spec.Requests, len(sides), err)
	}
	byVariant := make([]SideOutcome, len(r.c.Variants))
	for i, v := range active {
		if sides[i] >= len(outcome.Sides) {
			return outcome, fmt.Errorf("the load generator answered for %d sides, not for side %d", len(outcome.Sides), sides[i])
		}
		byVariant[v] = outcome.Sides[sides[i]]
		if byVariant[v].Requests == 0 {
			return outcome, fmt.Errorf("the load generator sent nothing to %s", r.c.Variants[v].Name)
		}
	}
	outcome.Sides = byVariant
	if err := outcome.validate(len(r.c.Variants)); err != nil {
		return outcome, fmt.Errorf("the load generator answered nonsense: %w", err)
	}
	return outcome, nil
}

// ask has the generator make a trial, and does not wait for one that is stuck:
// what was sent last may still wait for its answer at the limit.
func ask(ctx context.Context, g Generator, spec TrialSpec) (TrialOutcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*spec.Limit+spare)
	defer cancel()
	return g.Trial(ctx, spec)
}

// flags tells what disturbed a trial.
func (r *duetRun) flags(t Trial) []Flag {
	var flags []Flag
	flag := func(kind FlagKind, format string, args ...any) {
		flags = append(flags, Flag{Kind: kind, Detail: fmt.Sprintf(format, args...)})
	}
	if t.Steal > stealLimit {
		flag(FlagSteal, "the hypervisor took %.1f %% of the processor time", 100*t.Steal)
	}
	fastest := math.Inf(1)
	for i, s := range t.Sides {
		if s.Requests > s.Errors {
			fastest = min(fastest, s.Latency.P50)
		}
		if s.Errors > 0 {
			flag(FlagErrors, "%s: %d of %d requests failed", r.c.Variants[i].Name, s.Errors, s.Requests)
		}
	}
	if late := t.Generator.Lateness.P99; late > fastest {
		flag(FlagLate, "the generator was %.3g ms late at p99, the fastest p50 is %.3g ms", late, fastest)
	}
	if t.WarmUp.Seconds > 0 && !t.WarmUp.Steady {
		flag(FlagUnsteady, "latencies still drifted after a warm-up of %.1f s", t.WarmUp.Seconds)
	}
	if r.load > kneeLimit+1e-9 { // a rate that was chosen may lie a rounding error above
		flag(FlagOverload, "%.0f %% of the knee were offered", 100*r.load)
	}
	return flags
}

// join adds the second trial of a pair, in which the variant was active.
func (t *Trial) join(other Trial, variant int) error {
	t.Sides[variant] = other.Sides[variant]
	t.Seconds += other.Seconds
	t.Faults = append(t.Faults, other.Faults...)
	slices.SortStableFunc(t.Faults, func(a, b TrialFault) int { return a.Fault - b.Fault })
	switch {
	case t.Costs == nil:
		t.Costs = other.Costs
	case other.Costs != nil:
		t.Costs[variant] = other.Costs[variant]
	}
	late, err := mergeDistributions(t.Generator.Lateness, other.Generator.Lateness)
	if err != nil {
		return fmt.Errorf("join the lateness of a pair: %w", err)
	}
	t.Generator.Lateness = late
	t.Generator.Queued += other.Generator.Queued
	t.Generator.CPUSeconds += other.Generator.CPUSeconds
	return nil
}
