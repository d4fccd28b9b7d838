package figures

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// TrialSeries is one variant's latencies, trial by trial, in milliseconds. 0
// stands for a trial without a value.
type TrialSeries struct {
	Name     string
	Look     Look
	P50, P99 []float64
}

// TrialFlag says that something disturbed a trial.
type TrialFlag struct {
	Trial int // from 0
	Kind  string
}

// OverTime draws the trials in their order: a panel of p50, one of p99, and
// under them a line for each kind of flag.
func OverTime(title string, s []TrialSeries, flags []TrialFlag) (*Figure, error) {
	trials := 0
	for _, one := range s {
		trials = max(trials, len(one.P50), len(one.P99))
		for _, v := range slices.Concat(one.P50, one.P99) {
			if !(v >= 0) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("draw %q: latency %v of %s", title, v, one.Name)
			}
		}
	}
	for _, fl := range flags {
		if fl.Trial < 0 || fl.Trial >= trials {
			return nil, fmt.Errorf("draw %q: flag %s of trial %d among %d", title, fl.Kind, fl.Trial, trials)
		}
	}
	f := &Figure{Title: title, bottom: "trial", right: 0.5 * vg.Centimeter}
	for _, m := range []struct {
		name string
		of   func(TrialSeries) []float64
	}{
		{"p50", func(t TrialSeries) []float64 { return t.P50 }},
		{"p99", func(t TrialSeries) []float64 { return t.P99 }},
	} {
		p, err := trialPlot(s, m.of, trials)
		if err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		if p == nil {
			continue
		}
		p.Y.Label.Text = m.name + ", ms"
		f.panels = append(f.panels, panel{plot: p, height: 4.3 * vg.Centimeter})
	}
	if len(f.panels) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	for _, one := range s {
		line, m := one.Look.line(1.2), one.Look.mark(2.6)
		f.legend = append(f.legend, legendEntry{text: one.Name, line: &line, mark: &m})
	}
	if len(flags) > 0 {
		f.panels = append(f.panels, flagPanel(flags, trials))
	}
	f.Description = describe(fmt.Sprintf("%s: p50 and p99 of %d trials in their order, %d flags.", title, trials, len(flags)), s)
	return f, nil
}

// String tells a series in a sentence.
func (t TrialSeries) String() string {
	return fmt.Sprintf("%s: p50 %s, p99 %s", clean(t.Name), fromTo(t.P50), fromTo(t.P99))
}

func fromTo(ms []float64) string {
	low, high := math.Inf(1), 0.0
	for _, v := range ms {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if high == 0 {
		return "without a value"
	}
	return fmt.Sprintf("from %.3g to %.3g ms", low, high)
}

// trialPlot returns a panel of one metric, or nil when it has no value.
func trialPlot(s []TrialSeries, of func(TrialSeries) []float64, trials int) (*plot.Plot, error) {
	p := newPlot()
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = logTicks{}
	p.X.Tick.Marker = wholeTicks{}
	p.X.Min, p.X.Max = 0.5, float64(trials)+0.5
	low, high := math.Inf(1), 0.0
	radius := min(2.6, max(1.1, 100/float64(trials)))
	for _, one := range s {
		var run, all plotter.XYs
		end := func() error { // of a run of trials that have values
			defer func() { run = nil }()
			if len(run) < 2 {
				return nil
			}
			return addLine(p, run, one.Look.line(1))
		}
		for i, v := range of(one) {
			if v == 0 {
				if err := end(); err != nil {
					return nil, err
				}
				continue
			}
			low, high = min(low, v), max(high, v)
			xy := plotter.XY{X: float64(i + 1), Y: v}
			run, all = append(run, xy), append(all, xy)
		}
		if err := end(); err != nil {
			return nil, err
		}
		p.Add(dots(all, one.Look.mark(radius)))
	}
	if high == 0 {
		return nil, nil //nolint:nilnil // no plot of no values
	}
	p.Y.Min, p.Y.Max = low/1.08, high*1.08
	return p, nil
}

// flagPanel has a line for each kind of flag, in the order of their names.
func flagPanel(flags []TrialFlag, trials int) panel {
	var kinds []string
	for _, fl := range flags {
		if k := clean(fl.Kind); !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	p := newPlot()
	p.X.Min, p.X.Max = 0.5, float64(trials)+0.5
	p.X.Tick.Marker = wholeTicks{}
	p.Y.Min, p.Y.Max = -0.5, float64(len(kinds))-0.5
	p.Y.Label.Text = "flags"
	var names plot.ConstantTicks
	for i, k := range kinds {
		names = append(names, plot.Tick{Value: float64(len(kinds) - 1 - i), Label: fit(textStyle(9), k, 3*vg.Centimeter)})
	}
	p.Y.Tick.Marker = names
	var xys plotter.XYs
	for _, fl := range flags {
		i := slices.Index(kinds, clean(fl.Kind))
		xys = append(xys, plotter.XY{X: float64(fl.Trial + 1), Y: float64(len(kinds) - 1 - i)})
	}
	p.Add(dots(xys, mark{shape: kite, radius: vg.Points(3), color: ink}))
	return panel{plot: p, height: vg.Length(len(kinds))*13 + 24}
}
