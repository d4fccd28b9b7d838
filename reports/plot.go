package reports

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// figureWidth is the width of every figure.
const figureWidth = 17 * vg.Centimeter

// bins counts a measure's latencies in bins of equal width on a logarithmic
// scale. Weights are numbers of requests.
func bins(m *measure, s span) plotter.XYs {
	first := math.Round(binIndex(s.low))
	n := int(math.Round(binIndex(s.high)) - first)
	b := make(plotter.XYs, n)
	for i := range b {
		b[i].X = binEdge(first + float64(i))
	}
	for _, v := range m.values {
		i := min(max(int(math.Floor(binIndex(v.ms)-first+1e-9)), 0), n-1)
		b[i].Y += float64(v.n)
	}
	return b
}

// outline returns the bars' tops as a polygon that begins and ends on zero.
func outline(b plotter.XYs, s span, factor float64) plotter.XYs {
	out := plotter.XYs{{X: s.low, Y: 0}}
	for i := range b {
		right := s.high
		if i+1 < len(b) {
			right = b[i+1].X
		}
		y := b[i].Y * factor
		out = append(out, plotter.XY{X: b[i].X, Y: y}, plotter.XY{X: right, Y: y})
	}
	return append(out, plotter.XY{X: s.high, Y: 0})
}

// cumulative returns the share of requests answered within each time as a
// line through at most 400 points, scaled so that all of them are top.
func cumulative(m *measure, s span, top float64) plotter.XYs {
	var total int64
	for _, v := range m.values {
		total += v.n
	}
	const most = 400
	out := plotter.XYs{{X: s.low, Y: 0}}
	var sum, drawn int64
	for i, v := range m.values {
		sum += v.n
		if i > 0 && i < len(m.values)-1 && (sum-drawn)*most < total {
			continue
		}
		out = append(out, plotter.XY{X: v.ms, Y: top * float64(drawn) / float64(total)},
			plotter.XY{X: v.ms, Y: top * float64(sum) / float64(total)})
		drawn = sum
	}
	return append(out, plotter.XY{X: s.high, Y: top})
}

func addLine(p *plot.Plot, xys plotter.XYs, line draw.LineStyle) error {
	l, err := plotter.NewLine(xys)
	if err != nil {
		return err
	}
	l.LineStyle = line
	p.Add(l)
	return nil
}

func addArea(p *plot.Plot, xys plotter.XYs, fill color.RGBA, alpha uint8) error {
	area, err := plotter.NewPolygon(xys)
	if err != nil {
		return err
	}
	area.Color = color.NRGBA{fill.R, fill.G, fill.B, alpha}
	area.LineStyle.Width = 0
	p.Add(area)
	return nil
}

// track is one mesh in a figure.
type track struct {
	mesh  string
	look  look
	later *measure
	first *measure
}

// tracks returns the meshes of a point that have latencies to draw.
func (s *section) tracks(p *point) []track {
	var ts []track
	for i, mesh := range s.Meshes {
		t := track{mesh: mesh, look: looks(i, mesh), later: p.later(mesh), first: p.first(mesh)}
		if t.later.OK() {
			ts = append(ts, t)
		}
	}
	return ts
}

// histogramFigure draws, per mesh, bars of the later attempts' latencies with
// their cumulative curve on a second scale.
func histogramFigure(title string, ts []track) (figure, error) {
	var laters []*measure
	for _, t := range ts {
		laters = append(laters, t.later)
	}
	s := spanOf(laters)
	f := figure{title: title, bottom: timeAxis, height: vg.Length(len(ts))*3.9*vg.Centimeter + 1.8*vg.Centimeter}
	for _, t := range ts {
		p := newPlot(s)
		p.Title.Text = label(t.mesh)
		p.Y.Label.Text = "requests"
		b := bins(t.later, s)
		top := 0.0
		for _, xy := range b {
			top = max(top, xy.Y)
		}
		p.Y.Min, p.Y.Max = 0, top*1.05
		if err := addArea(p, outline(b, s, 1), t.look.color, 0x8C); err != nil {
			return f, err
		}
		line := draw.LineStyle{Color: ink, Width: vg.Points(1.3)}
		if err := addLine(p, cumulative(t.later, s, p.Y.Max), line); err != nil {
			return f, err
		}
		p.Add(percentAxis{p.Y.Tick.Label})
		f.panels = append(f.panels, p)
	}
	f.legend = []legendEntry{{text: "cumulative share of requests (right scale)", line: draw.LineStyle{Color: ink, Width: vg.Points(1.3)}}}
	return f, nil
}

