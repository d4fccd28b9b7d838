package print

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"

	"codeberg.org/go-pdf/fpdf"
	stdfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
)

// canvas draws on a page of a PDF: it is a vg.Canvas whose origin is the lower
// left corner of an area of the page. Coordinates are transformed here, so the
// page's own state has no transformation but those of turned text.
type canvas struct {
	doc           *fpdf.Fpdf // in points
	left, bottom  float64    // of the area, from the top left of the page
	width, height vg.Length

	state state
	stack []state
	image int
}

type state struct {
	m      matrix
	width  vg.Length
	dashes []vg.Length
	offset vg.Length
	color  color.Color
}

// matrix maps x, y to a*x + c*y + e, b*x + d*y + f.
type matrix struct{ a, b, c, d, e, f float64 }

// then applies n to a point before m.
func (m matrix) then(n matrix) matrix {
	return matrix{
		a: m.a*n.a + m.c*n.b, b: m.b*n.a + m.d*n.b,
		c: m.a*n.c + m.c*n.d, d: m.b*n.c + m.d*n.d,
		e: m.a*n.e + m.c*n.f + m.e, f: m.b*n.e + m.d*n.f + m.f,
	}
}

// scale is by how much lengths grow.
func (m matrix) scale() float64 { return math.Sqrt(math.Abs(m.a*m.d - m.b*m.c)) }

// newCanvas returns a canvas of an area whose lower left corner lies at left,
// bottom, counted in points from the page's top left. Drawings are scaled.
func newCanvas(doc *fpdf.Fpdf, left, bottom float64, width, height vg.Length, scale float64) *canvas {
	c := &canvas{doc: doc, left: left, bottom: bottom, width: width, height: height}
	c.state.m = matrix{a: scale, d: scale}
	vg.Initialize(c)
	return c
}

// Size returns the size before scaling.
func (c *canvas) Size() (x, y vg.Length) { return c.width, c.height }

func (c *canvas) SetLineWidth(w vg.Length) { c.state.width = w }

func (c *canvas) SetLineDash(pattern []vg.Length, offset vg.Length) {
	c.state.dashes, c.state.offset = pattern, offset
}

func (c *canvas) SetColor(clr color.Color) {
	if clr == nil {
		clr = color.Black
	}
	c.state.color = clr
}

func (c *canvas) Rotate(rad float64) {
	sin, cos := math.Sincos(rad)
	c.state.m = c.state.m.then(matrix{a: cos, b: sin, c: -sin, d: cos})
}

func (c *canvas) Translate(pt vg.Point) {
	c.state.m = c.state.m.then(matrix{a: 1, d: 1, e: pt.X.Points(), f: pt.Y.Points()})
}

func (c *canvas) Scale(x, y float64) { c.state.m = c.state.m.then(matrix{a: x, d: y}) }

func (c *canvas) Push() { c.stack = append(c.stack, c.state) }

func (c *canvas) Pop() {
	c.state = c.stack[len(c.stack)-1]
	c.stack = c.stack[:len(c.stack)-1]
}

// at returns a point on the page.
func (c *canvas) at(p vg.Point) (x, y float64) {
	m := c.state.m
	return c.left + m.a*p.X.Points() + m.c*p.Y.Points() + m.e, c.bottom - (m.b*p.X.Points() + m.d*p.Y.Points() + m.f)
}

func (c *canvas) Stroke(p vg.Path) {
	if c.state.width <= 0 {
		return
	}
	scale := c.state.m.scale()
	dashes := make([]float64, len(c.state.dashes))
	for i, d := range c.state.dashes {
		dashes[i] = d.Points() * scale
	}
	r, g, b, a := rgba(c.state.color)
	c.doc.SetLineWidth(c.state.width.Points() * scale)
	c.doc.SetDashPattern(dashes, c.state.offset.Points()*scale)
	c.doc.SetDrawColor(r, g, b)
	c.doc.SetAlpha(a, "Normal")
	c.path(p)
	c.doc.DrawPath("D")
	c.plain()
}

func (c *canvas) Fill(p vg.Path) {
	r, g, b, a := rgba(c.state.color)
	c.doc.SetFillColor(r, g, b)
	c.doc.SetAlpha(a, "Normal")
	c.path(p)
	c.doc.DrawPath("F")
	c.plain()
}

