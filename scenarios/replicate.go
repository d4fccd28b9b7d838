package scenarios

import (
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
}

// bounded tells whether the finding has an interval.
func (f Finding) bounded() bool { return f.Low > 0 && f.High > 0 }

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
	if !(o.Ratio > 0) || !(h.Ratio > 0) || !h.bounded() {
		return NotMeasured
	}
	s := math.Hypot(standardError(o), standardError(h))
	if math.Abs(math.Log(h.Ratio/o.Ratio)) <= normal975*s {
		return Replicated
	}
	if (o.Ratio > 1 && h.Low > 1) || (o.Ratio < 1 && h.High < 1) {
		return SameDirection
	}
	return NotReplicated
}

// normal975 is the 97.5 % quantile of the normal distribution.
const normal975 = 1.959963984540054

// standardError is that of the log ratio, from the width of its 95 % interval.
func standardError(f Finding) float64 {
	if !f.bounded() {
		return 0
	}
	return math.Log(f.High/f.Low) / (2 * normal975)
}

// Findings are the ratios that a run found: those of its duets with their
// intervals, and for its closed loops how many times the average and the
// median of ovs those of the other meshes are.
func (r *Result) Findings() []Finding {
	var out []Finding
	for _, d := range r.Duets {
		for _, c := range d.Comparisons {
			for _, m := range c.Metrics {
				if m.Ratio > 0 {
					out = append(out, Finding{d.cell(), m.Metric, c.Base, c.New, m.Ratio, m.Low, m.High})
				}
			}
		}
	}
	return append(out, r.closedFindings()...)
}

func (d Duet) cell() string {
	name := d.Request
	if name == "" {
		name = d.Scenario
	}
	return fmt.Sprintf("%s, %s, open loop over %d connections", name, d.Pods, d.Load.Connections)
}

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
		for _, figure := range []string{"avg", "p50"} {
			f := Finding{Cell: c.Point().String(), Figure: figure, Base: closedBase, New: c.Mesh}
			if f.Ratio, f.Low, f.High, ok = attemptRatio(c.Attempts, b.Attempts, figure); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

// attemptRatio compares the later attempts of two cells, which ran next to
// each other, by pairs: the mean of the log ratios, and Student's interval.
// With the usual three pairs it is wide, and should be. Not ok when an attempt
// failed in part or there are fewer than two pairs.
func attemptRatio(changed, base []Attempt, figure string) (ratio, low, high float64, ok bool) {
	n := min(len(changed), len(base))
	var x, y []float64
	for i := 1; i < n; i++ {
		if changed[i].Errors+base[i].Errors > 0 {
			return 0, 0, 0, false
		}
		x, y = append(x, changed[i].figure(figure)), append(y, base[i].figure(figure))
	}
	logs, err := stats.LogRatios(x, y)
	if err != nil || len(logs) < 2 {
		return 0, 0, 0, false
	}
	mean, l, h := stats.MeanInterval(logs, 0.95)
	return math.Exp(mean), math.Exp(l), math.Exp(h), true
}

func (a Attempt) figure(name string) float64 {
	if name == "avg" {
		return a.Avg
	}
	return a.P50
}
