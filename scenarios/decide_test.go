package scenarios

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// pairTrials makes trials with these p50 of two variants; the p99 is four
// times as long.
func pairTrials(base, changed []float64) []Trial {
	var trials []Trial
	for i := range base {
		side := func(p50 float64) SideOutcome {
			return SideOutcome{Requests: 1000, Latency: Distribution{P50: p50, P99: 4 * p50}}
		}
		trials = append(trials, Trial{TrialOutcome: TrialOutcome{Sides: []SideOutcome{side(base[i]), side(changed[i])}}})
	}
	return trials
}

// spread returns n values around v that differ by little.
func spread(n int, v float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = v * (1 + 0.002*float64(i%5))
	}
	return values
}

var twoVariants = []Variant{{Name: "a", Mesh: "ovs"}, {Name: "b", Mesh: "ovs"}}

// simulateVerdict makes trials as RunDuet does until it stops, with the spread
// of real duets, and returns how each metric was decided.
func simulateVerdict(random *rand.Rand, ratio50, ratio99 float64) (decided []MetricDecision, pairs int) {
	const own50, own99 = 0.04, 0.2 // of the log ratio between labs, as measured
	j := judge{variants: twoVariants, rule: DefaultRule(Alive, 2), resamples: 200}
	var trials []Trial
	for _, look := range j.rule.Looks {
		for len(trials) < look {
			shared := math.Exp(0.3 * random.NormFloat64())
			t := pairTrials([]float64{shared}, []float64{shared * ratio50 * math.Exp(own50*random.NormFloat64())})[0]
			t.Sides[1].Latency.P99 = 4 * shared * ratio99 * math.Exp(own99*random.NormFloat64())
			trials = append(trials, t)
		}
		if f := j.findings(trials)[0]; f.settled() {
			break
		}
	}
	return j.comparisons(trials)[0].Metrics, len(trials)
}

func TestDecideErrorRates(t *testing.T) {
	tests := []struct {
		name             string
		ratio50, ratio99 float64
		verdicts         int
		fail50           [2]float64 // share of FAILs, at least and at most
		fail99           [2]float64
		pass             float64 // share of PASSes, at most
	}{
		{"nothing", 1, 1, 500, [2]float64{0, 0.01}, [2]float64{0, 0.01}, 1},
		// At the margin itself each look is a coin between FAIL and going on. A
		// PASS would be wrong, which three bounds of 99 % allow in 3 %, and a
		// bootstrap of 10 pairs in a little more.
		{"just the margins", 1.05, 1.2, 100, [2]float64{0, 1}, [2]float64{0, 1}, 0.06},
		{"10 % and 50 %", 1.1, 1.5, 100, [2]float64{0.95, 1}, [2]float64{0.9, 1}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(4, 4))
			fails, passes, held, pairs := make(map[string]int), make(map[string]int), make(map[string]int), 0
			truth := map[string]float64{"p50": tt.ratio50, "p99": tt.ratio99}
			for range tt.verdicts {
				all, n := simulateVerdict(random, tt.ratio50, tt.ratio99)
				pairs += n
				for _, m := range all {
					switch m.Verdict {
					case Fail:
						fails[m.Metric]++
					case Pass:
						passes[m.Metric]++
					}
					if m.Low <= truth[m.Metric] && truth[m.Metric] <= m.High {
						held[m.Metric]++
					}
				}
			}
			// The interval of the look that decided is one of optional stopping.
			for metric, n := range held {
				if got := float64(n) / float64(tt.verdicts); got < 0.85 {
					t.Errorf("%s: the 95 %% interval held the truth in %d of %d", metric, n, tt.verdicts)
				}
			}
			for metric, want := range map[string][2]float64{"p50": tt.fail50, "p99": tt.fail99} {
				if got := float64(fails[metric]) / float64(tt.verdicts); got < want[0] || got > want[1] {
					t.Errorf("%s: %d of %d FAIL, want a share of %v to %v", metric, fails[metric], tt.verdicts, want[0], want[1])
				}
			}
			for metric, n := range passes {
				if got := float64(n) / float64(tt.verdicts); got > tt.pass {
					t.Errorf("%s: %d of %d PASS, want a share of %v at most", metric, n, tt.verdicts, tt.pass)
				}
			}
			t.Logf("FAIL %v, PASS %v of %d verdicts, %.1f pairs each; the interval held the truth in %v", fails, passes, tt.verdicts, float64(pairs)/float64(tt.verdicts), held)
		})
	}
}

