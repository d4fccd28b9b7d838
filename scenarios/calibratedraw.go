package scenarios

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// drawResamples are those of the bootstraps of verdicts that are drawn: enough
// to tell a PASS, and few enough for hundreds of verdicts.
const drawResamples = 400

// drawn counts verdicts that were drawn from pairs.
type drawn struct {
	fails map[string]int // by metric
	open  map[string]int
	pairs float64 // per verdict: mean
}

// draw makes the verdicts of all pairs of labs so far. With fewer than the last
// look takes, what would be drawn is not the rule's.
func (r *calibration) draw() {
	c := &r.result
	rule := r.c.rule()
	if c.LabStarts < rule.last() {
		return
	}
	itself := drawVerdicts(rule, c.Ratios, r.c.Verdicts, r.c.Seed, r.resamples())
	c.Verdicts, c.FalseFails, c.Undecided, c.Pairs = r.c.Verdicts, itself.fails, itself.open, itself.pairs
	c.Smallest = 0
	for i := range c.Effects {
		e := &c.Effects[i]
		found := drawVerdicts(rule, e.Ratios, r.c.Verdicts, r.c.Seed, r.resamples())
		e.Verdicts, e.Found, e.Pairs = r.c.Verdicts, found.fails, found.pairs
		e.Reached = median(e.Ratios["p50"]) - 1
		if c.Smallest == 0 && float64(e.Found["p50"]) >= foundShare*float64(e.Verdicts) {
			c.Smallest = e.Injected
		}
	}
}

func (r *calibration) resamples() int {
	if r.c.resamples > 0 {
		return r.c.resamples
	}
	return drawResamples
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// drawVerdicts decides so many times over pairs taken at random, each once at
// most, by the rule of a comparison of two variants.
func drawVerdicts(rule Rule, ratios map[string][]float64, verdicts int, seed uint64, resamples int) drawn {
	got := drawn{fails: zeroCounts(), open: zeroCounts()}
	random := rand.New(rand.NewPCG(seed, 0))
	j := judge{variants: []Variant{{Name: "a"}, {Name: "b"}}, rule: rule, resamples: resamples}
	total := 0
	for range verdicts {
		order := random.Perm(len(ratios["p50"]))
		c, used := j.drawn(ratios, order)
		total += used
		for _, m := range c.Metrics {
			switch m.Verdict {
			case Fail:
				got.fails[m.Metric]++
			case Inconclusive:
				got.open[m.Metric]++
			}
		}
	}
	got.pairs = float64(total) / float64(verdicts)
	return got
}

func zeroCounts() map[string]int {
	counts := make(map[string]int)
	for m := range maps.Keys(zeroRatios()) {
		counts[m] = 0
	}
	return counts
}

// drawn decides over pairs in that order, and tells how many were looked at.
func (j *judge) drawn(ratios map[string][]float64, order []int) (Comparison, int) {
	j.known = nil
	var trials []Trial
	for _, i := range order[:min(len(order), j.rule.last())] {
		base := SideOutcome{Requests: 1, Latency: Distribution{P50: 1, P99: 1}}
		other := SideOutcome{Requests: 1, Latency: Distribution{P50: ratios["p50"][i], P99: ratios["p99"][i]}}
		trials = append(trials, Trial{TrialOutcome: TrialOutcome{Sides: []SideOutcome{base, other}}})
	}
	c := j.comparisons(trials)[0]
	used := 0
	for _, m := range c.Metrics {
		used = max(used, m.Pairs)
	}
	return c, used
}
