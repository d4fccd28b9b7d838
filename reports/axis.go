package reports

import (
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// ink and rule are the colours of text and of lines in the background. The
// page replaces them in the figures it embeds, to follow light and dark mode.
var (
	ink  = color.RGBA{0x1A, 0x1A, 0x1A, 0xFF}
	rule = color.RGBA{0xD9, 0xD9, 0xD9, 0xFF}
)

// logTicks marks 1, 2 and 5 of each decade, without exponents, and the other
// integers by a mark alone.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	wide := high/low > 500 // then 1 alone carries a label
	for exp := math.Floor(math.Log10(low)); exp <= math.Ceil(math.Log10(high)); exp++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, exp)
			if v < low*0.9999 || v > high*1.0001 {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || !wide && (m == 2 || m == 5) {
				t.Label = strconv.FormatFloat(v, 'f', max(0, -int(exp)), 64)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// evenTicks marks three to six round values from zero on.
type evenTicks struct{}

func (evenTicks) Ticks(_, high float64) []plot.Tick {
	if high <= 0 {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(high/3)))
	for _, factor := range []float64{5, 2} {
		if high/(step*factor) >= 3 {
			step *= factor
			break
		}
	}
	var ticks []plot.Tick
	for i := 0.0; i*step <= high; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 4, 64)})
	}
	return ticks
}

// ratioTicks marks round ratios.
type ratioTicks struct{}

func (ratioTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for _, v := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30, 50, 100} {
		if v >= low && v <= high {
			ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
		}
	}
	return ticks
}

// timeAxis names the x axis of all figures of latencies.
const timeAxis = "response time, milliseconds (logarithmic scale)"

// span is a range of latencies in milliseconds, wide enough to draw.
type span struct{ low, high float64 }

// spanOf covers all values, and ends on edges of bins.
func spanOf(ms []*measure) span {
	s := span{math.Inf(1), 0}
	for _, m := range ms {
		if m.OK() && len(m.values) > 0 {
			s.low = min(s.low, m.values[0].ms)
			s.high = max(s.high, m.values[len(m.values)-1].ms)
		}
	}
	if s.high == 0 {
		return span{1, 10}
	}
	low, high := math.Floor(binIndex(s.low)), math.Floor(binIndex(s.high))+1
	if high-low < 8 {
		low, high = low-4, high+4
	}
	return span{binEdge(low), binEdge(high)}
}

// binsPerDecade is how many bins of a histogram share a power of ten; each is
// 12 % wider than the one before.
const binsPerDecade = 20

func binIndex(ms float64) float64 { return math.Log10(ms) * binsPerDecade }
func binEdge(i float64) float64   { return math.Pow(10, i/binsPerDecade) }

// newPlot returns an empty plot of latencies in the report's style.
func newPlot(s span) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil // the figure has one
	style(p)
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = logTicks{}
	p.X.Min, p.X.Max = s.low, s.high
	p.Y.Tick.Marker = evenTicks{}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = rule, rule
	grid.Vertical.Dashes, grid.Horizontal.Dashes = nil, nil
	p.Add(grid)
	return p
}

func style(p *plot.Plot) {
	sans := font.Font{Typeface: "Liberation", Variant: "Sans"}
	for _, t := range []*draw.TextStyle{
		&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle,
		&p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle,
	} {
		size := t.Font.Size
		t.Font = sans
		t.Font.Size = size
		t.Color = ink
	}
	p.Title.TextStyle.Font.Size = vg.Points(11)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font.Size = vg.Points(9)
		a.Tick.Label.Font.Size = vg.Points(9)
		a.LineStyle.Color, a.Tick.LineStyle.Color = ink, ink
		a.Padding = 0
	}
	p.Legend.TextStyle.Font.Size = vg.Points(9)
}

// percentAxis draws a second scale, from 0 to 100 %, at the right edge.
type percentAxis struct{ label draw.TextStyle }

// rightMargin is the room that percentAxis takes outside the plot's area.
const rightMargin = 1.3 * vg.Centimeter

func (a percentAxis) Plot(c draw.Canvas, _ *plot.Plot) {
	line := draw.LineStyle{Color: ink, Width: vg.Points(0.5)}
	c.StrokeLine2(line, c.Max.X, c.Min.Y, c.Max.X, c.Max.Y)
	for percent := 0; percent <= 100; percent += 25 {
		y := c.Min.Y + (c.Max.Y-c.Min.Y)*vg.Length(percent)/100
		c.StrokeLine2(line, c.Max.X, y, c.Max.X+vg.Points(4), y)
		sty := a.label
		sty.XAlign, sty.YAlign = draw.XLeft, draw.YCenter
		c.FillText(sty, vg.Point{X: c.Max.X + vg.Points(6), Y: y}, fmt.Sprintf("%d %%", percent))
	}
}

// legendRow draws the entries in one line from the top left of the canvas and
// returns the canvas below it.
func legendRow(c draw.Canvas, text draw.TextStyle, entries []legendEntry) draw.Canvas {
	const height = 14
	x, y := c.Min.X+vg.Points(6), c.Max.Y-vg.Points(height/2)
	text.XAlign, text.YAlign = draw.XLeft, draw.YCenter
	for _, e := range entries {
		if e.glyph != nil {
			c.DrawGlyph(*e.glyph, vg.Point{X: x + vg.Points(13), Y: y})
		} else {
			c.StrokeLine2(e.line, x, y, x+vg.Points(26), y)
		}
		x += vg.Points(31)
		c.FillText(text, vg.Point{X: x, Y: y}, e.text)
		x += text.Width(e.text) + vg.Points(16)
	}
	return draw.Crop(c, 0, 0, 0, -vg.Points(height))
}

type legendEntry struct {
	text  string
	line  draw.LineStyle
	glyph *draw.GlyphStyle
}