func TestDecideKeepsWhatALookDecided(t *testing.T) {
	// 10 pairs at +30 %, then 10 that are better: p50 and p99 FAIL at 10 and stay.
	base := spread(20, 1)
	changed := append(spread(10, 1.3), spread(10, 0.5)...)
	for _, m := range Decide(twoVariants, DefaultRule(Alive, 2), pairTrials(base, changed))[0].Metrics {
		if m.Verdict != Fail || m.Pairs != 10 || math.Abs(m.Ratio-1.3) > 0.01 {
			t.Errorf("%+v", m)
		}
	}
	// And a PASS at 10 stays.
	changed = append(spread(10, 0.9), spread(10, 2)...)
	for _, m := range Decide(twoVariants, DefaultRule(Alive, 2), pairTrials(base, changed))[0].Metrics {
		if m.Verdict != Pass || m.Pairs != 10 {
			t.Errorf("%+v", m)
		}
	}
}

// Six pairs have no bound of 99 %: the best that they can say is true by chance
// once in 64 times.
func TestDecideNeedsSevenPairs(t *testing.T) {
	for pairs, want := range map[int]Verdict{6: Inconclusive, 7: Pass} {
		rule := DefaultRule(Alive, 2)
		rule.Looks = []int{pairs}
		m := Decide(twoVariants, rule, pairTrials(spread(pairs, 1), spread(pairs, 0.8)))[0].Metrics[0]
		if m.Verdict != want || (m.Bound == 0) != (want == Inconclusive) {
			t.Errorf("%d pairs: %+v", pairs, m)
		}
	}
}

func TestDecide(t *testing.T) {
	slow, alike := spread(10, 1.2), spread(10, 1)
	tests := []struct {
		name       string
		hypotheses int
		trials     []Trial
		verdict    Verdict // of p50
		pairs      int
		p          float64 // adjusted
		reason     string
	}{
		{"slower", 2, pairTrials(alike, slow), Fail, 10, 2 * math.Pow(2, -10), ""},
		// Ten pairs cannot go below 1/1024, which five hypotheses put above 0.004.
		{"slower, one of many", 5, pairTrials(alike, slow), Inconclusive, 10, 5 * math.Pow(2, -10), ""},
		{"slower, one of many, with more pairs", 5, pairTrials(spread(14, 1), spread(14, 1.2)), Fail, 14, 5 * math.Pow(2, -14), ""},
		{"alike", 2, pairTrials(alike, alike), Pass, 10, 1, ""},
		{"slower within the margin", 2, pairTrials(alike, spread(10, 1.03)), Pass, 10, 2 * math.Pow(2, -10), ""},
		{"between two looks", 2, pairTrials(alike[:7], slow[:7]), Inconclusive, 7, 2 * math.Pow(2, -7), "7 pairs: between two looks"},
		{"two pairs", 2, pairTrials(alike[:2], slow[:2]), Inconclusive, 2, 0.5, "2 pairs"},
		{"no trials", 2, nil, Inconclusive, 0, 1, ""},
		{"fewer hypotheses than its own", 0, pairTrials(alike, slow), Fail, 10, 2 * math.Pow(2, -10), ""},
		{"a zero", 2, pairTrials(append([]float64{0}, alike[1:]...), slow), Inconclusive, 10, 2 * math.Pow(2, -9), "1 of 10 pairs"},
		{"not a number", 2, pairTrials(alike, append([]float64{math.NaN()}, slow[1:]...)), Inconclusive, 10, 2 * math.Pow(2, -9), "1 of 10 pairs"},
		{"endless", 2, pairTrials(alike, append([]float64{math.Inf(1)}, slow[1:]...)), Inconclusive, 10, 2 * math.Pow(2, -9), "1 of 10 pairs"},
		{"nothing but zeros", 2, pairTrials(make([]float64, 10), slow), Inconclusive, 10, 1, "10 of 10 pairs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Decide(twoVariants, DefaultRule(Alive, tt.hypotheses), tt.trials)
			if len(c) != 1 || len(c[0].Metrics) != 2 {
				t.Fatalf("got %+v", c)
			}
			m := c[0].Metrics[0]
			if m.Verdict != tt.verdict || m.Pairs != tt.pairs || math.Abs(m.PAdjusted-tt.p) > 1e-12 || !strings.Contains(m.Reason, tt.reason) || (tt.reason == "") != (m.Reason == "") {
				t.Errorf("got %+v", m)
			}
			for _, v := range []float64{m.Ratio, m.Low, m.High, m.Bound, m.PValue, m.PAdjusted} {
				if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
					t.Errorf("a document cannot hold %+v", m)
				}
			}
			if again := Decide(twoVariants, DefaultRule(Alive, tt.hypotheses), tt.trials); !reflect.DeepEqual(again, c) {
				t.Errorf("decided again: %+v", again)
			}
		})
	}
}

