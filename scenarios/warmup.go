package scenarios

import (
	"context"
	"math"
	"slices"
	"time"
)

// The constants of the warm-up.
const (
	warmUpChunk  = 500 * time.Millisecond
	warmUpChunks = 4  // are two seconds: the least that a warm-up takes
	warmUpMost   = 40 // chunks: 20 s
	warmUpSpread = 0.05
)

// warmUp sends load, in chunks of half a second, until what is to be measured
// has stopped to drift (see steady): the ratios of the medians of sides that
// are live together, the median of a side alone; at most for 20 s. The chunks
// are trials of their own whose figures are dropped. trial and part tell where
// it is, for the seeds.
func (r *duetRun) warmUp(ctx context.Context, g Generator, trial, part int, sides []int) (WarmUp, error) {
	load := r.duet.Load
	load.Requests = max(1, int(math.Ceil(load.Rate*warmUpChunk.Seconds())))
	var w WarmUp
	medians := make([][]float64, len(sides))
	for chunk := range warmUpMost {
		if err := ctx.Err(); err != nil {
			return w, err
		}
		if w.Seconds >= (warmUpMost * warmUpChunk).Seconds() { // answers that take long make chunks long
			break
		}
		outcome, err := ask(ctx, g, TrialSpec{
			Requests: load.Requests, Rate: load.Rate, Arrivals: load.Arrivals,
			Seed: r.seed(trial, 1000+part*warmUpMost+chunk), Only: r.only(sides), Limit: limitOf(load),
		})
		if err != nil {
			return w, err
		}
		w.Seconds += outcome.Seconds
		for i, s := range sides {
			median := 0.0
			if s < len(outcome.Sides) {
				median = outcome.Sides[s].Latency.P50
			}
			medians[i] = append(medians[i], median)
		}
		if w.Steady = steadySides(medians); w.Steady {
			break
		}
	}
	return w, nil
}

// steadySides tells whether a warm-up may end. Sides that are live together
// are held against the first: what strikes all of them, as the moods of a
// shared machine do, does not change their ratio.
func steadySides(medians [][]float64) bool {
	if len(medians) == 1 {
		return steady(medians[0])
	}
	for _, other := range medians[1:] {
		ratios := make([]float64, len(other))
		for i := range other {
			if base := medians[0][i]; base > 0 {
				ratios[i] = other[i] / base
			}
		}
		if !steady(ratios) {
			return false
		}
	}
	return true
}

// steady tells whether values have stopped to drift: those of the last second
// and of the second before it are within 5 %. Single half seconds are not
// compared: with a hundred requests in each, four medians lie within 5 % by
// chance alone or not at all. A value of 0 means that nothing was answered.
func steady(values []float64) bool {
	if len(values) < warmUpChunks {
		return false
	}
	last := values[len(values)-warmUpChunks:]
	before, now := last[0]+last[1], last[2]+last[3]
	return slices.Min(last) > 0 && max(before, now) <= min(before, now)*(1+warmUpSpread)
}

// addWarmUp joins the warm-ups of the two halves of a pair.
func (t *Trial) addWarmUp(w WarmUp) {
	t.WarmUp.Steady = w.Steady && (t.WarmUp.Steady || t.WarmUp.Seconds == 0)
	t.WarmUp.Seconds += w.Seconds
}
