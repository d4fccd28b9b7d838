package figures

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Climb is one mesh's search for the highest rate that keeps an objective.
type Climb struct {
	Name    string
	Look    Look
	Steps   []Step
	Highest float64 // rate that kept it; 0: none did
}

// Step is one rate that was tried.
type Step struct {
	Rate    float64 // requests per second
	Latency float64 // milliseconds, at the objective's percentile; 0: nothing was answered
	Kept    bool
}

// Objective is a bound on a latency.
type Objective struct {
	Percentile float64
	Below      float64 // milliseconds
}

func (c Climb) String() string {
	if c.Highest == 0 {
		return clean(c.Name) + ": no rate kept the objective"
	}
	return fmt.Sprintf("%s: kept up to %s requests/s", clean(c.Name), short(c.Highest))
}

// Ramp draws latencies by rate with the objective, a line per climb. Rates
// that kept the objective are filled marks, others hollow ones, and rates at
// which nothing was answered hollow ones at the upper edge.
func Ramp(title string, o Objective, climbs []Climb) (*Figure, error) {
	p := newPlot()
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = logTicks{}
	p.X.Tick.Marker = wideTicks{}
	p.Y.Label.Text = fmt.Sprintf("p%g, ms", o.Percentile)
	if !(o.Below > 0) || math.IsInf(o.Below, 0) {
		return nil, fmt.Errorf("draw %q: objective of %v ms", title, o.Below)
	}
	f := &Figure{Title: title, bottom: "offered rate, requests per second", right: 0.7 * vg.Centimeter}
	low, high, rates := o.Below, o.Below, []float64{}
	for _, c := range climbs {
		for _, s := range c.Steps {
			if !(s.Rate > 0) || math.IsInf(s.Rate, 0) || !(s.Latency >= 0) || math.IsInf(s.Latency, 0) {
				return nil, fmt.Errorf("draw %q: step of %s at %v requests/s with %v ms", title, c.Name, s.Rate, s.Latency)
			}
			rates = append(rates, s.Rate)
			if s.Latency > 0 {
				low, high = min(low, s.Latency), max(high, s.Latency)
			}
		}
	}
	if len(rates) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	p.Y.Min, p.Y.Max = low/1.3, high*1.5
	p.X.Min, p.X.Max = 0, slices.Max(rates)*1.03

	bound := draw.LineStyle{Color: ink, Width: vg.Points(1.2), Dashes: []vg.Length{vg.Points(5), vg.Points(2)}}
	if err := addLine(p, plotter.XYs{{X: 0, Y: o.Below}, {X: p.X.Max, Y: o.Below}}, bound); err != nil {
		return nil, fmt.Errorf("draw %q: %w", title, err)
	}
	for _, c := range climbs {
		if len(c.Steps) == 0 {
			continue
		}
		if err := addClimb(p, c); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		line, m := c.Look.line(1.2), c.Look.mark(3)
		f.legend = append(f.legend, legendEntry{text: c.String(), line: &line, mark: &m})
	}
	missed := mark{shape: disc, radius: vg.Points(3), color: ink, hollow: true}
	f.legend = append(f.legend,
		legendEntry{text: fmt.Sprintf("objective: p%g below %s ms", o.Percentile, short(o.Below)), line: &bound},
		legendEntry{text: "hollow: not kept", mark: &missed})
	f.panels = []panel{{plot: p, height: 6.5 * vg.Centimeter}}
	f.Description = describe(fmt.Sprintf("%s: p%g by rate; the objective is %s ms.", title, o.Percentile, short(o.Below)), climbs)
	return f, nil
}

func addClimb(p *plot.Plot, c Climb) error {
	steps := slices.Clone(c.Steps)
	slices.SortStableFunc(steps, func(a, b Step) int {
		switch {
		case a.Rate < b.Rate:
			return -1
		case a.Rate > b.Rate:
			return 1
		}
		return 0
	})
	var line, kept, missed plotter.XYs
	for _, s := range steps {
		xy := plotter.XY{X: s.Rate, Y: s.Latency}
		if s.Latency == 0 {
			xy.Y = p.Y.Max
		} else {
			line = append(line, xy)
		}
		if s.Kept {
			kept = append(kept, xy)
		} else {
			missed = append(missed, xy)
		}
	}
	if len(line) > 1 {
		if err := addLine(p, line, c.Look.line(1.2)); err != nil {
			return err
		}
	}
	p.Add(dots(kept, c.Look.mark(3)), dots(missed, c.Look.mark(3).hollowed()))
	return nil
}