// overlayFigure draws the meshes over each other: histograms as areas,
// cumulative curves as lines on the second scale.
func overlayFigure(title string, ts []track) (figure, error) {
	var laters []*measure
	for _, t := range ts {
		laters = append(laters, t.later)
	}
	s := spanOf(laters)
	p := newPlot(s)
	p.Y.Label.Text = "share of requests per bin, %"
	f := figure{title: title, bottom: timeAxis, height: 7.5 * vg.Centimeter}
	top := 0.0
	areas := make([]plotter.XYs, len(ts))
	for i, t := range ts {
		areas[i] = outline(bins(t.later, s), s, 100/float64(t.later.Requests))
		for _, xy := range areas[i] {
			top = max(top, xy.Y)
		}
	}
	p.Y.Min, p.Y.Max = 0, top*1.05
	for i, t := range ts {
		if err := addArea(p, areas[i], t.look.color, 0x50); err != nil {
			return f, err
		}
	}
	for _, t := range ts {
		line := draw.LineStyle{Color: t.look.color, Width: vg.Points(1.8), Dashes: t.look.dashes}
		if err := addLine(p, cumulative(t.later, s, p.Y.Max), line); err != nil {
			return f, err
		}
		f.legend = append(f.legend, legendEntry{text: label(t.mesh), line: line})
	}
	p.Add(percentAxis{p.Y.Tick.Label})
	f.panels = []*plot.Plot{p}
	return f, nil
}

// attemptsFigure sets the first attempt's cumulative curve against that of
// the later ones, per mesh.
func attemptsFigure(title string, ts []track) (figure, error) {
	var all []*measure
	for _, t := range ts {
		all = append(all, t.later, t.first)
	}
	s := spanOf(all)
	firstLine := draw.LineStyle{Color: ink, Width: vg.Points(1.3), Dashes: []vg.Length{vg.Points(3), vg.Points(2)}}
	f := figure{title: title, bottom: timeAxis, height: vg.Length(len(ts))*3.4*vg.Centimeter + 1.8*vg.Centimeter}
	for _, t := range ts {
		p := newPlot(s)
		p.Title.Text = label(t.mesh)
		p.Y.Label.Text = "answered, %"
		p.Y.Min, p.Y.Max = 0, 100
		p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 50, Label: "50"}, {Value: 100, Label: "100"}}
		if err := addLine(p, cumulative(t.later, s, 100), draw.LineStyle{Color: t.look.color, Width: vg.Points(2)}); err != nil {
			return f, err
		}
		if t.first.OK() {
			if err := addLine(p, cumulative(t.first, s, 100), firstLine); err != nil {
				return f, err
			}
		}
		f.panels = append(f.panels, p)
	}
	f.legend = []legendEntry{
		{text: "first attempt", line: firstLine},
		{text: "later attempts (solid, in the mesh's colour)", line: draw.LineStyle{Color: ts[0].look.color, Width: vg.Points(2)}},
	}
	return f, nil
}

// ratioFigure draws the p50 ratios of every point with their spread over the
// attempts, on a logarithmic scale.
func (s *section) ratioFigure() (figure, error) {
	series := []struct {
		a, b  string
		text  string
		look  look
		shape draw.GlyphDrawer
		shift float64
	}{
		{connect, ovs, "Consul Connect ÷ mesh in the switches", looks(0, connect), draw.CircleGlyph{}, 0.12},
		{ovs, direct, "mesh in the switches ÷ plain switching", looks(0, ovs), draw.BoxGlyph{}, -0.12},
	}
	p := plot.New()
	p.BackgroundColor = nil // the figure has one
	style(p)
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = ratioTicks{}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = rule, rule
	p.Add(grid)

	f := figure{title: "Ratios of p50", bottom: "ratio of the median response times (p50), logarithmic scale; lines span the attempts", height: vg.Length(len(s.Points))*0.62*vg.Centimeter + 2.6*vg.Centimeter}
	low, high := 0.8, 1.25
	for _, set := range series {
		var xys plotter.XYs
		for i, pt := range s.Points {
			r := pt.ratio(set.a, set.b)
			if !r.OK {
				continue
			}
			low, high = min(low, r.Low/1.05), max(high, r.High*1.05)
			y := float64(len(s.Points)-1-i) + set.shift
			xys = append(xys, plotter.XY{X: r.Value, Y: y})
			if err := addLine(p, plotter.XYs{{X: r.Low, Y: y}, {X: r.High, Y: y}}, draw.LineStyle{Color: set.look.color, Width: vg.Points(1.3)}); err != nil {
				return f, err
			}
		}
		glyph := draw.GlyphStyle{Color: set.look.color, Radius: vg.Points(3.5), Shape: set.shape}
		f.legend = append(f.legend, legendEntry{text: set.text, glyph: &glyph})
		if len(xys) == 0 {
			continue
		}
		dots, err := plotter.NewScatter(xys)
		if err != nil {
			return f, err
		}
		dots.GlyphStyle = glyph
		p.Add(dots)
	}
	var names plot.ConstantTicks
	for i, pt := range s.Points {
		names = append(names, plot.Tick{Value: float64(len(s.Points) - 1 - i), Label: fmt.Sprintf("%s %s × %d", pt.Request, pt.Pods, pt.Connections)})
	}
	p.Y.Tick.Marker = names
	p.X.Min, p.X.Max = low, high
	p.Y.Min, p.Y.Max = -0.6, float64(len(s.Points))-0.4
	one := draw.LineStyle{Color: ink, Width: vg.Points(1)}
	if err := addLine(p, plotter.XYs{{X: 1, Y: p.Y.Min}, {X: 1, Y: p.Y.Max}}, one); err != nil {
		return f, err
	}
	f.panels = []*plot.Plot{p}
	return f, nil
}
