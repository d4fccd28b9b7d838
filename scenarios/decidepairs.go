package scenarios

import (
	"fmt"
	"math"
	"strings"

	"meshlab.dev/meshlab/scenarios/stats"
)

// pairsOf returns the trials in which both the base and the changed variant
// were active, in their order.
func pairsOf(trials []Trial, changed int) []Trial {
	var pairs []Trial
	for _, t := range trials {
		if t.Sides[0].Requests > 0 && t.Sides[changed].Requests > 0 {
			pairs = append(pairs, t)
		}
	}
	return pairs
}

// logRatios returns ln(changed/base) of each pair, and how many pairs have
// none because a side has no latency.
func logRatios(pairs []Trial, changed int, metric func(Distribution) float64) (logs []float64, missing int) {
	for _, t := range pairs {
		a, b := metric(t.Sides[0].Latency), metric(t.Sides[changed].Latency)
		one, err := stats.LogRatios([]float64{b}, []float64{a})
		if err != nil || math.IsInf(one[0], 0) { // zero, NaN or infinite: it must not reach a logarithm
			missing++
			continue
		}
		logs = append(logs, one[0])
	}
	return logs, missing
}

// failures counts what failed on one side of the pairs.
type failures struct{ errors, requests int }

func (f failures) share() float64 {
	if f.requests == 0 {
		return 0
	}
	return float64(f.errors) / float64(f.requests)
}

func (f failures) String() string {
	return fmt.Sprintf("%d of %d (%.2g %%)", f.errors, f.requests, 100*f.share())
}

// judgeErrors makes the verdict of a comparison of its metrics and of the
// requests that failed:
//
//   - FAIL, whatever the latencies, if more than 0.1 % failed under the new
//     variant and the signed-rank test of the pairs' differences says that it
//     fails more often than the base, at 0.004 divided by the number of
//     comparisons of the run (Bonferroni). One bad moment is one pair and
//     never enough.
//   - INCONCLUSIVE if a side has a trial without any success, or if more than
//     0.1 % failed under the base: the latencies of what was answered are then
//     too good, and nothing can be compared with them.
//   - PASS is not possible with more than 0.1 % failed under the new variant,
//     for the same reason. Its FAIL stays: those that failed would have made it
//     worse still.
//   - Else the metrics decide; what failed is counted and flagged.
func (f *finding) judgeErrors(pairs []Trial, changed, comparisons int) {
	var base, fresh failures
	var differences []float64
	silent := ""
	for i, t := range pairs {
		a, b := t.Sides[0], t.Sides[changed]
		base.errors, base.requests = base.errors+a.Errors, base.requests+a.Requests
		fresh.errors, fresh.requests = fresh.errors+b.Errors, fresh.requests+b.Requests
		differences = append(differences, failures{b.Errors, b.Requests}.share()-failures{a.Errors, a.Requests}.share())
		switch {
		case silent != "":
		case a.Errors == a.Requests:
			silent = fmt.Sprintf("%s answered no request of pair %d", f.Base, i+1)
		case b.Errors == b.Requests:
			silent = fmt.Sprintf("%s answered no request of pair %d", f.New, i+1)
		}
	}
	worse := fresh.share() > errorShare && stats.SignedRank(differences).Greater <= failLevel/float64(comparisons)
	told := fmt.Sprintf("requests that failed: %s under %s, %s under %s", fresh, f.New, base, f.Base)

	f.Verdict = worst(f.Metrics)
	switch {
	case worse:
		f.Verdict, f.Reason, f.closed = Fail, told, true
	case silent != "":
		// It goes on to the next look all the same: by then it may be a FAIL.
		f.Verdict, f.Reason, f.closed = Inconclusive, joinReasons(silent, told), true
	case base.share() > errorShare:
		f.Verdict, f.Reason = Inconclusive, joinReasons(told, "latencies do not compare")
	case fresh.share() > errorShare && f.Verdict == Pass:
		f.Verdict, f.Reason = Inconclusive, joinReasons(told, "too many for a PASS")
	}
}

func joinReasons(reasons ...string) string {
	var said []string
	for _, r := range reasons {
		if r != "" {
			said = append(said, r)
		}
	}
	return strings.Join(said, "; ")
}
