package figures

import (
	"fmt"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Axes names what a figure of Against sets against each other.
type Axes struct{ X, Y string }

// AgainstSet is a kind of points.
type AgainstSet struct {
	Name   string
	Look   Look
	Hollow bool // tells two kinds of one look apart
	Points []AgainstPoint
}

// AgainstPoint is a ratio here and there. Low and High of either may be zero:
// it has no interval.
type AgainstPoint struct {
	Label string // beside the mark, short; left out where there is no room
	X, Y  Ratio
}

// The measures of a figure of Against: the area is as high as it is wide.
const (
	againstRight = vg.Length(182) // for the legend; and so two figures stand on a page of a PDF
	againstArea  = figureWidth - 2*edge - againstRight - nameWidth - 24
)

// Against draws ratios of one environment against those of another, both on
// logarithmic scales of one range, with a line where they are equal. The axis
// covers all ratios; intervals that are longer end at its edge. A ratio that is
// not positive and finite is an error.
func Against(title string, axes Axes, sets []AgainstSet) (*Figure, error) {
	p := newPlot()
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = squareTicks{}, squareTicks{}
	p.Y.Label.Text = fit(textStyle(9), clean(axes.Y), againstArea)
	f := &Figure{Title: title, bottom: fit(textStyle(9), clean(axes.X), figureWidth-4*edge), right: againstRight}

	axis := ratioRange{0.9, 1.11}
	var said []stringer
	var drawn []AgainstSet
	for _, set := range sets {
		for _, at := range set.Points {
			for _, r := range []Ratio{at.X, at.Y} {
				if err := r.spanned().check(); err != nil {
					return nil, fmt.Errorf("draw %q: %s: %w", title, set.Name, err)
				}
				axis.cover(r.Value/1.1, r.Value*1.1)
			}
			said = append(said, stringer(fmt.Sprintf("%s, %s: %.3g and %.3g", clean(set.Name), clean(at.Label), at.X.Value, at.Y.Value)))
		}
		if len(set.Points) > 0 {
			drawn = append(drawn, set)
		}
	}
	if len(said) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = axis.low, axis.high, axis.low, axis.high
	p.Add(paint(func(c draw.Canvas, p *plot.Plot) {
		equal(c, p)
		for _, set := range drawn {
			for _, point := range set.Points {
				crossed(c, p, point, set.Look.solid(0.6))
			}
		}
		marks(c, p, drawn)
		againstLegend(c, drawn)
	}))
	f.panels = []panel{{plot: p, height: againstArea + 24}}
	f.Description = describe(title+": ratios in two environments, "+axes.X+" first, then "+axes.Y+".", said)
	return f, nil
}

// squareTicks labels ratios on long axes, where there is room for more.
type squareTicks struct{}

// Ticks returns the marks.
func (squareTicks) Ticks(low, high float64) []plot.Tick {
	if high/low < 3 || high/low > 60 {
		return ratioTicks{}.Ticks(low, high)
	}
	var ticks []plot.Tick
	for _, v := range []float64{0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100} {
		if v >= low && v <= high {
			ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	return ticks
}

// spanned is the ratio with an interval, of no width if it has none.
func (r Ratio) spanned() Ratio {
	if r.Low == 0 && r.High == 0 {
		r.Low, r.High = r.Value, r.Value
	}
	return r
}

// equal draws the line of equal ratios, and where neither side is ahead.
func equal(c draw.Canvas, p *plot.Plot) {
	one := at(c, p, 1, 1)
	thin := draw.LineStyle{Color: ink, Width: vg.Points(0.6), Dashes: []vg.Length{2, 3}}
	c.StrokeLine2(thin, one.X, c.Min.Y, one.X, c.Max.Y)
	c.StrokeLine2(thin, c.Min.X, one.Y, c.Max.X, one.Y)
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: vg.Points(1)}, c.Min.X, c.Min.Y, c.Max.X, c.Max.Y)
}

// crossed draws the intervals of a point.
func crossed(c draw.Canvas, p *plot.Plot, point AgainstPoint, line draw.LineStyle) {
	clip := func(v float64) float64 { return min(max(v, p.X.Min), p.X.Max) }
	x, y := point.X.spanned(), point.Y.spanned()
	from, to := at(c, p, clip(x.Low), clip(y.Low)), at(c, p, clip(x.High), clip(y.High))
	middle := at(c, p, clip(x.Value), clip(y.Value))
	c.StrokeLine2(line, from.X, middle.Y, to.X, middle.Y)
	c.StrokeLine2(line, middle.X, from.Y, middle.X, to.Y)
}

// marks draws the points, and the labels that have room beside them.
func marks(c draw.Canvas, p *plot.Plot, sets []AgainstSet) {
	clip := func(v float64) float64 { return min(max(v, p.X.Min), p.X.Max) }
	const radius = 4
	var taken []vg.Rectangle
	each := func(do func(AgainstSet, AgainstPoint, vg.Point)) {
		for _, set := range sets {
			for _, point := range set.Points {
				do(set, point, at(c, p, clip(point.X.Value), clip(point.Y.Value)))
			}
		}
	}
	each(func(set AgainstSet, _ AgainstPoint, at vg.Point) {
		set.mark().draw(c, at)
		taken = append(taken, vg.Rectangle{Min: vg.Point{X: at.X - radius, Y: at.Y - radius}, Max: vg.Point{X: at.X + radius, Y: at.Y + radius}})
	})
	sty := textStyle(7.5)
	each(func(_ AgainstSet, point AgainstPoint, at vg.Point) {
		text := clean(point.Label)
		w, h := sty.Width(text), vg.Length(8)
		for _, corner := range []vg.Point{
			{X: at.X + radius + 2, Y: at.Y - h/2}, {X: at.X - radius - 2 - w, Y: at.Y - h/2},
			{X: at.X - w/2, Y: at.Y + radius + 1}, {X: at.X - w/2, Y: at.Y - radius - 1 - h},
		} {
			room := vg.Rectangle{Min: corner, Max: vg.Point{X: corner.X + w, Y: corner.Y + h}}
			if room.Min.X < c.Min.X || room.Max.X > c.Max.X || room.Min.Y < c.Min.Y || room.Max.Y > c.Max.Y || overlaps(taken, room) {
				continue
			}
			taken = append(taken, room)
			c.SetColor(paper)
			c.Fill(room.Path())
			c.FillText(sty, vg.Point{X: corner.X, Y: corner.Y + h/2}, text)
			return
		}
	})
}

func overlaps(taken []vg.Rectangle, r vg.Rectangle) bool {
	for _, t := range taken {
		if r.Min.X < t.Max.X && t.Min.X < r.Max.X && r.Min.Y < t.Max.Y && t.Min.Y < r.Max.Y {
			return true
		}
	}
	return false
}

func (s AgainstSet) mark() mark {
	m := s.Look.mark(4)
	if s.Hollow {
		return m.hollowed()
	}
	return m
}

// againstLegend lists the kinds of points at the right of the area.
func againstLegend(c draw.Canvas, sets []AgainstSet) {
	line := draw.LineStyle{Color: ink, Width: vg.Points(1)}
	entries := []legendEntry{{text: "equal in both", line: &line}}
	for _, set := range sets {
		m := set.mark()
		entries = append(entries, legendEntry{text: set.Name, mark: &m})
	}
	const left = vg.Length(8)
	y := c.Max.Y - legendLine/2
	for _, e := range entries {
		if y < c.Min.Y {
			return
		}
		e.text = fit(textStyle(9), clean(e.text), againstRight-left-signWidth-signGap)
		drawLegend(c, c.Max.X+left, y, []legendEntry{e})
		y -= legendLine
	}
}