func TestDecideErrors(t *testing.T) {
	// withErrors lets that many of each trial's 1,000 requests fail.
	withErrors := func(trials []Trial, side int, errs ...int) []Trial {
		for i, n := range errs {
			trials[i].Sides[side].Errors = n
		}
		return trials
	}
	each := func(n int) []int {
		all := make([]int, 10)
		for i := range all {
			all[i] = n
		}
		return all
	}
	alike := func() []Trial { return pairTrials(spread(10, 1), spread(10, 1)) }
	slower := func() []Trial { return pairTrials(spread(10, 1), spread(10, 1.3)) }
	tests := []struct {
		name    string
		trials  []Trial
		verdict Verdict
		reason  string
	}{
		{"few errors", withErrors(alike(), 1, 1, 1, 1), Pass, ""},
		{"few errors, slower", withErrors(slower(), 1, 1, 1, 1), Fail, ""},
		{"the new one fails", withErrors(alike(), 1, each(20)...), Fail, "200 of 10000 (2 %) under b, 0 of 10000"},
		{"the new one answers nothing", withErrors(alike(), 1, each(1000)...), Fail, "10000 of 10000 (100 %) under b"},
		{"one bad moment", withErrors(alike(), 1, 900), Inconclusive, "too many for a PASS"},
		{"one bad moment, slower", withErrors(slower(), 1, 900), Fail, ""},
		{"one silent moment", withErrors(slower(), 1, 0, 0, 1000), Inconclusive, "b answered no request of pair 3"},
		{"the base fails", withErrors(slower(), 0, each(20)...), Inconclusive, "latencies do not compare"},
		{"the base is silent once", withErrors(slower(), 0, 1000), Inconclusive, "a answered no request of pair 1"},
		{"both fail alike", withErrors(withErrors(alike(), 0, each(20)...), 1, each(20)...), Inconclusive, "latencies do not compare"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Decide(twoVariants, Rule{}, tt.trials)[0]
			if c.Verdict != tt.verdict || !strings.Contains(c.Reason, tt.reason) || (tt.reason == "") != (c.Reason == "") {
				t.Errorf("got %s (%s), want %s (%s)", c.Verdict, c.Reason, tt.verdict, tt.reason)
			}
			for _, m := range c.Metrics {
				if c.Verdict == Inconclusive && m.Verdict != Inconclusive || c.Verdict == Fail && m.Verdict == Pass {
					t.Errorf("%s is %s in a comparison that is %s", m.Metric, m.Verdict, c.Verdict)
				}
			}
		})
	}
}

// With five comparisons ten pairs cannot make a FAIL, even of a variant that
// never answers: fourteen can.
func TestDecideGoesOnWhenRequestsFail(t *testing.T) {
	for name, failed := range map[string]int{"all": 1000, "some": 20} {
		trials := pairTrials(spread(14, 1), spread(14, 1))
		for i := range trials {
			trials[i].Sides[1].Errors = failed
		}
		j := judge{variants: twoVariants, rule: DefaultRule(Alive, 10), resamples: 100}
		if f := j.findings(trials[:10])[0]; f.settled() || f.Verdict != Inconclusive {
			t.Errorf("%s, 10 pairs: settled %v, %s (%s)", name, f.settled(), f.Verdict, f.Reason)
		}
		if f := j.findings(trials)[0]; !f.settled() || f.Verdict != Fail {
			t.Errorf("%s, 14 pairs: settled %v, %s (%s)", name, f.settled(), f.Verdict, f.Reason)
		}
	}
}

// A FAIL by errors of the first look stays while another comparison goes on.
func TestDecideKeepsAFailByErrors(t *testing.T) {
	trials := pairTrials(spread(20, 1), spread(20, 1))
	for i := range 10 {
		trials[i].Sides[1].Errors = 5
	}
	for i := range 10 {
		trials[10+i].Sides[0].Errors = 5
	}
	if c := Decide(twoVariants, Rule{}, trials)[0]; c.Verdict != Fail || !strings.Contains(c.Reason, "50 of 10000 (0.5 %) under b, 0 of 10000") {
		t.Errorf("got %s (%s)", c.Verdict, c.Reason)
	}
}

func TestDecideHolm(t *testing.T) {
	// Three variants, four hypotheses: the smallest p-value counts four times,
	// the second three times.
	variants := append(twoVariants[:2:2], Variant{Name: "c", Mesh: "direct"})
	trials := pairTrials(spread(10, 1), spread(10, 1.2))
	mixed := []float64{1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 0.999} // its smallest difference is negative
	for i := range trials {
		side := trials[i].Sides[0]
		side.Latency.P50 *= mixed[i]
		side.Latency.P99 *= 0.8
		trials[i].Sides = append(trials[i].Sides, side)
	}
	all := Decide(variants, Rule{}, trials)
	got := []float64{all[0].Metrics[0].PAdjusted, all[0].Metrics[1].PAdjusted, all[1].Metrics[0].PAdjusted, all[1].Metrics[1].PAdjusted}
	// 1/1024 twice, then 2/1024 (no positive rank sum but 54 and 55 of 55), then 1.
	want := []float64{4. / 1024, 4. / 1024, 4. / 1024, 1}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Errorf("adjusted %v, want %v", got, want)
			break
		}
	}
	if all[0].Verdict != Fail || all[1].Metrics[0].Verdict != Fail || all[1].Metrics[1].Verdict != Pass {
		t.Errorf("got %+v", all)
	}
}
