package figures

import (
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Scale is the kind of an axis.
type Scale int

// The scales.
const (
	Linear Scale = iota
	Log
)

// Spectrum draws latencies by percentile: the x axis is -log10(1 - p), as in
// the plots of HdrHistogram, so each nine of the tail has the same room. It
// ends where a single request of the largest series is left.
func Spectrum(title string, s []Series, y Scale) (*Figure, error) {
	ts, err := tracks(title, s)
	if err != nil {
		return nil, err
	}
	var most int64
	for _, t := range ts {
		most = max(most, t.total)
	}
	p := newPlot()
	p.X.Min, p.X.Max = 0, max(1, math.Log10(float64(most)))
	p.X.Tick.Marker = percentTicks{}
	all := spanOf(ts)
	p.Y.Label.Text = "response time, ms"
	if y == Log {
		p.Y.Scale = plot.LogScale{}
		p.Y.Tick.Marker = logTicks{}
		p.Y.Min, p.Y.Max = all.low, all.high
	} else {
		p.Y.Min, p.Y.Max = 0, all.high
	}
	f := &Figure{
		Title: title, bottom: "percentile of requests", right: 0.5 * vg.Centimeter,
		Description: describe(title+": response time by percentile.", ts),
	}
	for _, t := range ts {
		line := t.look.line(1.8)
		if err := addLine(p, spectrum(t, p.X.Max, all), line); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		f.legend = append(f.legend, legendEntry{text: t.name, line: &line})
	}
	f.panels = []panel{{plot: p, height: 6.5 * vg.Centimeter}}
	return f, nil
}

// spectrum returns a track's staircase of percentiles, without steps that are
// too small to be seen.
func spectrum(t track, right float64, s span) plotter.XYs {
	const steps = 400
	tall := math.Log(s.high / s.low)
	out := plotter.XYs{{X: 0, Y: t.values[0].ms}}
	var sum int64
	for i, v := range t.values {
		sum += v.n
		x := right
		switch {
		case sum < t.total:
			x = min(right, -math.Log10(1-float64(sum)/float64(t.total)))
		case t.total > 1: // a single request is all percentiles
			x = min(right, math.Log10(float64(t.total)))
		}
		last := out[len(out)-1]
		if i < len(t.values)-1 && (x-last.X)*steps < right && math.Log(v.ms/last.Y)*steps < tall {
			continue
		}
		out = append(out, plotter.XY{X: last.X, Y: v.ms}, plotter.XY{X: max(x, last.X), Y: v.ms})
	}
	return out
}

// percentTicks marks 0, 50, 90, 99, 99.9, ... at -log10(1 - p).
type percentTicks struct{}

// Ticks returns the marks.
func (percentTicks) Ticks(_, high float64) []plot.Tick {
	ticks := []plot.Tick{{Value: 0, Label: "0"}, {Value: math.Log10(2), Label: "50 %"}, {Value: math.Log10(4)}, {Value: math.Log10(20)}}
	for nines := 1; float64(nines) <= high+1e-9; nines++ {
		label := strconv.FormatFloat(100-math.Pow10(2-nines), 'f', max(0, nines-2), 64) + " %"
		ticks = append(ticks, plot.Tick{Value: float64(nines), Label: label})
		if half := float64(nines) + math.Log10(2); nines > 1 && half <= high {
			ticks = append(ticks, plot.Tick{Value: half})
		}
	}
	return ticks
}
