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

// warmUp sends load, in chunks of half a second, until the medians of each
// side have stopped to drift (see steady), at most for 20 s. The chunks are
// trials of their own whose figures are dropped. trial and part tell where in
// the round it is, for the seeds.
func (r *duetRun) warmUp(ctx context.Context, g Generator, round, trial, part int, sides []int) (WarmUp, error) {
	load := r.duet.Load
	load.Requests = max(1, int(math.Ceil(load.Rate*warmUpChunk.Seconds())))
	var w WarmUp
	medians := make([][]float64, len(sides))
	for chunk := range warmUpMost {
		if err := ctx.Err(); err != nil {
			return w, err
		}
		outcome, err := ask(ctx, g, TrialSpec{
			Requests: load.Requests, Rate: load.Rate, Arrivals: load.Arrivals,
			Seed: r.seed(round, trial, 1000+part*warmUpMost+chunk), Only: r.only(sides), Limit: limitOf(load),
		})
		if err != nil {
			return w, err
		}
		w.Seconds += outcome.Seconds
		w.Steady = true
		for i, s := range sides {
			if s < len(outcome.Sides) {
				medians[i] = append(medians[i], outcome.Sides[s].Latency.P50)
			}
			w.Steady = w.Steady && steady(medians[i])
		}
		if w.Steady {
			break
		}
	}
	return w, nil
}

// steady tells whether the medians have stopped to drift: those of the last
// second and of the second before it are within 5 %. Single half seconds are
// not compared: with a hundred requests in each, four medians lie within 5 %
// by chance alone or not at all, and on a machine with other work never. A
// median of 0 means that nothing was answered.
func steady(medians []float64) bool {
	if len(medians) < warmUpChunks {
		return false
	}
	last := medians[len(medians)-warmUpChunks:]
	before, now := last[0]+last[1], last[2]+last[3]
	return slices.Min(last) > 0 && max(before, now) <= min(before, now)*(1+warmUpSpread)
}

// addWarmUp joins the warm-ups of the two halves of a pair.
func (t *Trial) addWarmUp(w WarmUp) {
	t.WarmUp.Steady = w.Steady && (t.WarmUp.Steady || t.WarmUp.Seconds == 0)
	t.WarmUp.Seconds += w.Seconds
}
