package scenarios

import (
	"fmt"
	"math"
	"slices"

	"meshlab.dev/meshlab/scenarios/stats"
)

// The constants of the decision. They come from a series of measurements of
// one program against itself, which docs/method.md describes.
const (
	// failLevel is the largest adjusted p-value of a FAIL, at each look.
	failLevel = 0.004
	// boundLevel is the confidence of the upper bound that a PASS needs.
	boundLevel = 0.99
	// intervalLevel is the confidence of the two-sided interval shown.
	intervalLevel = 0.95
	// errorShare is the share of failed requests up to which latencies count:
	// what failed has no latency, and would have been among the slow ones.
	errorShare = 0.001
	// suspectLevel is the p-value up to which more pairs are worth it that may
	// show that the new variant fails more often.
	suspectLevel = 0.05
	// bootstrapSeed makes a decision repeatable: the resampling belongs to the
	// arithmetic, not to the measurement.
	bootstrapSeed = 1
)

// DefaultRule returns how duets are decided if nothing else is asked for. With
// all variants live, it is looked at after 10, 14 and 20 pairs, each in labs of
// their own, so that most verdicts take less than three minutes. The p99 may
// grow by 20 %: that of a thousand requests spreads by 0.2 from pair to pair
// (log ratio, 2 cores), which leaves 10 % undecided three times in four after 30
// pairs. Pairs of
// trials made one after the other spread about ten times as much, so ABBA has
// one look, at 30. hypotheses are metrics x comparisons x duets of the run.
func DefaultRule(m Method, hypotheses int) Rule {
	r := Rule{Looks: []int{10, 14, 20}, Hypotheses: hypotheses, Margins: []Margin{{"p50", 0.05}, {"p99", 0.20}}}
	if m == ABBA {
		r.Looks = []int{30}
	}
	return r
}

// Decide makes verdicts of trials: one comparison for each variant but the
// first, which is the base of all. It is a pure function of what a document
// holds, so whoever reads one can check it.
//
// At each look, per metric, over the log ratios of all pairs so far:
//
//   - FAIL: the one-sided signed-rank test says that the ratio is above 1 with
//     an adjusted p-value of at most 0.004, and the Hodges-Lehmann estimate is
//     above 1+d.
//   - PASS: the one-sided 99 % upper bound of the ratio is below 1+d. It is the
//     larger of two: BCa's (bootstrap over pairs, 10,000 resamples), which by
//     simulation covers 98 % with 10 pairs, and that of the signed-rank test,
//     which holds its level and needs 7 pairs at least. All metrics must pass, so this needs no correction
//     for their number (it is an intersection-union test).
//   - Else it goes on, and is INCONCLUSIVE after the last look.
//
// What one look decided stays. The test of a metric then ends at its first
// crossing, whatever the other metrics need: if it were decided anew as long
// as another one is open, its verdict would depend on that other one's noise,
// and a FAIL found at 10 pairs could be looked at until it goes away. The
// price is known: three looks at 0.004 make at most 0.012 by Bonferroni, less
// because they share pairs and because of the margin. Calibrate measures it.
//
// The p-values are adjusted by Holm's method with all hypotheses of the run.
// The duets of a run are measured one after the other, so those of the others
// count as 1. Holm's adjusted values never shrink when another p-value grows:
// what is taken here is never below what it would be with all of them known,
// and a duet can be checked without the others. A metric that was decided
// keeps its p-value of that look. This keeps the rate for all hypotheses
// together, too: of those without a difference, say n, one can only fail
// first, at a p-value of at most 0.004/n at some look.
//
// Requests that failed have no latency. See judgeErrors for what they do.
//
// The zero Rule is DefaultRule of pairs that were live together. The trials
// must fit the variants, as RunDuet makes them and Validate checks.
func Decide(variants []Variant, rule Rule, trials []Trial) []Comparison {
	j := judge{variants: variants, rule: rule.complete(Alive, len(variants)), resamples: stats.DefaultResamples}
	return j.comparisons(trials)
}

