// Package gate tells the verdicts of paired trials to those who act on them:
// a person at a terminal, a reviewer of a pull request, a CI system. It
// decides nothing; scenarios does.
package gate

import (
	"fmt"
	"strings"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// Row is the decision on one figure of one comparison.
type Row struct {
	Lab      string         `json:"lab"`
	Pods     scenarios.Pods `json:"pods"`
	Scenario string         `json:"scenario"`
	Request  string         `json:"request,omitempty"` // empty: a mix
	Base     string         `json:"base"`
	New      string         `json:"new"`
	BaseMs   float64        `json:"base_ms"` // median over the trials; 0: none had a success
	NewMs    float64        `json:"new_ms"`
	scenarios.MetricDecision
	Reason string `json:"reason,omitempty"` // of an INCONCLUSIVE or FAIL that the figures alone do not tell
}

// Load names what was measured: the request, or the scenario of a mix.
func (r Row) Load() string {
	if r.Request != "" {
		return r.Request
	}
	return r.Scenario
}

// Rows are the decisions of all duets, in the order of the document.
func Rows(duets []scenarios.Duet) []Row {
	var rows []Row
	for _, d := range duets {
		for _, c := range d.Comparisons {
			for _, m := range c.Metrics {
				rows = append(rows, Row{
					Lab: d.Lab, Pods: d.Pods, Scenario: d.Scenario, Request: d.Request,
					Base: c.Base, New: c.New, MetricDecision: m, Reason: c.Reason,
					BaseMs: medianOf(d, c.Base, m.Metric), NewMs: medianOf(d, c.New, m.Metric),
				})
			}
		}
	}
	return rows
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
	rows := Rows(duets)
	count := map[scenarios.Verdict]int{}
	for _, r := range rows {
		count[r.Verdict]++
	}
	switch v := Overall(duets); v {
	case scenarios.Pass:
		return fmt.Sprintf("PASS: %s, none worse than its margin allows.", figures(len(rows)))
	case scenarios.Fail:
		return fmt.Sprintf("FAIL: %d of %s worse by more than the margin.", max(count[scenarios.Fail], 1), figures(len(rows)))
	default:
		return fmt.Sprintf("INCONCLUSIVE: %d of %s passed; the trials do not tell about the rest.", count[scenarios.Pass], figures(len(rows)))
	}
}

func figures(n int) string {
	if n == 1 {
		return "1 figure"
	}
	return fmt.Sprintf("%d figures", n)
}

// Trust says what is known of verdicts on this machine.
func Trust(c *scenarios.Calibration) string {
	if c == nil {
		return "This machine is not calibrated for this load, so nobody knows how often a verdict is wrong here: run `meshlab calibrate`."
	}
	var fails []string
	for _, m := range []string{"p50", "p99"} {
		fails = append(fails, fmt.Sprintf("%d of %d for %s", c.FalseFails[m], c.Verdicts, m))
	}
	text := fmt.Sprintf("Calibrated on %s: false alarms when %s was compared with itself, in verdicts drawn from %d pairs of labs: %s.",
		c.Made.UTC().Format("2 January 2006"), c.Mesh, c.LabStarts, strings.Join(fails, ", "))
	if c.Smallest > 0 {
		return text + fmt.Sprintf(" The smallest slowdown of the median found in 95 %% of verdicts: %+.0f %%.", c.Smallest*100)
	}
	return text + " No slowdown that was tried was found in 95 % of verdicts."
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
