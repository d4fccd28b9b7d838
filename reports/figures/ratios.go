package figures

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Ratio is a quotient with a range. The zero Ratio stands for none.
type Ratio struct{ Value, Low, High float64 }

func (r Ratio) check() error {
	for _, v := range []float64{r.Value, r.Low, r.High} {
		if !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("ratio %v (%v to %v) is not positive and finite", r.Value, r.Low, r.High)
		}
	}
	return nil
}

// RatioSet is one kind of ratio over all rows.
type RatioSet struct {
	Name   string
	Look   Look
	Ratios []Ratio // by row
}

// farthest is how far from 1 an axis of ratios reaches; what lies beyond is
// drawn at its edge, as an arrow.
const farthest = 100.0

// ratioRange holds the ends of an axis of ratios.
type ratioRange struct{ low, high float64 }

func (r *ratioRange) cover(low, high float64) {
	r.low = max(min(r.low, low/1.05), 1/farthest)
	r.high = min(max(r.high, high*1.05), farthest)
}

// whisker draws a range as a line, with an arrow where it leaves the axis, and
// its value as a mark.
func whisker(c draw.Canvas, p *plot.Plot, r Ratio, y float64, line draw.LineStyle, m mark) {
	clip := func(v float64) float64 { return min(max(v, p.X.Min), p.X.Max) }
	from, to := at(c, p, clip(r.Low), y), at(c, p, clip(r.High), y)
	c.StrokeLine2(line, from.X, from.Y, to.X, to.Y)
	for _, end := range []struct {
		out  bool
		at   vg.Point
		into vg.Length
	}{{r.Low < p.X.Min, from, 4}, {r.High > p.X.Max, to, -4}} {
		if end.out {
			c.StrokeLine2(line, end.at.X, end.at.Y, end.at.X+end.into, end.at.Y+3)
			c.StrokeLine2(line, end.at.X, end.at.Y, end.at.X+end.into, end.at.Y-3)
		} else {
			c.StrokeLine2(line, end.at.X, end.at.Y-2.5, end.at.X, end.at.Y+2.5)
		}
	}
	m.draw(c, at(c, p, clip(r.Value), y))
}

// lineAtOne marks where both sides are equal.
func lineAtOne(c draw.Canvas, p *plot.Plot) {
	x := at(c, p, 1, 0).X
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: vg.Points(1)}, x, c.Min.Y, x, c.Max.Y)
}

// Ratios draws the ratios of every row with their ranges, on a logarithmic
// scale. A ratio that is not positive and finite is an error, unless it is
// zero altogether.
func Ratios(title string, rows []string, sets []RatioSet) (*Figure, error) {
	p := newRows(len(rows))
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = ratioTicks{}
	f := &Figure{Title: title, bottom: "ratio of the median response times (p50), logarithmic scale; lines span the attempts"}
	p.Add(paint(lineAtOne))

	axis := ratioRange{0.8, 1.25}
	var said []stringer
	for k, set := range sets {
		if len(set.Ratios) > len(rows) {
			return nil, fmt.Errorf("draw %q: %d ratios of %s for %d rows", title, len(set.Ratios), set.Name, len(rows))
		}
		shift := 0.14 * (float64(len(sets)-1)/2 - float64(k)) * 2
		m := set.Look.mark(3.2)
		drawn := false
		for i, r := range set.Ratios {
			if r == (Ratio{}) {
				continue
			}
			if err := r.check(); err != nil {
				return nil, fmt.Errorf("draw %q: %s at %s: %w", title, set.Name, rows[i], err)
			}
			drawn = true
			axis.cover(r.Low, r.High)
			said = append(said, stringer(fmt.Sprintf("%s, %s: %.3g (%.3g to %.3g)", clean(rows[i]), clean(set.Name), r.Value, r.Low, r.High)))
			y := float64(len(rows)-1-i) + shift
			p.Add(paint(func(c draw.Canvas, p *plot.Plot) { whisker(c, p, r, y, set.Look.solid(1.3), m) }))
		}
		if drawn {
			f.legend = append(f.legend, legendEntry{text: set.Name, mark: &m})
		}
	}
	if len(said) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	p.X.Min, p.X.Max = axis.low, axis.high
	var labels []rowLabel
	for i, name := range rows {
		labels = append(labels, rowLabel{y: float64(len(rows) - 1 - i), text: name})
	}
	f.panels = []panel{rowPanel(p, len(rows), labels)}
	f.Description = describe(title+": ratios with their ranges, row by row.", said)
	return f, nil
}

// stringer is a sentence of a description.
type stringer string

// String returns the sentence.
func (s stringer) String() string { return string(s) }
