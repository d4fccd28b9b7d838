// Package gate tells the verdicts of paired trials to those who act on them:
// a person at a terminal, a reviewer of a pull request, a CI system. It
// decides nothing; scenarios does.
package gate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// Failures is the Metric of a row that tells of requests that failed, where these
// and no latency made a comparison FAIL. It has no ratio.
const Failures = "failures"

// Row is the decision on one figure of one comparison.
type Row struct {
	Lab         string         `json:"lab"`
	Pods        scenarios.Pods `json:"pods"`
	Scenario    string         `json:"scenario"`
	Request     string         `json:"request,omitempty"` // empty: a mix
	Base        string         `json:"base"`
	New         string         `json:"new"`
	Mesh        string         `json:"mesh,omitempty"` // of both sides; empty: they differ in it
	Connections int            `json:"connections"`
	BaseMs      float64        `json:"base_ms"` // median over the trials; 0: none had a success
	NewMs       float64        `json:"new_ms"`
	scenarios.MetricDecision
	Reason string `json:"reason,omitempty"` // of an INCONCLUSIVE or FAIL that the figures alone do not tell

	across bool // Base and New are runs, which have many meshes and loads
}

// Load names what was measured: the request, or the scenario of a mix. Between two
// runs it is also what else tells their rows apart: the scenario of the request, the
// mesh and the connections.
func (r Row) Load() string {
	load := cmp.Or(r.Request, r.Scenario)
	if !r.across {
		return load
	}
	if r.Request != "" && r.Scenario != "" {
		load += " of " + r.Scenario
	}
	return load + ", " + r.Mesh + ", " + format.Plural(r.Connections, "connection")
}

