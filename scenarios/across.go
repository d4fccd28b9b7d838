package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios/stats"
)

// ErrNothingCommon tells that two runs measured nothing alike.
var ErrNothingCommon = errors.New("the two runs have no load and mesh in common with two trials or more of each")

// CompareRuns compares what two runs measured under the same mesh and load.
//
// Two runs come from two times, and how fast the machine was at each of them
// cannot be told from how fast the mesh was: on a shared machine, tests on
// blocks of trials that ran one after the other give 16 to 33 % false alarms.
// So meshes are compared through a reference, one that both runs measured at the
// same load: direct, if there is one, or the first by name. What is held against
// each other is how many times the reference's figure theirs is, in pairs of
// neighbours, which a slow machine leaves alone. This takes for granted that the
// reference has not changed, so there is no comparison of its own: its ratio to
// a mesh that became faster has grown. The Reason of each comparison says it,
// and where rates or numbers of requests differ. A mesh with no other beside it
// in both runs has a ratio and no verdict but INCONCLUSIVE.
//
// Ratios are two-sample Hodges-Lehmann estimates of the logarithms with their
// distribution-free interval; the test is Mann and Whitney's, adjusted by Holm
// over all comparisons. It returns ErrNothingCommon when nothing is alike.
func CompareRuns(base, changed *Result) ([]Duet, error) {
	was, is := base.series(), changed.series()
	var duets []Duet
	var decided []*MetricDecision
	var p []float64
	failed := false // requests of what is alike
	var sure []bool // that the bound has its level: small samples reach less
	for _, n := range is {
		at := slices.IndexFunc(was, func(b series) bool { return b.place == n.place && b.mesh == n.mesh })
		reference := commonReference(was, is, n.place)
		if at < 0 || n.mesh == reference {
			continue
		}
		d := Duet{Scenario: n.place.scenario, Request: n.place.request, Lab: n.place.lab, Pods: n.place.pods, Method: Across, Load: n.load,
			Variants: []Variant{{Name: base.ID, Mesh: n.mesh}, {Name: changed.ID, Mesh: n.mesh}}}
		c := Comparison{Base: base.ID, New: changed.ID}
		if reference == "" {
			c.Reason = fmt.Sprintf("%s was measured at two times, and no other mesh beside it in both runs: a change of the machine cannot be told from one of the mesh", n.mesh)
		} else {
			c.Reason = fmt.Sprintf("%s is compared by its ratio to %s, which is taken not to have changed", n.mesh, reference)
		}
		spoiled := spoiledBy(was, is, n.place, n.mesh, reference)
		c.Reason = joinReasons(c.Reason, otherLoad(was[at].load, n.load), spoiled)
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
			failed = failed || spoiled != ""
			continue
		}
		d.Comparisons = []Comparison{c}
		duets = append(duets, d)
		if reference == "" || spoiled != "" {
			continue
		}
		metrics := duets[len(duets)-1].Comparisons[0].Metrics
		for i := range metrics {
			decided, p = append(decided, &metrics[i]), append(p, metrics[i].PValue)
			sure = append(sure, certain[i])
		}
	}
	switch {
	case len(duets) == 0 && failed:
		return nil, fmt.Errorf("%w in which no request failed", ErrNothingCommon)
	case len(duets) == 0:
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
	arrivals               Arrivals
}

// series are the figures of one mesh at one load, trial by trial; NaN where a
// trial has none, and of attempts of a closed loop in which requests failed,
// which have none that count.
type series struct {
	place  place
	mesh   string
	load   OpenLoad
	p50    []float64
	p99    []float64
	failed failures
}

// series are all of a run: duets of meshes, and closed loops without their
// first attempts.
func (r *Result) series() []series {
	var all []series
	for _, d := range r.Duets {
		for i, v := range d.Variants {
			s := series{place: place{d.Lab, d.Scenario, d.Request, d.Pods, d.Load.Connections, OpenLoop, d.Load.Arrivals}, mesh: v.Mesh, load: d.Load}
			if v.Name != v.Mesh {
				s.mesh = v.Name
			}
			for _, t := range d.Trials {
				if i < len(t.Sides) {
					o := t.Sides[i]
					s.add(failures{o.Errors, o.Requests}, o.Latency.P50, o.Latency.P99)
				}
			}
			all = append(all, s)
		}
	}
	for _, c := range r.Cells {
		s := series{place: place{r.onlyLab(c.Pods), "", c.Request, c.Pods, c.Connections, ClosedLoop, ""}, mesh: c.Mesh, load: OpenLoad{Connections: c.Connections}}
		for _, a := range c.Attempts[min(1, len(c.Attempts)):] {
			s.add(failures{a.Errors, a.Requests}, a.P50, a.P99)
		}
		all = append(all, s)
	}
	return all
}

// onlyLab is the lab of the run's closed loops with these pods; empty: the
// document has several, and cells do not say theirs.
func (r *Result) onlyLab(p Pods) string {
	name := ""
	for _, l := range r.Labs {
		switch {
		case l.Pods != p:
		case name != "":
			return ""
		default:
			name = l.Name
		}
	}
	return name
}

func (s *series) add(f failures, p50, p99 float64) {
	s.failed.errors, s.failed.requests = s.failed.errors+f.errors, s.failed.requests+f.requests
	if f.errors > 0 && s.place.model == ClosedLoop || p50 <= 0 || p99 <= 0 {
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

// commonReference is the mesh that the others of a place are compared by:
// direct, if both runs measured it, or the first by name that both did; empty:
// they have fewer than two meshes there in common.
func commonReference(was, is []series, p place) string {
	var names []string
	for _, o := range is {
		if o.place == p && slices.ContainsFunc(was, func(b series) bool { return b.place == p && b.mesh == o.mesh }) {
			names = append(names, o.mesh)
		}
	}
	switch {
	case len(names) < 2:
		return ""
	case slices.Contains(names, floorMesh):
		return floorMesh
	}
	return slices.Min(names)
}

// spoiledBy says which of the meshes that a comparison rests on has so many
// failed requests that its latencies do not compare; empty: none has.
func spoiledBy(was, is []series, p place, meshes ...string) string {
	var said []string
	for i, run := range [][]series{was, is} {
		for _, s := range run {
			if s.place == p && slices.Contains(meshes, s.mesh) && s.failed.share() > errorShare {
				said = append(said, fmt.Sprintf("requests that failed: %s under %s in the %s run", s.failed, s.mesh, []string{"first", "second"}[i]))
			}
		}
	}
	if len(said) == 0 {
		return ""
	}
	return joinReasons(append(said, "latencies do not compare")...)
}

// otherLoad says in what the loads of two runs differ; empty: in nothing. The
// ratio of two meshes is another one under another load.
func otherLoad(was, is OpenLoad) string {
	var said []string
	if was.Rate != is.Rate {
		said = append(said, fmt.Sprintf("%g requests/s of each mesh in the first run and %g in the second", was.Rate, is.Rate))
	}
	if was.Requests != is.Requests {
		said = append(said, fmt.Sprintf("%d requests a trial in the first run and %d in the second", was.Requests, is.Requests))
	}
	if len(said) == 0 {
		return ""
	}
	return "the load was not the same: " + strings.Join(said, ", ")
}
