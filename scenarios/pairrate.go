package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// mostRate is the highest sum of rates that is chosen without being asked for:
// the generator is known to be on time up to there.
const mostRate = 1000.0

// ChooseRate returns a rate per second and variant that loads the machine to
// at most half of its knee, rounded down to two digits. Knees are rates that
// the variants reach alone. Live together, they share the machine: each
// request of variant i takes 1/knee_i of it, so with k variants the sum of
// rates is 0.5 / mean(1/knee), and each gets one k-th. One at a time (ABBA),
// the slowest variant decides. All rates together are 1,000 at most. It
// returns 0 when a knee is not above 0.
func ChooseRate(m Method, knees []float64) float64 {
	load := offered(m, 1, knees)
	if !(load > 0) || math.IsInf(load, 0) {
		return 0
	}
	rate, most := kneeLimit/load, mostRate
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
		if r.c.Method == ABBA {
			if _, err := labs.use(ctx, i); err != nil {
				return err
			}
		}
		k, err := r.h.Knee(ctx, i)
		if err == nil && (!(k > 0) || math.IsInf(k, 0)) {
			err = errors.New("no request was answered")
		}
		if err != nil {
			return fmt.Errorf("find the knee of %s: %w", v.Name, err)
		}
		knees[i] = k
		r.duet.Knee = append(r.duet.Knee, Knee{Variant: v.Name, Rate: k})
	}
	if r.duet.Load.Rate == 0 {
		r.duet.Load.Rate = ChooseRate(r.c.Method, knees)
	}
	r.load = offered(r.c.Method, r.duet.Load.Rate, knees)
	return nil
}
