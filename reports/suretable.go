package reports

import (
	"errors"
	"fmt"
	"slices"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios/stats"
)

// effects has what the calibration found of delays added on purpose; it is
// empty without a calibration.
func (s *section) effects() table {
	c := s.Result.Calibration
	if c == nil {
		return table{}
	}
	t := table{
		Caption: "Slowdowns that were made on purpose while this machine was calibrated, and in how many verdicts they were found (FAIL).",
		Columns: []column{{"", "delay added, of the median"}, {"", "p50 really longer by"}, {"", "verdicts"}},
	}
	metrics := sentence.Metrics(c.FalseFails)
	for _, e := range c.Effects {
		for _, m := range sentence.Metrics(e.Found) {
			if len(metrics) == 0 {
				metrics = append(metrics, m)
			}
		}
	}
	for _, m := range metrics {
		t.Columns = append(t.Columns, column{"found by", m})
	}
	t.Columns = append(t.Columns, column{"", "pairs per verdict"})
	for _, e := range c.Effects {
		row := []entry{head(sentence.Percent(e.Injected)), text(sentence.Percent(e.Reached)), text(format.Grouped(e.Verdicts))}
		for _, m := range metrics {
			row = append(row, text(format.Grouped(e.Found[m])))
		}
		t.Rows = append(t.Rows, append(row, text(format.Significant(e.Pairs, 3))))
	}
	return t
}

// generator has a line for each duet: what was asked of the load generator,
// and what it says of itself.
func (s *section) generator() table {
	t := table{
		Caption: "The load generator in the paired trials. Lateness, in milliseconds, is from the intended to the real start of requests that had a connection free; it is part of the latencies.",
		Columns: []column{{"", "what"}, {"per variant", "requests/s"}, {"per variant", "connections"}, {"", "of the lowest knee"},
			{"lateness", "p50"}, {"lateness", "p99"}, {"lateness", "p99 of the worst trial"}, {"", "queued"}, {"", "processors it used"}, {"machine", "busy"}, {"machine", "steal at most"}, {"", "warm-up, s"}},
	}
	for _, d := range s.duets {
		g := d.generatorOf()
		share := format.Missing
		if knee := d.lowestKnee(); knee > 0 {
			share = sentence.Percent(d.Load.Rate / knee)
		}
		row := []entry{head(d.title()), text(format.Rate(d.Load.Rate)), text(format.Grouped(d.Load.Connections)), text(share)}
		if len(d.Trials) == 0 {
			t.Rows = append(t.Rows, append(row, entry{Text: "no trial was made", Span: 8}))
			continue
		}
		t.Rows = append(t.Rows, append(row, text(g.p50), text(g.p99), text(g.worst), text(format.Grouped(g.queued)), text(g.processors),
			text(sentence.Percent(g.busy)), text(sentence.Percent(g.steal)), text(g.warmUp)))
	}
	return t
}

// generated is what the trials of a duet say of the generator together.
type generated struct {
	p50, p99, worst, processors, warmUp string
	queued                              int
	busy, steal                         float64
}

func (d *duet) generatorOf() generated {
	g := generated{p50: format.Missing, p99: format.Missing, worst: format.Missing, processors: format.Missing, warmUp: format.Missing}
	var lateness []string
	var warm []float64
	restless := 0
	var worst, cpu, seconds float64
	for _, t := range d.Trials {
		lateness = append(lateness, t.Generator.Lateness.HDR)
		worst = max(worst, t.Generator.Lateness.P99)
		g.queued += t.Generator.Queued
		cpu, seconds = cpu+t.Generator.CPUSeconds, seconds+t.Seconds
		g.busy += t.Busy / float64(len(d.Trials))
		g.steal = max(g.steal, t.Steal)
		if t.WarmUp.Seconds > 0 {
			warm = append(warm, t.WarmUp.Seconds)
			if !t.WarmUp.Steady {
				restless++
			}
		}
	}
	if h, err := stats.MergeHDR(lateness...); err == nil {
		g.p50, g.p99 = format.Milliseconds(float64(h.ValueAtPercentile(50))/1000), format.Milliseconds(float64(h.ValueAtPercentile(99))/1000)
		g.worst = format.Milliseconds(worst)
	} else if !errors.Is(err, stats.ErrNoHistogram) {
		g.p50 = fmt.Sprintf("unreadable: %v", err)
	}
	if seconds > 0 {
		g.processors = format.Significant(cpu/seconds, 2)
	}
	if len(warm) > 0 {
		least, most := format.Significant(slices.Min(warm), 2), format.Significant(slices.Max(warm), 2)
		if g.warmUp = least; most != least {
			g.warmUp += " to " + most
		}
		if restless > 0 {
			g.warmUp += fmt.Sprintf(" (%d of %d not steady)", restless, len(warm))
		}
	}
	return g
}

// lowestKnee is the highest rate of the slowest variant; 0: it is not known.
func (d *duet) lowestKnee() float64 {
	low := 0.0
	for _, k := range d.Knee {
		if k.Rate > 0 && (low == 0 || k.Rate < low) {
			low = k.Rate
		}
	}
	return low
}
