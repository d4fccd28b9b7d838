package figures

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// FaultBand is something that was broken in a trial, in seconds since the
// trial's start.
type FaultBand struct {
	What         string  // "payments was killed"
	Began, Ended float64 // as a rule
	First, Last  float64 // the earliest beginning and the latest end
}

func (b FaultBand) check() error {
	for _, v := range []float64{b.Began, b.Ended, b.First, b.Last} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("fault %+v has a time below 0, or none", b)
		}
	}
	if b.Began > b.Ended || b.First > b.Began+instant || b.Last < b.Ended-instant {
		return fmt.Errorf("fault %+v: want its times in their order", b)
	}
	return nil
}

// String is what stands at a fault's bar.
func (b FaultBand) String() string { return clean(b.What) + b.times() }

func (b FaultBand) times() string { return fmt.Sprintf(", %.1f–%.1f s", b.Began, b.Ended) }

// within is String, with less of what it was when it is wider than that.
func (b FaultBand) within(width vg.Length) string {
	sty := textStyle(9)
	return fit(sty, fit(sty, clean(b.What), max(0, width-sty.Width(b.times())))+b.times(), width)
}

// faultLine is the height of a fault's line.
const faultLine = vg.Length(14)

// faultLines returns a plot with a line for each fault: a bar from its
// beginning to its end, with what it was.
func faultLines(faults []FaultBand) *plot.Plot {
	p := newPlot()
	p.HideY()
	p.X.Tick.Marker = plot.ConstantTicks(nil)
	p.X.LineStyle.Width = 0
	p.Y.Min, p.Y.Max = -0.5, float64(len(faults))-0.5
	for i, b := range faults {
		y := float64(len(faults) - 1 - i)
		p.Add(paint(func(c draw.Canvas, p *plot.Plot) { b.bar(c, p, y) }))
	}
	return p
}

// ends returns where a stretch of time lies on the canvas; ok is false when
// none of it does.
func ends(c draw.Canvas, p *plot.Plot, from, to float64) (left, right vg.Length, ok bool) {
	if from > p.X.Max {
		return 0, 0, false
	}
	return at(c, p, from, p.Y.Min).X, at(c, p, min(to, p.X.Max), p.Y.Min).X, true
}

// shade is the band behind a panel: light, and with edges, which alone would
// tell it in print.
func (b FaultBand) shade(c draw.Canvas, p *plot.Plot) {
	left, right, ok := ends(c, p, b.Began, b.Ended)
	if !ok {
		return
	}
	c.SetColor(color.NRGBA{rule.R, rule.G, rule.B, 0x99})
	c.Fill(vg.Rectangle{Min: vg.Point{X: left, Y: c.Min.Y}, Max: vg.Point{X: right, Y: c.Max.Y}}.Path())
	edges := draw.LineStyle{Color: ink, Width: vg.Points(0.5), Dashes: []vg.Length{vg.Points(1), vg.Points(2.5)}}
	c.StrokeLine2(edges, left, c.Min.Y, left, c.Max.Y)
	if b.Ended <= p.X.Max {
		c.StrokeLine2(edges, right, c.Min.Y, right, c.Max.Y)
	}
}

// bar draws the fault's line at y, a whisker to its extremes, and what it was:
// in the bar, right or left of it, where there is the most room.
func (b FaultBand) bar(c draw.Canvas, p *plot.Plot, y float64) {
	sty := textStyle(9)
	middle := at(c, p, 0, y).Y
	base := middle + 0.8 // letters hang below their middle
	left, right, ok := ends(c, p, b.Began, b.Ended)
	first, last, _ := ends(c, p, b.First, b.Last)
	if !ok { // it began when nothing was to be sent any more
		const arrow = " →"
		label := b.within(c.Max.X-c.Min.X-sty.Width(arrow)) + arrow
		c.FillText(sty, vg.Point{X: c.Max.X - sty.Width(label), Y: base}, label)
		return
	}
	right = max(right, left+1.5) // to be seen
	edge := draw.LineStyle{Color: ink, Width: vg.Points(0.6)}
	area := vg.Rectangle{Min: vg.Point{X: left, Y: middle - faultLine*0.38}, Max: vg.Point{X: right, Y: middle + faultLine*0.38}}
	c.SetColor(rule)
	c.Fill(area.Path())
	c.SetLineStyle(edge)
	c.Stroke(area.Path())
	for _, w := range [][2]vg.Length{{first, left}, {right, last}} {
		if w[1]-w[0] > 1 {
			c.StrokeLine2(edge, w[0], middle, w[1], middle)
		}
	}
	const gap = vg.Length(4)
	width := sty.Width(b.String())
	inside, after, before := right-left-2*gap, c.Max.X-max(right, last)-gap, min(left, first)-gap-c.Min.X
	switch {
	case width <= inside, inside >= max(after, before):
		c.FillText(sty, vg.Point{X: left + gap, Y: base}, b.within(inside))
	case width <= after, after >= before:
		c.FillText(sty, vg.Point{X: max(right, last) + gap, Y: base}, b.within(after))
	default:
		label := b.within(before)
		c.FillText(sty, vg.Point{X: min(left, first) - gap - sty.Width(label), Y: base}, label)
	}
}
