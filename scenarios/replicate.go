package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"meshlab.dev/meshlab/scenarios/stats"
)

// Finding is one ratio that a run found, and what another run is held
// against: how many times the figure of Base that of New is.
type Finding struct {
	Cell   string  `json:"cell"` // what was measured, the same text in every run
	Figure string  `json:"figure"`
	Base   string  `json:"base"`
	New    string  `json:"new"`
	Ratio  float64 `json:"ratio"`
	Low    float64 `json:"low"` // 95 % interval; both 0: the source gives none
	High   float64 `json:"high"`
	Apart  bool    `json:"apart,omitempty"` // Base and New ran on different machines, and took no turns

	Point Point `json:"-"` // what was measured, in parts; its request is the scenario's name where that has steps, and has it in brackets where it is not the usual one
	Model Model `json:"-"` // which loop
}

// Bounded tells whether the finding has an interval.
func (f Finding) Bounded() bool { return f.Low > 0 && f.High > 0 }

// Outcome is what came of an attempt to find the same again.
type Outcome string

// The outcomes.
const (
	Replicated    Outcome = "replicated"     // what differs is within what both runs leave open
	SameDirection Outcome = "direction only" // the same variant is ahead, by another factor
	NotReplicated Outcome = "not replicated"
	NotMeasured   Outcome = "not measured" // this run has no such figure
)

// Replication is a finding, and what this run has in its place.
type Replication struct {
	Original Finding  `json:"original"`
	Here     *Finding `json:"here,omitempty"` // nil: nothing
	Outcome  Outcome  `json:"outcome"`
}

// Replicate holds the findings of a run here against those of an original.
//
// A finding is replicated when the two log ratios differ by no more than
// 1.96 sqrt(s1² + s2²), with s1 and s2 their standard errors, as the 95 %
// intervals tell them: when the one lies in the prediction interval of the
// other (Patil, Peng and Leek, "What should researchers expect when they
// replicate studies?", Perspectives on Psychological Science 11:4, 2016). An
// original without an interval counts as exact, which makes this harder. The
// direction is the same when both ratios lie on one side of 1 and the
// interval found here does too.
func Replicate(originals, here []Finding) []Replication {
	var out []Replication
	for _, o := range originals {
		r := Replication{Original: o, Outcome: NotMeasured}
		at := slices.IndexFunc(here, func(h Finding) bool {
			return h.Cell == o.Cell && h.Figure == o.Figure && h.Base == o.Base && h.New == o.New
		})
		if at >= 0 {
			r.Here = &here[at]
			r.Outcome = outcome(o, here[at])
		}
		out = append(out, r)
	}
	return out
}

func outcome(o, h Finding) Outcome {
	if !(o.Ratio > 0) || !(h.Ratio > 0) || !h.Bounded() {
		return NotMeasured
	}
	if alike(o, h) {
		return Replicated
	}
	if (o.Ratio > 1 && h.Low > 1) || (o.Ratio < 1 && h.High < 1) {
		return SameDirection
	}
	return NotReplicated
}

// alike tells whether each of two ratios lies in the other's prediction
// interval.
func alike(a, b Finding) bool {
	s := math.Hypot(standardError(a), standardError(b))
	return math.Abs(math.Log(a.Ratio/b.Ratio)) <= normal975*s
}

// normal975 is the 97.5 % quantile of the normal distribution.
const normal975 = 1.959963984540054

// standardError is that of the log ratio, from the width of its 95 % interval.
func standardError(f Finding) float64 {
	if !f.Bounded() {
		return 0
	}
	return math.Log(f.High/f.Low) / (2 * normal975)
}

// Findings are the ratios that a run found: those of its duets with their
// intervals, and for its closed loops how many times the average and the
// median of ovs those of the other meshes are. Where more than one in a thousand
// requests of a duet failed, or one of a cell, there is none: those that failed
// would have been among the slow.
func (r *Result) Findings() []Finding {
	var out []Finding
	for _, d := range r.Duets {
		for _, c := range d.Comparisons {
			at := d.variant(c.New)
			if at < 0 {
				continue
			}
			if t := tallyOf(pairsOf(d.Trials, at), at); max(t.base.share(), t.fresh.share()) > errorShare {
				continue
			}
			for _, m := range c.Metrics {
				if m.Ratio > 0 {
					out = append(out, Finding{Cell: d.cell(), Figure: m.Metric, Base: c.Base, New: c.New, Ratio: m.Ratio, Low: m.Low, High: m.High,
						Point: d.point(), Model: OpenLoop})
				}
			}
		}
	}
	return append(out, r.closedFindings()...)
}

// cell tells a duet from every other of its run: of one request there may be one
// in each lab and each scenario.
func (d Duet) cell() string {
	p := d.point()
	return fmt.Sprintf("%s of %s, %s, open loop over %d connections", p.Request, d.Lab, p.Pods, p.Connections)
}

func (d Duet) point() Point {
	name := cmp.Or(d.Request, d.Scenario)
	if d.Request != "" && d.Scenario != "" && d.Scenario != usualScenario {
		name = fmt.Sprintf("%s (%s)", name, d.Scenario)
	}
	return Point{Request: name, Pods: d.Pods, Connections: d.Load.Connections}
}

// usualScenario is the one that paired trials take when none is named.
const usualScenario = "open"

// closedBase is the mesh that closed-loop ratios are over, as in the thesis.
const closedBase = "ovs"

func (r *Result) closedFindings() []Finding {
	base := map[Point]Cell{}
	for _, c := range r.Cells {
		if c.Mesh == closedBase {
			base[c.Point()] = c
		}
	}
	var out []Finding
	for _, c := range r.Cells {
		b, ok := base[c.Point()]
		if !ok || c.Mesh == closedBase {
			continue
		}
		for _, figure := range closedFigures() {
			if f, ok := besides(c, b, figure); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

// closedFigures are those that ratios of closed loops are made of.
func closedFigures() []string { return []string{"avg", "p50"} }

// besides compares a figure of the later attempts of two cells, which ran next
// to each other, by pairs: the mean of the log ratios, and Student's interval.
// With the usual three pairs it is wide, and should be; of one pair there is
// none. Not ok when an attempt failed in part or there is no pair.
func besides(changed, base Cell, figure string) (Finding, bool) {
	n := min(len(changed.Attempts), len(base.Attempts))
	x, okX := laterFigures(changed.Attempts[:n], figure)
	y, okY := laterFigures(base.Attempts[:n], figure)
	logs, err := stats.LogRatios(x, y)
	if err != nil || len(logs) == 0 || !okX || !okY {
		return Finding{}, false
	}
	mean, low, high := stats.MeanInterval(logs, intervalLevel)
	return closedFinding(changed, base, figure, mean, low, high), true
}

func closedFinding(changed, base Cell, figure string, mean, low, high float64) Finding {
	f := Finding{Cell: base.Point().String(), Figure: figure, Base: base.Mesh, New: changed.Mesh, Ratio: math.Exp(mean),
		Point: base.Point(), Model: ClosedLoop}
	if !math.IsNaN(low) {
		f.Low, f.High = math.Exp(low), math.Exp(high)
	}
	return f
}

// laterFigures is a figure of all attempts but the first, and whether none of
// these failed in part.
func laterFigures(attempts []Attempt, figure string) ([]float64, bool) {
	var out []float64
	for _, a := range attempts[min(1, len(attempts)):] {
		if a.Errors > 0 {
			return nil, false
		}
		out = append(out, a.figure(figure))
	}
	return out, true
}

func (a Attempt) figure(name string) float64 {
	if name == "avg" {
		return a.Avg
	}
	return a.P50
}