// complete fills in the default, and counts at least the duet's own
// hypotheses.
func (r Rule) complete(m Method, variants int) Rule {
	if len(r.Looks) == 0 || len(r.Margins) == 0 {
		r = DefaultRule(m, r.Hypotheses)
	}
	r.Hypotheses = max(r.Hypotheses, len(r.Margins)*(variants-1))
	return r
}

func (r Rule) validate() error {
	for i, n := range r.Looks {
		if n < 1 || n > maxTrials || i > 0 && n <= r.Looks[i-1] {
			return fmt.Errorf("looks %v: want numbers from 1 to %d, ascending", r.Looks, maxTrials)
		}
	}
	seen := make(map[string]bool)
	for _, m := range r.Margins {
		if metricOf(m.Metric) == nil || seen[m.Metric] {
			return fmt.Errorf("margin of %q: want p50 or p99, once each", m.Metric)
		}
		seen[m.Metric] = true
		if !(m.Ratio > 0 && m.Ratio <= 10) {
			return fmt.Errorf("margin %v of %s: want a number above 0, 10 at most", m.Ratio, m.Metric)
		}
	}
	if (len(r.Looks) == 0) != (len(r.Margins) == 0) {
		return fmt.Errorf("looks %v with margins %v: want both or none", r.Looks, r.Margins)
	}
	if r.Hypotheses < 0 || r.Hypotheses > maxHypotheses {
		return fmt.Errorf("%d hypotheses: want 0 to %d", r.Hypotheses, maxHypotheses)
	}
	return nil
}

// last is the number of pairs at most.
func (r Rule) last() int { return r.Looks[len(r.Looks)-1] }

// metricOf returns what takes the metric out of a distribution; nil: there is
// no such metric.
func metricOf(name string) func(Distribution) float64 {
	switch name {
	case "p50":
		return func(d Distribution) float64 { return d.P50 }
	case "p99":
		return func(d Distribution) float64 { return d.P99 }
	}
	return nil
}

// judge decides the trials of one duet. It remembers what it computed, so
// trials may be added and decided again at little cost.
type judge struct {
	variants  []Variant
	rule      Rule
	resamples int
	cheap     bool // few resamples for what is not at a look: for a live view

	known map[estimateKey]MetricDecision
}

// cheapResamples give intervals that are good enough to watch.
const cheapResamples = 500

// estimateKey names an estimate: trials are only ever added, so the first
// pairs are always the same.
type estimateKey struct {
	changed, margin, pairs, resamples int
}

// finding is what trials say of one comparison.
type finding struct {
	Comparison
	open    []bool // by metric: not decided yet
	closed  bool   // decided by what is no metric: more trials change nothing
	suspect bool   // requests fail: more trials may make it a FAIL
}

// settled tells whether more trials are of no use.
func (f finding) settled() bool {
	return !f.suspect && (f.closed || !slices.Contains(f.open, true))
}

// comparisons decides the trials.
func (j *judge) comparisons(trials []Trial) []Comparison {
	found := j.findings(trials)
	all := make([]Comparison, len(found))
	for i, f := range found {
		all[i] = f.Comparison
	}
	return all
}

// findings decides the trials at each look, and estimates what came after the
// last one.
func (j *judge) findings(trials []Trial) []finding {
	all := make([]finding, len(j.variants)-1)
	pairs := make([][]Trial, len(all))
	fewest := math.MaxInt
	for i := range all {
		pairs[i] = pairsOf(trials, i+1)
		fewest = min(fewest, len(pairs[i]))
		all[i] = finding{
			Comparison: Comparison{Base: j.variants[0].Name, New: j.variants[i+1].Name},
			open:       make([]bool, len(j.rule.Margins)),
		}
		for m, margin := range j.rule.Margins {
			all[i].open[m] = true
			all[i].Metrics = append(all[i].Metrics, MetricDecision{
				Metric: margin.Metric, Margin: margin.Ratio, PValue: 1, PAdjusted: 1, Verdict: Inconclusive,
			})
		}
	}
	for _, look := range j.rule.Looks {
		if look > fewest {
			break
		}
		j.look(look, all, pairs)
	}
	j.rest(all, pairs)
	for i := range all {
		all[i].judgeErrors(pairs[i], j.rule.Looks, i+1, max(1, j.rule.Hypotheses/len(j.rule.Margins)))
	}
	return all
}

