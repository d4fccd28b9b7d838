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
	return fmt.Sprintf("%d of %d (%.3g %%)", f.errors, f.requests, 100*f.share())
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
//
// A metric whose latencies do not count is INCONCLUSIVE itself, so that no
// figure passes or fails beside a comparison that does not. With many comparisons
// ten pairs cannot show at that level that the new variant fails more often, even
// if it never answers: where it looks like that, the trials go on.
//
// A FAIL by errors that a look has found stays, as that of a metric does.
func (f *finding) judgeErrors(pairs []Trial, looks []int, changed, comparisons int) {
	level := failLevel / float64(comparisons)
	t := tallyOf(pairs, changed)
	for _, n := range looks {
		if n >= len(pairs) {
			break
		}
		if at := tallyOf(pairs[:n], changed); at.more(level) {
			t, pairs = at, pairs[:n]
			break
		}
	}
	base, fresh, worse := t.base, t.fresh, t.more(level)
	f.suspect = !worse && t.more(suspectLevel)
	told := fmt.Sprintf("requests that failed: %s under %s, %s under %s", fresh, f.New, base, f.Base)
	silent := ""
	switch i, who := silence(pairs, changed); who {
	case 0:
		silent = fmt.Sprintf("%s answered no request of pair %d", f.Base, i+1)
	case changed:
		silent = fmt.Sprintf("%s answered no request of pair %d", f.New, i+1)
	}

	compare := silent == "" && base.share() <= errorShare
	for i := range f.Metrics {
		if m := &f.Metrics[i]; !compare || fresh.share() > errorShare && m.Verdict == Pass {
			m.Verdict = Inconclusive
		}
	}
	f.Verdict = worst(f.Metrics)
	switch {
	case worse:
		f.Verdict, f.Reason, f.closed = Fail, told, true
	case silent != "":
		f.Reason, f.closed = joinReasons(silent, told), true
	case !compare:
		f.Reason = joinReasons(told, "latencies do not compare")
	case fresh.share() > errorShare && f.Verdict != Fail:
		f.Reason = joinReasons(told, "too many for a PASS")
	}
}

// tally is what failed on both sides of pairs.
type tally struct {
	base, fresh failures
	p           float64 // signed-rank test of: more fails under the new variant, pair by pair
}

func tallyOf(pairs []Trial, changed int) tally {
	var t tally
	var differences []float64
	for _, pair := range pairs {
		a, b := pair.Sides[0], pair.Sides[changed]
		t.base.errors, t.base.requests = t.base.errors+a.Errors, t.base.requests+a.Requests
		t.fresh.errors, t.fresh.requests = t.fresh.errors+b.Errors, t.fresh.requests+b.Requests
		differences = append(differences, failures{b.Errors, b.Requests}.share()-failures{a.Errors, a.Requests}.share())
	}
	t.p = stats.SignedRank(differences).Greater
	return t
}

// more tells whether more fails under the new variant than may, and than under
// the base.
func (t tally) more(level float64) bool { return t.fresh.share() > errorShare && t.p <= level }

// silence finds the first pair of which a side answered nothing, and that side;
// -1: there is none.
func silence(pairs []Trial, changed int) (pair, side int) {
	for i, t := range pairs {
		for _, v := range []int{0, changed} {
			if t.Sides[v].Errors == t.Sides[v].Requests {
				return i, v
			}
		}
	}
	return -1, -1
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
