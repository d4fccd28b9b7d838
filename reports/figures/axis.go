package figures

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// logTicks marks 1, 2 and 5 of each decade, without exponents, and the other
// integers by a mark alone. A range too narrow for that gets round values at
// equal distances.
type logTicks struct{}

// Ticks returns the marks.
func (logTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	labels := 0
	wide := high/low >= 1000 // then 1 alone carries a label: there are three of it at least
	for exp := math.Floor(math.Log10(low)); exp <= math.Ceil(math.Log10(high)); exp++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, exp)
			if v < low*0.9999 || v > high*1.0001 {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || !wide && (m == 2 || m == 5) {
				t.Label = strconv.FormatFloat(v, 'f', max(0, -int(exp)), 64)
				labels++
			}
			ticks = append(ticks, t)
		}
	}
	if labels < 3 {
		return roundTicks(low, high, 6)
	}
	return ticks
}

// roundTicks marks round values at equal distances, n distances at most.
func roundTicks(low, high float64, n int) []plot.Tick {
	if !(high > low) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*factor) <= float64(n) {
			step *= factor
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var ticks []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high*(1+1e-12); i++ {
		v := i*step + 0 // not -0
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', decimals, 64)})
	}
	return ticks
}

// evenTicks marks three to six round values.
type evenTicks struct{}

// Ticks returns the marks.
func (evenTicks) Ticks(low, high float64) []plot.Tick { return roundTicks(low, high, 6) }

// wideTicks marks more of them, for a long axis, if they are short.
type wideTicks struct{}

// Ticks returns the marks.
func (wideTicks) Ticks(low, high float64) []plot.Tick {
	ticks := roundTicks(low, high, 10)
	if n := len(ticks); n > 0 && len(ticks[n-1].Label) > 3 {
		return roundTicks(low, high, 7)
	}
	return ticks
}

// wholeTicks marks whole numbers: of requests from 0, of trials from 1.
type wholeTicks struct{}

// Ticks returns the marks.
func (wholeTicks) Ticks(low, high float64) []plot.Tick {
	n := 6
	if low > 0 {
		n = 12
	}
	var ticks []plot.Tick
	if low > 0 {
		ticks = append(ticks, plot.Tick{Value: 1, Label: "1"})
	}
	for _, t := range roundTicks(low, high, n) {
		if t.Value == math.Trunc(t.Value) && (low <= 0 || t.Value > 1) {
			ticks = append(ticks, plot.Tick{Value: t.Value, Label: strconv.FormatFloat(t.Value, 'f', 0, 64)})
		}
	}
	return ticks
}

// ratioTicks marks round ratios, and labels as many as there is room for.
type ratioTicks struct{}

// Ticks returns the marks.
func (ratioTicks) Ticks(low, high float64) []plot.Tick {
	if high/low < 1.8 {
		return roundTicks(low, high, 7)
	}
	var every, labelled []float64
	switch {
	case high/low < 5:
		every = []float64{0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 40, 50, 70, 100}
		labelled = []float64{0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 70, 100}
	case high/low < 40:
		every = []float64{0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100}
		labelled = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}
	default:
		every = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}
		labelled = []float64{0.01, 0.1, 1, 10, 100}
	}
	var ticks []plot.Tick
	for _, v := range every {
		if v < low || v > high {
			continue
		}
		t := plot.Tick{Value: v}
		if slices.Contains(labelled, v) {
			t.Label = strconv.FormatFloat(v, 'f', -1, 64)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// timeAxis names the x axis of the figures of latencies.
const timeAxis = "response time, milliseconds (logarithmic scale)"

// newPlot returns an empty plot in the figures' style.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil // the figure has one
	for _, t := range []*draw.TextStyle{
		&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label,
	} {
		t.Font = textStyle(9).Font
		t.Color = ink
	}
	p.Title.TextStyle.Font.Size = vg.Points(10.5)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.LineStyle.Color, a.Tick.LineStyle.Color = ink, ink
		a.Padding = 0
	}
	p.Y.Tick.Marker = evenTicks{}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = rule, rule
	grid.Vertical.Dashes, grid.Horizontal.Dashes = nil, nil
	p.Add(grid)
	return p
}

// newTimePlot returns an empty plot with latencies along the x axis.
func newTimePlot(s span) *plot.Plot {
	p := newPlot()
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = logTicks{}
	p.X.Min, p.X.Max = s.low, s.high
	return p
}

// paint is a plot.Plotter of a function.
type paint func(c draw.Canvas, p *plot.Plot)

// Plot calls the function.
func (f paint) Plot(c draw.Canvas, p *plot.Plot) { f(c, p) }

// at returns where a value lies on the canvas.
func at(c draw.Canvas, p *plot.Plot, x, y float64) vg.Point {
	tx, ty := p.Transforms(&c)
	return vg.Point{X: tx(x), Y: ty(y)}
}

// dots draws marks at points.
func dots(xys plotter.XYs, m mark) paint {
	return func(c draw.Canvas, p *plot.Plot) {
		for _, xy := range xys {
			m.draw(c, at(c, p, xy.X, xy.Y))
		}
	}
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

// percentAxis draws a second scale, from 0 to 100 %, at the right edge.
type percentAxis struct{}

// percentMargin is the room that percentAxis takes outside the plot's area.
const percentMargin = 1.3 * vg.Centimeter

// Plot draws the scale.
func (percentAxis) Plot(c draw.Canvas, _ *plot.Plot) {
	line := draw.LineStyle{Color: ink, Width: vg.Points(0.5)}
	c.StrokeLine2(line, c.Max.X, c.Min.Y, c.Max.X, c.Max.Y)
	for percent := 0; percent <= 100; percent += 25 {
		y := c.Min.Y + (c.Max.Y-c.Min.Y)*vg.Length(percent)/100
		c.StrokeLine2(line, c.Max.X, y, c.Max.X+vg.Points(4), y)
		c.FillText(textStyle(9), vg.Point{X: c.Max.X + vg.Points(6), Y: y}, fmt.Sprintf("%d %%", percent))
	}
}
