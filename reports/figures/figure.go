// Package figures draws the figures of reports: vector drawings in one style,
// readable in print, on dark grounds and by colour-blind people. It gets plain
// values and histograms, decides nothing about them, and writes no report.
package figures

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"image/color"
	"image/png"
	"math"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// ErrNothing says that the input has no value that could be drawn.
var ErrNothing = errors.New("nothing to draw")

// Figure is a column of plots on one x axis, under a title and a legend. It is
// drawn by one goroutine at a time; different figures may be drawn
// concurrently.
type Figure struct {
	Title       string
	Description string // the text that stands for it where it cannot be seen

	untitled bool
	bottom   string // name of the x axis
	panels   []panel
	legend   []legendEntry
	right    vg.Length // free at the right of all plots' areas
}

// panel is one plot, and its height with its axes and title.
type panel struct {
	plot   *plot.Plot
	height vg.Length

	// A panel of rows has its labels in a column of this width, in place of
	// the plot's own y axis, and may have text at the right of the area.
	rows   []rowLabel
	column vg.Length
}

// The measures of a figure; 17 cm is the text's width on an A4 page.
const (
	figureWidth  = 17 * vg.Centimeter
	titleSize    = 12.0 // points
	titleLine    = vg.Length(16)
	legendLine   = vg.Length(14)
	bottomHeight = vg.Length(16)
	edge         = vg.Length(5)
	between      = vg.Length(5)        // panels
	mostTitle    = figureWidth * 3 / 5 // of a panel
)

// Size returns the figure's width and height.
func (f *Figure) Size() (w, h vg.Length) {
	h = 2*edge + vg.Length(len(f.titleLines()))*titleLine + vg.Length(len(f.legendLines()))*legendLine
	for _, p := range f.panels {
		h += p.height + between
	}
	if f.bottom != "" {
		h += bottomHeight
	}
	return figureWidth, h
}

// Untitled returns the figure without its title, for places where a caption
// has it.
func (f *Figure) Untitled() *Figure {
	g := *f
	g.untitled = true
	return &g
}

func (f *Figure) titleLines() []string {
	if f.untitled || f.Title == "" {
		return nil
	}
	return wrap(bold(textStyle(titleSize)), clean(f.Title), figureWidth-4*edge, 2)
}

// Draw draws the figure from the top left of a canvas of its size.
func (f *Figure) Draw(c draw.Canvas) {
	c = draw.Crop(c, edge, -edge, edge, -edge)
	y := c.Max.Y
	for _, line := range f.titleLines() {
		c.FillText(bold(textStyle(titleSize)), vg.Point{X: c.Min.X + edge, Y: y - titleLine/2}, line)
		y -= titleLine
	}
	for _, line := range f.legendLines() {
		drawLegend(c, c.Min.X+edge, y-legendLine/2, line)
		y -= legendLine
	}
	canvases, plots := make([]draw.Canvas, len(f.panels)), make([]*plot.Plot, len(f.panels))
	for i, p := range f.panels {
		plots[i] = p.unnamed()
		part := c
		part.Max.Y = y - between
		part.Min.Y = part.Max.Y - p.height
		part.Min.X += p.column
		if p.plot.Y.Label.Text != "" {
			part.Min.X += nameWidth
		}
		part.Max.X -= f.right
		canvases[i] = part
		y = part.Min.Y
	}
	align(plots, canvases)
	for i, p := range f.panels {
		plots[i].Draw(canvases[i])
		p.drawName(plots[i].DataCanvas(canvases[i]), c.Min.X)
		p.drawRows(canvases[i], c.Min.X+edge, c.Max.X-f.right)
	}
	if f.bottom == "" {
		return
	}
	name := textStyle(9)
	name.XAlign = draw.XCenter
	area := plots[0].DataCanvas(canvases[0])
	middle := (area.Min.X + area.Max.X) / 2
	half := name.Width(f.bottom) / 2 // the name may be longer than the axis
	middle = min(max(middle, c.Min.X+half), c.Max.X-half)
	c.FillText(name, vg.Point{X: middle, Y: y - bottomHeight/2}, f.bottom)
}

