package main

import (
	"fmt"
	"strings"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// duetView shows how a duet is going: on a terminal in the line that changes,
// in a pipe one line a look.
type duetView struct {
	*measurement
	title string
	begun time.Time
	told  int // pairs at the last line in a pipe
}

func (v *duetView) step() string { return "measure " + v.title }

func (v *duetView) begin() {
	v.begun = time.Now()
	v.p.start(v.step())
}

func (v *duetView) show(e scenarios.DuetEvent) {
	switch e.Phase {
	case scenarios.PhasePreflight:
		v.report("preflight: how fast is each alone")
	case scenarios.PhaseWarmUp:
		v.report(fmt.Sprintf("warming up at %.0f requests/s each", e.Load.Rate))
	case scenarios.PhaseTrial:
		v.report(fmt.Sprintf("pair %d of %d to %d%s%s", e.Done+1, e.NextLook, e.Most, ratios(e.Comparisons), left(e)))
		if !v.p.tty && e.Done > 0 && e.Done%10 == 0 && e.Done != v.told {
			v.told = e.Done
			v.p.line("  %s: %d pairs after %.0f s%s", v.title, e.Done, e.Elapsed.Seconds(), ratios(e.Comparisons))
		}
	}
}

func (v *duetView) end(d *scenarios.Duet) {
	pairs := 0
	for _, c := range d.Comparisons {
		for _, m := range c.Metrics {
			pairs = max(pairs, m.Pairs)
		}
	}
	v.p.finish(v.step(), fmt.Sprintf("%d pairs at %.0f requests/s each", pairs, d.Load.Rate), time.Since(v.begun))
}

// ratios are the estimates so far, with their intervals where there are enough
// pairs for one.
func ratios(comparisons []scenarios.Comparison) string {
	var all []string
	for _, c := range comparisons {
		for _, m := range c.Metrics {
			if m.Ratio <= 0 {
				continue
			}
			one := fmt.Sprintf("%s %s %.2fx", c.New, m.Metric, m.Ratio)
			if m.Low > 0 && m.High > 0 {
				one += fmt.Sprintf(" (%.2f to %.2f)", m.Low, m.High)
			}
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(all, ", ")
}

func left(e scenarios.DuetEvent) string {
	if e.ToLook == 0 {
		return ""
	}
	return fmt.Sprintf("; %s to %s left", e.ToLook.Round(time.Second), e.Left.Round(time.Second))
}
