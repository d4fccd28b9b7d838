package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"meshlab.dev/meshlab/scenarios/stats"
)

// ErrNothingCommon tells that two runs measured nothing alike.
var ErrNothingCommon = errors.New("the two runs have no load and mesh in common")

// CompareRuns compares what two runs measured under the same mesh and load.
//
// Two runs come from two times, and how fast the machine was at each of them
// cannot be told from how fast the mesh was: on a shared machine, tests on
// blocks of trials that ran one after the other give 16 to 33 % false alarms.
// So a mesh is compared through another one that both runs measured beside it
// (direct, if there is one): what is held against each other is how many times
// the other's figure it is, in pairs of neighbours, which a slow machine leaves
// alone. This takes for granted that the other mesh has not changed, and the
// Reason of each comparison says so. Without such a mesh in both runs, there
// is a ratio and no verdict but INCONCLUSIVE.
//
// Ratios are two-sample Hodges-Lehmann estimates of the logarithms with their
// distribution-free interval; the test is Mann and Whitney's, adjusted by Holm
// over all comparisons. It returns ErrNothingCommon when nothing is alike.
func CompareRuns(base, changed *Result) ([]Duet, error) {
	was, is := base.series(), changed.series()
	var duets []Duet
	var decided []*MetricDecision
	var p []float64
	var sure []bool // that the bound has its level: small samples reach less
	for _, n := range is {
		at := slices.IndexFunc(was, func(b series) bool { return b.place == n.place && b.mesh == n.mesh })
		if at < 0 {
			continue
		}
		d := Duet{Scenario: n.place.scenario, Request: n.place.request, Lab: n.place.lab, Pods: n.place.pods, Method: Across, Load: n.load,
			Variants: []Variant{{Name: base.ID, Mesh: n.mesh}, {Name: changed.ID, Mesh: n.mesh}}}
		c := Comparison{Base: base.ID, New: changed.ID}
		reference := commonReference(was, is, n)
		if reference == "" {
			c.Reason = fmt.Sprintf("%s was measured at two times, and no other mesh beside it in both runs: a change of the machine cannot be told from one of the mesh", n.mesh)
		} else {
			c.Reason = fmt.Sprintf("%s is compared by its ratio to %s, which is taken not to have changed", n.mesh, reference)
		}
		var certain []bool
		for _, m := range DefaultRule(Alive, 0).Margins {
			x, y := n.logs(m.Metric, is, reference), was[at].logs(m.Metric, was, reference)
			shift := stats.Shift(x, y, 0.95)
			if len(x) < 2 || len(y) < 2 || math.IsNaN(shift.Estimate) {
				continue
			}
			test, bound := stats.MannWhitney(x, y), stats.Shift(x, y, acrossLevel)
			c.Metrics = append(c.Metrics, MetricDecision{
				Metric: m.Metric, Margin: m.Ratio, Pairs: min(len(x), len(y)), Ratio: math.Exp(shift.Estimate),
				Low: math.Exp(shift.Low), High: math.Exp(shift.High), Bound: math.Exp(bound.High),
				PValue: test.Greater, PAdjusted: test.Greater, Verdict: Inconclusive,
			})
			certain = append(certain, bound.Level >= acrossLevel)
		}
		if len(c.Metrics) == 0 {
			continue
		}
		d.Comparisons = []Comparison{c}
		duets = append(duets, d)
		if reference == "" {
			continue
		}
		metrics := duets[len(duets)-1].Comparisons[0].Metrics
		for i := range metrics {
			decided, p = append(decided, &metrics[i]), append(p, metrics[i].PValue)
			sure = append(sure, certain[i])
		}
	}
	if len(duets) == 0 {
		return nil, ErrNothingCommon
	}
	for i, adjusted := range stats.Holm(p) {
		m := decided[i]
		m.PAdjusted = adjusted
		switch {
		case adjusted <= failLevel && m.Ratio > 1+m.Margin:
			m.Verdict = Fail
		case sure[i] && m.Bound < 1+m.Margin:
			m.Verdict = Pass
		}
	}
	for i := range duets {
		c := &duets[i].Comparisons[0]
		c.Verdict = worst(c.Metrics)
	}
	return duets, nil
}

// acrossLevel makes the upper bound a one-sided one of 99 %.
const acrossLevel = 0.98

// worst is FAIL if any is, PASS if all are, else INCONCLUSIVE.
func worst(metrics []MetricDecision) Verdict {
	v := Pass
	for _, m := range metrics {
		if m.Verdict == Fail {
			return Fail
		}
		if m.Verdict != Pass {
			v = Inconclusive
		}
	}
	return v
}

// place is a load of a run.
type place struct {
	lab, scenario, request string
	pods                   Pods
	connections            int
	model                  Model
}

// series are the figures of one mesh at one load, trial by trial; NaN where a
// trial had failed requests.
type series struct {
	place place
	mesh  string
	load  OpenLoad
	p50   []float64
	p99   []float64
}

// series are all of a run: duets of meshes, and closed loops without their
// first attempts.
func (r *Result) series() []series {
	var all []series
	for _, d := range r.Duets {
		for i, v := range d.Variants {
			s := series{place: place{d.Lab, d.Scenario, d.Request, d.Pods, d.Load.Connections, OpenLoop}, mesh: v.Mesh, load: d.Load}
			if v.Name != v.Mesh {
				s.mesh = v.Name
			}
			for _, t := range d.Trials {
				if i < len(t.Sides) {
					s.add(t.Sides[i].Errors, t.Sides[i].Latency.P50, t.Sides[i].Latency.P99)
				}
			}
			all = append(all, s)
		}
	}
	for _, c := range r.Cells {
		s := series{place: place{"", "", c.Request, c.Pods, c.Connections, ClosedLoop}, mesh: c.Mesh, load: OpenLoad{Connections: c.Connections}}
		for _, a := range c.Attempts[min(1, len(c.Attempts)):] {
			s.add(a.Errors, a.P50, a.P99)
		}
		all = append(all, s)
	}
	return all
}

func (s *series) add(errors int, p50, p99 float64) {
	if errors > 0 || p50 <= 0 || p99 <= 0 {
		p50, p99 = math.NaN(), math.NaN()
	}
	s.p50, s.p99 = append(s.p50, p50), append(s.p99, p99)
}

func (s series) values(metric string) []float64 {
	if metric == "p99" {
		return s.p99
	}
	return s.p50
}

// logs are the logarithms of a figure, or of its ratio to that of the
// reference in the same trials.
func (s series) logs(metric string, all []series, reference string) []float64 {
	var by []float64
	if reference != "" {
		at := slices.IndexFunc(all, func(o series) bool { return o.place == s.place && o.mesh == reference })
		by = all[at].values(metric)
	}
	var out []float64
	for i, v := range s.values(metric) {
		x := math.Log(v)
		if reference != "" {
			if i >= len(by) {
				break
			}
			x -= math.Log(by[i])
		}
		if !math.IsNaN(x) {
			out = append(out, x)
		}
	}
	return out
}

// commonReference is another mesh that both runs measured beside s: direct,
// if they did, or the first by name; empty: none.
func commonReference(was, is []series, s series) string {
	var names []string
	for _, o := range is {
		if o.place == s.place && o.mesh != s.mesh &&
			slices.ContainsFunc(was, func(b series) bool { return b.place == s.place && b.mesh == o.mesh }) {
			names = append(names, o.mesh)
		}
	}
	if len(names) == 0 {
		return ""
	}
	if slices.Contains(names, "direct") {
		return "direct"
	}
	slices.Sort(names)
	return names[0]
}