// align makes the data areas of a column of plots begin and end at the same x,
// whatever the width of their labels.
func align(plots []*plot.Plot, canvases []draw.Canvas) {
	areas := make([]vg.Rectangle, len(plots))
	left, right := canvases[0].Min.X, canvases[0].Max.X
	for i, p := range plots {
		areas[i] = p.DataCanvas(canvases[i]).Rectangle
		left, right = max(left, areas[i].Min.X), min(right, areas[i].Max.X)
	}
	for i, a := range areas {
		canvases[i].Min.X += left - a.Min.X
		canvases[i].Max.X -= a.Max.X - right
	}
}

// nameWidth is the room left of a plot for the name of its y axis.
const nameWidth = vg.Length(17)

// unnamed is the panel's plot without the name of its y axis: a plot makes room
// for that as though it stood at the middle value, which on a logarithmic scale
// is near the upper end.
func (p panel) unnamed() *plot.Plot {
	bare := *p.plot
	bare.Y.Label.Text = ""
	return &bare
}

// drawName writes the name of the y axis at the left, upwards.
func (p panel) drawName(area draw.Canvas, left vg.Length) {
	if p.plot.Y.Label.Text == "" {
		return
	}
	sty := textStyle(9)
	sty.XAlign, sty.Rotation = draw.XCenter, math.Pi/2
	area.FillText(sty, vg.Point{X: left + 6, Y: (area.Min.Y + area.Max.Y) / 2}, p.plot.Y.Label.Text)
}

// dpi makes a figure of 17 cm about 1000 pixels wide.
const dpi = 150

// PNG returns the figure as an image on white.
func (f *Figure) PNG() ([]byte, error) {
	w, h := f.Size()
	c := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	f.Draw(draw.New(c))
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestSpeed} // the default level takes half of the time of a report
	if err := e.Encode(&b, c.Image()); err != nil {
		return nil, fmt.Errorf("encode PNG of %s: %w", f.Title, err)
	}
	return b.Bytes(), nil
}

// svgStart is all before the content of an SVG file.
var svgStart = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)

// svgColor is a colour in a style.
var svgColor = regexp.MustCompile(`(fill|stroke):#[0-9A-F]{6}`)

// SVG returns the figure as a file of its own, on white. Text stays text.
func (f *Figure) SVG() ([]byte, error) {
	svg, err := f.svg()
	if err != nil {
		return nil, err
	}
	start := svgStart.Find(svg)
	ground := "\n" + `<title>` + html.EscapeString(clean(f.Title)) + `</title><desc>` + html.EscapeString(clean(f.Description)) + `</desc>` +
		`<rect width="100%" height="100%" fill="#FFFFFF"/>`
	return append(append(bytes.Clone(start), ground...), svg[len(start):]...), nil
}

// Inline returns the figure for an HTML page: scalable, with its description
// for screen readers, and with colours that follow the page's. The page has to
// define --rule, --ground, --blue, --vermillion, --green, --purple,
// --orange, --sky and --yellow.
func (f *Figure) Inline() (string, error) {
	svg, err := f.svg()
	if err != nil {
		return "", err
	}
	w, h := f.Size()
	head := fmt.Sprintf(`<svg viewBox="0 0 %.5g %.5g" role="img" aria-label="%s" preserveAspectRatio="xMidYMid meet">`,
		w.Points(), h.Points(), html.EscapeString(clean(f.Description)))
	body := string(svg[len(svgStart.Find(svg)):])
	return head + svgColor.ReplaceAllStringFunc(body, func(s string) string {
		var c color.RGBA
		property, value, _ := strings.Cut(s, ":")
		if _, err := fmt.Sscanf(value, "#%02X%02X%02X", &c.R, &c.G, &c.B); err != nil || variable(c) == "" {
			return s
		}
		return property + ":" + variable(c)
	}), nil
}

func (f *Figure) svg() ([]byte, error) {
	c := vgsvg.New(f.Size())
	f.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("encode SVG of %s: %w", f.Title, err)
	}
	return b.Bytes(), nil
}
