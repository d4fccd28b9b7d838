package sample

import (
	"math"
	"slices"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// compare decides as a run would, by simpler arithmetic: normal
// approximations stand for the bootstrap and for the exact test.
func (g *generator) compare(d scenarios.Duet) []scenarios.Comparison {
	if g.failed {
		return nil
	}
	var all []scenarios.Comparison
	for i := 1; i < len(d.Variants); i++ {
		c := scenarios.Comparison{Base: d.Variants[0].Name, New: d.Variants[i].Name, Metrics: metrics(d, i)}
		c.Verdict = worst(c.Metrics)
		all = append(all, c)
	}
	return all
}

func worst(metrics []scenarios.MetricDecision) scenarios.Verdict {
	for _, v := range []scenarios.Verdict{scenarios.Fail, scenarios.Inconclusive} {
		if slices.ContainsFunc(metrics, func(m scenarios.MetricDecision) bool { return m.Verdict == v }) {
			return v
		}
	}
	return scenarios.Pass
}

// metrics decides what the trials say of side i against the first.
func metrics(d scenarios.Duet, i int) []scenarios.MetricDecision {
	var all []scenarios.MetricDecision
	for _, margin := range d.Rule.Margins {
		var logs []float64
		for _, t := range d.Trials {
			base, fresh := t.Sides[0].Latency, t.Sides[i].Latency
			ratio := fresh.P50 / base.P50
			if margin.Metric == "p99" {
				ratio = fresh.P99 / base.P99
			}
			logs = append(logs, math.Log(ratio))
		}
		m := decide(logs, margin.Ratio)
		m.Metric = margin.Metric
		all = append(all, m)
	}
	return all
}

func decide(logs []float64, margin float64) scenarios.MetricDecision {
	n := len(logs)
	var walsh []float64
	positive, sum, squares := 0.0, 0.0, 0.0
	for i, a := range logs {
		sum, squares = sum+a, squares+a*a
		for _, b := range logs[i:] {
			walsh = append(walsh, (a+b)/2)
			if a+b > 0 { // Tukey: the signed-rank statistic counts positive Walsh averages
				positive++
			}
		}
	}
	middle := stats.Median(walsh)
	mean := sum / float64(n)
	se := math.Sqrt(max(0, squares/float64(n)-mean*mean) / float64(n-1))
	f := float64(n)
	z := (positive - f*(f+1)/4) / math.Sqrt(f*(f+1)*(2*f+1)/24)
	p := max(1e-6, math.Erfc(z/math.Sqrt2)/2)
	m := scenarios.MetricDecision{
		Margin: margin, Pairs: n, Ratio: math.Exp(middle),
		Low: math.Exp(middle - 2.05*se), High: math.Exp(middle + 2.05*se), Bound: math.Exp(middle + 2.46*se),
		PValue: p, PAdjusted: min(1, 2*p), Verdict: scenarios.Inconclusive,
	}
	switch {
	case m.PAdjusted <= 0.004 && m.Ratio > 1+margin:
		m.Verdict = scenarios.Fail
	case m.Bound < 1+margin:
		m.Verdict = scenarios.Pass
	}
	return m
}

func calibration() *scenarios.Calibration {
	return &scenarios.Calibration{
		Fingerprint: environment().Fingerprint, Made: start().Add(-26 * 24 * time.Hour), Meshlab: "v0.4.0",
		Lab: "hashicups", Scenario: "open", Mesh: ovs,
		Load:     scenarios.OpenLoad{Arrivals: scenarios.Poisson, Rate: 400, Connections: 16, Requests: 1000},
		Verdicts: 200, LabStarts: 150, FalseFails: map[string]int{"p50": 1, "p99": 0}, Undecided: map[string]int{"p50": 3, "p99": 41}, Pairs: 11.4,
		Effects: []scenarios.Effect{
			{Injected: 0.05, Delay: 31e3, Reached: 0.052, Verdicts: 200, Found: map[string]int{"p50": 45, "p99": 0}, Pairs: 24.5},
			{Injected: 0.1, Delay: 62e3, Reached: 0.103, Verdicts: 200, Found: map[string]int{"p50": 200, "p99": 35}, Pairs: 10.5},
			{Injected: 0.2, Delay: 124e3, Reached: 0.207, Verdicts: 200, Found: map[string]int{"p50": 200, "p99": 165}, Pairs: 10},
		},
		Smallest: 0.1,
	}
}
