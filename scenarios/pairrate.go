package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// mostRate is the highest sum of rates that is chosen without being asked for:
// the generator is known to be on time up to there.
const mostRate = 1000.0

// kneeAim is the share of the knee that a chosen rate takes. Half of it is
// where latency begins to be a matter of chance: two equal labs on 2 cores, at
// a third: log ratios of the p50 spread by 0.02 from trial to trial, at half
// by 0.07.
const kneeAim = 1.0 / 3

// ChooseRate returns a rate per second and variant that loads the machine to
// at most a third of its knee, rounded down to two digits. Knees are rates
// that the variants reach alone. Live together, they share the machine: each
// request of variant i takes 1/knee_i of it, so with k variants the sum of
// rates is 1/3 / mean(1/knee), and each gets one k-th. One at a time (ABBA),
// the slowest variant decides. All rates together are 1,000 at most. It
// returns 0 when a knee is not above 0.
func ChooseRate(m Method, knees []float64) float64 {
	load := offered(m, 1, knees)
	if !(load > 0) || math.IsInf(load, 0) {
		return 0
	}
	rate, most := kneeAim/load, mostRate
	if m != ABBA {
		most /= float64(len(knees))
	}
	return roundDown(min(rate, most))
}

// offered is the share of the machine's knee that a rate per variant takes; 0
// when there are no knees.
func offered(m Method, rate float64, knees []float64) float64 {
	sum, most := 0.0, 0.0
	for _, k := range knees {
		sum += rate / k
		most = max(most, rate/k)
	}
	if m == ABBA {
		return most
	}
	return sum
}

// roundDown keeps two digits.
func roundDown(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	// The quotient of a round figure may lie a rounding error below a whole number.
	down := math.Floor(v/unit+1e-9) * unit
	return math.Round(down*1e6) / 1e6
}

// preflight finds the knee of each variant, and chooses the rate by it if none
// was given.
func (r *duetRun) preflight(ctx context.Context, labs duetLabs) error {
	if r.h.Knee == nil {
		return nil
	}
	r.report(PhasePreflight, 0)
	knees := make([]float64, len(r.c.Variants))
	for i, v := range r.c.Variants {
		if _, err := labs.use(ctx, i); err != nil {
			return err
		}
		k, err := r.h.Knee(ctx, i)
		if err == nil && (!(k > 0) || math.IsInf(k, 0)) {
			err = errors.New("no request was answered")
		}
		if err != nil {
			return fmt.Errorf("find the knee of %s: %w", v.Name, err)
		}
		if knees[i], err = r.openKnee(ctx, labs, i, k); err != nil {
			return fmt.Errorf("find the knee of %s: %w", v.Name, err)
		}
		r.duet.Knee = append(r.duet.Knee, Knee{Variant: v.Name, Rate: knees[i]})
	}
	if r.duet.Load.Rate == 0 {
		r.duet.Load.Rate = ChooseRate(r.c.Method, knees)
		if lasts := float64(r.duet.Load.Requests) / r.duet.Load.Rate; lasts > maxTrial.Seconds() {
			return fmt.Errorf("%d requests at %g per second, a third of what this machine can do, take %.0f s; a trial may take %.0f: ask for fewer requests in the scenario",
				r.duet.Load.Requests, r.duet.Load.Rate, lasts, maxTrial.Seconds())
		}
	}
	r.load = offered(r.c.Method, r.duet.Load.Rate, knees)
	return nil
}

// The probe that tells how much of the machine an open loop takes.
const (
	probeRate = 100.0 // requests per second
	probeTime = 3 * time.Second
	idleTime  = time.Second
)

// openKnee returns the rate at which an open loop of one variant would keep
// all processors busy, by what a probe at a low rate takes of them above what
// is used without load. It is less than what a closed loop reaches, where
// every wake-up serves several requests; closed is returned when it is not.
func (r *duetRun) openKnee(ctx context.Context, labs duetLabs, variant int, closed float64) (float64, error) {
	at, err := labs.use(ctx, variant)
	if err != nil {
		return 0, err
	}
	spec := TrialSpec{
		Requests: int(probeRate * probeTime.Seconds()), Rate: probeRate, Arrivals: r.duet.Load.Arrivals,
		Seed: r.seed(0, 3000+variant), Limit: 4*probeTime + 15*time.Second, Only: []int{at.Side},
	}
	// The first one wakes everything up.
	if _, err := ask(ctx, at.Generator, spec); err != nil {
		return 0, err
	}
	busy, took, err := busyDuring(func() error {
		_, err := ask(ctx, at.Generator, spec)
		return err
	})
	if err != nil || took < probeTime/2 { // a generator that only makes numbers up
		return closed, err
	}
	idle, _, err := busyDuring(func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(idleTime):
			return nil
		}
	})
	if err != nil || busy <= idle {
		return closed, err
	}
	return min(closed, probeRate*(1-idle)/(busy-idle)), nil
}

// busyDuring returns the share of processor time that was used while do ran.
func busyDuring(do func() error) (busy float64, took time.Duration, err error) {
	before, err := readCPUTimes()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	took = time.Since(begin)
	after, err := readCPUTimes()
	if err != nil {
		return 0, 0, err
	}
	_, busy = after.minus(before).ratios()
	return busy, took, nil
}