// Rows are the decisions of all duets, in the order of the document. A comparison
// that FAILs has a row that does.
func Rows(duets []scenarios.Duet) []Row {
	var rows []Row
	for _, d := range duets {
		for _, c := range d.Comparisons {
			row := rowOf(d, c)
			told := false
			for _, m := range c.Metrics {
				row.MetricDecision = m
				row.BaseMs, row.NewMs = medianOf(d, c.Base, m.Metric), medianOf(d, c.New, m.Metric)
				rows = append(rows, row)
				told = told || m.Verdict == scenarios.Fail
			}
			if c.Verdict == scenarios.Fail && !told {
				row.BaseMs, row.NewMs = 0, 0
				row.MetricDecision = scenarios.MetricDecision{Metric: Failures, Pairs: row.Pairs, Verdict: scenarios.Fail}
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// rowOf is a row without a figure.
func rowOf(d scenarios.Duet, c scenarios.Comparison) Row {
	row := Row{
		Lab: d.Lab, Pods: d.Pods, Scenario: d.Scenario, Request: d.Request, Base: c.Base, New: c.New,
		Connections: d.Load.Connections, Reason: c.Reason, across: d.Method == scenarios.Across,
	}
	if base, changed := meshOf(d, c.Base), meshOf(d, c.New); base == changed {
		row.Mesh = base
	}
	return row
}

func meshOf(d scenarios.Duet, variant string) string {
	for _, v := range d.Variants {
		if v.Name == variant {
			return v.Mesh
		}
	}
	return ""
}

// medianOf is the median over trials of a variant's figure; 0 without any.
func medianOf(d scenarios.Duet, variant, metric string) float64 {
	var all []float64
	for _, t := range d.Trials {
		for i, s := range t.Sides {
			if i >= len(d.Variants) || d.Variants[i].Name != variant || s.Requests == s.Errors {
				continue
			}
			all = append(all, figure(s.Latency, metric))
		}
	}
	if len(all) == 0 {
		return 0
	}
	return stats.Median(all)
}

func figure(d scenarios.Distribution, metric string) float64 {
	if metric == "p99" {
		return d.P99
	}
	return d.P50
}

// Overall is the verdict on all comparisons: FAIL when one failed, PASS when
// all passed, else INCONCLUSIVE, also when there is none.
func Overall(duets []scenarios.Duet) scenarios.Verdict {
	n, passed := 0, 0
	for _, d := range duets {
		for _, c := range d.Comparisons {
			n++
			switch c.Verdict {
			case scenarios.Fail:
				return scenarios.Fail
			case scenarios.Pass:
				passed++
			}
		}
	}
	if n > 0 && passed == n {
		return scenarios.Pass
	}
	return scenarios.Inconclusive
}

// Sentence says one row in words.
func (r Row) Sentence() string {
	place := fmt.Sprintf("%s in %s (%s)", r.Load(), r.Lab, r.Pods)
	if r.Metric == Failures {
		return fmt.Sprintf("%s: more requests fail under %s than under %s", place, r.New, r.Base)
	}
	if r.Ratio <= 0 {
		return fmt.Sprintf("%s: the %s of %s cannot be compared with that of %s", place, r.Metric, r.New, r.Base)
	}
	interval := "no interval"
	if r.High > 0 {
		interval = fmt.Sprintf("95 %% interval %s to %s", ratio(r.Low), ratio(r.High))
	}
	return fmt.Sprintf("%s: the %s of %s is %s times that of %s (%s, %s; allowed up to %s)",
		place, r.Metric, r.New, ratio(r.Ratio), r.Base, interval, format.Plural(r.Pairs, "pair"), ratio(1+r.Margin))
}

// Headline is the overall verdict in one sentence.
func Headline(duets []scenarios.Duet) string {
	count := map[scenarios.Verdict]int{}
	all, failing := 0, 0
	for _, r := range Rows(duets) {
		if r.Metric == Failures {
			failing++
			continue
		}
		all++
		count[r.Verdict]++
	}
	switch v := Overall(duets); v {
	case scenarios.Pass:
		return fmt.Sprintf("PASS: %s, none worse than its margin allows.", figures(all))
	case scenarios.Fail:
		var said []string
		if n := count[scenarios.Fail]; n > 0 {
			said = append(said, fmt.Sprintf("%d of %s worse by more than the margin", n, figures(all)))
		}
		if failing > 0 {
			said = append(said, fmt.Sprintf("requests fail more often in %s", format.Plural(failing, "comparison")))
		}
		return fmt.Sprintf("FAIL: %s.", strings.Join(said, "; "))
	default:
		return fmt.Sprintf("INCONCLUSIVE: %d of %s passed; the trials do not tell about the rest.", count[scenarios.Pass], figures(all))
	}
}

func figures(n int) string {
	if n == 1 {
		return "1 figure"
	}
	return fmt.Sprintf("%d figures", n)
}

// Trust says what is known of verdicts on this machine, and of which load that
// is: there is one calibration for a machine, whatever is compared on it.
func Trust(c *scenarios.Calibration) string {
	if c == nil {
		return "This machine is not calibrated, so nobody knows how often a verdict is wrong here: run `meshlab calibrate`."
	}
	var fails []string
	for _, m := range []string{"p50", "p99"} {
		fails = append(fails, fmt.Sprintf("%d of %d for %s", c.FalseFails[m], c.Verdicts, m))
	}
	text := fmt.Sprintf("Calibrated on %s with %s in %s: false alarms when %s was compared with itself, in verdicts drawn from %d pairs of labs: %s.",
		c.Made.UTC().Format("2 January 2006"), cmp.Or(c.Request, c.Scenario), c.Lab, c.Mesh, c.LabStarts, strings.Join(fails, ", "))
	if c.Smallest > 0 {
		return text + fmt.Sprintf(" The smallest slowdown of the median found in 95 %% of verdicts: %+.0f %%.", c.Smallest*100)
	}
	return text + " No slowdown that was tried was found in 95 % of verdicts."
}

// apart tells whether the sides of all duets are of two runs. Calibrations are
// of paired trials, and say nothing of such verdicts.
func apart(duets []scenarios.Duet) bool {
	return len(duets) > 0 && !slices.ContainsFunc(duets, func(d scenarios.Duet) bool { return d.Method != scenarios.Across })
}

// ratio writes a ratio so that one of 1.004 is not shown as 1.
func ratio(v float64) string { return fmt.Sprintf("%.3f", v) }

// disturbed counts the trials with flags, by kind.
func disturbed(duets []scenarios.Duet) (trials, flagged int, kinds map[scenarios.FlagKind]int) {
	kinds = map[scenarios.FlagKind]int{}
	for _, d := range duets {
		trials += len(d.Trials)
		for _, t := range d.Trials {
			if len(t.Flags) > 0 {
				flagged++
			}
			seen := map[scenarios.FlagKind]bool{}
			for _, f := range t.Flags {
				if !seen[f.Kind] {
					seen[f.Kind] = true
					kinds[f.Kind]++
				}
			}
		}
	}
	return trials, flagged, kinds
}