// look decides what is open by the first n pairs.
func (j *judge) look(n int, all []finding, pairs [][]Trial) {
	for i := range all {
		for m := range all[i].Metrics {
			if all[i].open[m] {
				all[i].Metrics[m] = j.estimate(i+1, m, pairs[i][:n], j.resamples)
			}
		}
	}
	j.adjust(all)
	for i := range all {
		for m := range all[i].Metrics {
			d := &all[i].Metrics[m]
			if !all[i].open[m] {
				continue
			}
			switch {
			case d.Reason != "": // not a ratio of all pairs
			case d.PAdjusted <= failLevel && d.Ratio > 1+d.Margin:
				d.Verdict = Fail
			case d.Bound > 0 && d.Bound < 1+d.Margin:
				d.Verdict = Pass
			}
			all[i].open[m] = d.Verdict == Inconclusive && n < j.rule.last()
		}
	}
}

// rest estimates what is open by the pairs since the last look.
func (j *judge) rest(all []finding, pairs [][]Trial) {
	resamples := j.resamples
	if j.cheap {
		resamples = cheapResamples
	}
	changed := false
	for i := range all {
		for m := range all[i].Metrics {
			if d := &all[i].Metrics[m]; all[i].open[m] && len(pairs[i]) > d.Pairs {
				*d = j.estimate(i+1, m, pairs[i], resamples)
				if d.Reason == "" {
					d.Reason = fmt.Sprintf("%d pairs: between two looks", len(pairs[i]))
				}
				changed = true
			}
		}
	}
	if changed {
		j.adjust(all)
	}
}

// adjust corrects the p-values of what is open; the others of the run's
// hypotheses count as 1.
func (j *judge) adjust(all []finding) {
	var p []float64
	for _, f := range all {
		for _, d := range f.Metrics {
			p = append(p, d.PValue)
		}
	}
	for len(p) < j.rule.Hypotheses {
		p = append(p, 1)
	}
	adjusted := stats.Holm(p)
	at := 0
	for i := range all {
		for m := range all[i].Metrics {
			if all[i].open[m] {
				all[i].Metrics[m].PAdjusted = adjusted[at]
			}
			at++
		}
	}
}

// estimate computes the figures of one metric over the pairs, without a
// verdict. Pairs in which a side has no latency are left out of the figures,
// and Reason tells of the first one.
func (j *judge) estimate(changed, margin int, pairs []Trial, resamples int) MetricDecision {
	key := estimateKey{changed, margin, len(pairs), resamples}
	if d, ok := j.known[key]; ok {
		return d
	}
	m := j.rule.Margins[margin]
	d := MetricDecision{Metric: m.Metric, Margin: m.Ratio, Pairs: len(pairs), PValue: 1, PAdjusted: 1, Verdict: Inconclusive}
	logs, missing := logRatios(pairs, changed, metricOf(m.Metric))
	if missing > 0 {
		d.Reason = fmt.Sprintf("%d of %d pairs have a side without any latency", missing, len(pairs))
	}
	if len(logs) > 0 {
		d.Ratio = math.Exp(stats.HodgesLehmann(logs))
		d.PValue = stats.SignedRank(logs).Greater
	}
	if c, err := (stats.Bootstrap{Resamples: resamples, Seed: bootstrapSeed}).BCa(logs, stats.HodgesLehmann); err == nil {
		low, high := c.Interval(intervalLevel)
		d.Low, d.High = math.Exp(low), math.Exp(high)
		if exact, reached := stats.SignedRankUpper(logs, boundLevel); reached >= boundLevel {
			d.Bound = math.Exp(max(c.Upper(boundLevel), exact))
		}
	}
	if j.known == nil {
		j.known = make(map[estimateKey]MetricDecision)
	}
	j.known[key] = d
	return d
}