// plain undoes what would show in what is drawn on the page next.
func (c *canvas) plain() {
	c.doc.SetAlpha(1, "Normal")
	c.doc.SetDashPattern(nil, 0)
}

func (c *canvas) path(p vg.Path) {
	for _, comp := range p {
		switch comp.Type {
		case vg.MoveComp:
			c.doc.MoveTo(c.at(comp.Pos))
		case vg.LineComp:
			c.doc.LineTo(c.at(comp.Pos))
		case vg.ArcComp:
			c.arc(comp)
		case vg.CurveComp:
			x, y := c.at(comp.Pos)
			x0, y0 := c.at(comp.Control[0])
			if len(comp.Control) == 1 {
				c.doc.CurveTo(x0, y0, x, y)
				continue
			}
			x1, y1 := c.at(comp.Control[1])
			c.doc.CurveBezierCubicTo(x0, y0, x1, y1, x, y)
		case vg.CloseComp:
			c.doc.ClosePath()
		}
	}
}

// arc draws a line to the arc's start, and the arc as curves of at most a
// quarter of a circle. The handles of a curve over an angle t are 4/3 tan(t/4)
// radii long (M. Goldapp, "Approximation of circular arcs by cubic
// polynomials", Computer Aided Geometric Design 8, 1991).
func (c *canvas) arc(comp vg.PathComp) {
	on := func(angle, handle float64) (x, y float64) {
		sin, cos := math.Sincos(angle)
		return c.at(vg.Point{
			X: comp.Pos.X + comp.Radius*vg.Length(cos-handle*sin),
			Y: comp.Pos.Y + comp.Radius*vg.Length(sin+handle*cos),
		})
	}
	c.doc.LineTo(on(comp.Start, 0))
	parts := max(1, int(math.Ceil(math.Abs(comp.Angle)/(math.Pi/2)-1e-9)))
	step := comp.Angle / float64(parts)
	handle := 4.0 / 3 * math.Tan(step/4)
	for i := range parts {
		from := comp.Start + float64(i)*step
		x0, y0 := on(from, handle)
		x1, y1 := on(from+step, -handle)
		x, y := on(from+step, 0)
		c.doc.CurveBezierCubicTo(x0, y0, x1, y1, x, y)
	}
}

func (c *canvas) FillString(f font.Face, pt vg.Point, text string) {
	if f.Font.Size == 0 || text == "" {
		return
	}
	style := ""
	if f.Font.Weight == stdfont.WeightBold {
		style = "B"
	}
	r, g, b, _ := rgba(c.state.color)
	c.doc.SetFont(sans, style, f.Font.Size.Points()*c.state.m.scale())
	c.doc.SetTextColor(r, g, b)
	x, y := c.at(pt)
	angle := math.Atan2(c.state.m.b, c.state.m.a) * 180 / math.Pi
	if math.Abs(angle) < 1e-6 {
		c.doc.Text(x, y, printable(text))
		return
	}
	c.doc.TransformBegin()
	c.doc.TransformRotate(angle, x, y)
	c.doc.Text(x, y, printable(text))
	c.doc.TransformEnd()
}

// DrawImage draws an image; figures have none today, and a canvas without
// it is no canvas.
func (c *canvas) DrawImage(rect vg.Rectangle, img image.Image) {
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		c.doc.SetError(fmt.Errorf("encode image: %w", err))
		return
	}
	c.image++
	name := fmt.Sprintf("image %v %v %d", c.left, c.bottom, c.image)
	opts := fpdf.ImageOptions{ImageType: "png"}
	c.doc.RegisterImageOptionsReader(name, opts, &b)
	x, y := c.at(vg.Point{X: rect.Min.X, Y: rect.Max.Y})
	scale := c.state.m.scale()
	c.doc.ImageOptions(name, x, y, rect.Size().X.Points()*scale, rect.Size().Y.Points()*scale, false, opts, 0, "")
}

// rgba returns a colour's parts, not multiplied by its opacity.
func rgba(c color.Color) (r, g, b int, alpha float64) {
	n, _ := color.NRGBAModel.Convert(c).(color.NRGBA)
	return int(n.R), int(n.G), int(n.B), float64(n.A) / 0xFF
}
