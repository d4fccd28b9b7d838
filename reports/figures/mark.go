package figures

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// mark is a point's sign.
type mark struct {
	shape  shape
	radius vg.Length
	color  color.Color
	hollow bool
}

func (l Look) mark(radius float64) mark {
	return mark{shape: l.shape(), radius: vg.Points(radius), color: l.Color()}
}

func (m mark) hollowed() mark {
	m.hollow = true
	return m
}

// draw draws the mark.
func (m mark) draw(c draw.Canvas, at vg.Point) {
	var p vg.Path
	if m.shape.corners == 0 {
		p.Move(vg.Point{X: at.X + m.radius, Y: at.Y})
		p.Arc(at, m.radius, 0, 2*math.Pi)
	} else {
		r := m.radius * 1.15 // as large to the eye as the circle
		for i := range m.shape.corners {
			angle := 2 * math.Pi * (0.25 + m.shape.turn + float64(i)/float64(m.shape.corners))
			sin, cos := math.Sincos(angle)
			corner := vg.Point{X: at.X + r*vg.Length(cos), Y: at.Y + r*vg.Length(sin)}
			if i == 0 {
				p.Move(corner)
			} else {
				p.Line(corner)
			}
		}
	}
	p.Close()
	c.Push()
	defer c.Pop()
	if m.hollow {
		c.SetColor(paper)
		c.Fill(p)
		c.SetLineStyle(draw.LineStyle{Color: m.color, Width: vg.Points(1.2)})
		c.Stroke(p)
		return
	}
	c.SetColor(m.color)
	c.Fill(p)
}

// box fills a rectangle with a look: a light ground, its hatch, and an edge.
func box(c draw.Canvas, r vg.Rectangle, l Look) {
	path := r.Path()
	c.Push()
	defer c.Pop()
	alpha := uint8(0x66)
	h := l.hatch()
	if h.gap == 0 {
		alpha = 0xC0
	}
	c.SetColor(l.fill(alpha))
	c.Fill(path)
	c.SetLineStyle(draw.LineStyle{Color: l.Color(), Width: vg.Points(0.7)})
	for _, s := range h.lines(r) {
		var p vg.Path
		p.Move(s[0])
		p.Line(s[1])
		c.Stroke(p)
	}
	c.SetLineStyle(draw.LineStyle{Color: l.Color(), Width: vg.Points(0.9)})
	c.Stroke(path)
}

// lines returns the hatch's lines inside r. Each set of lines is counted from
// the origin of the canvas, so neighbouring areas of one look go on in it.
func (h hatch) lines(r vg.Rectangle) [][2]vg.Point {
	var out [][2]vg.Point
	if h.level {
		for y := next(r.Min.Y, h.gap); y < r.Max.Y; y += h.gap {
			out = append(out, [2]vg.Point{{X: r.Min.X, Y: y}, {X: r.Max.X, Y: y}})
		}
	}
	step := h.gap * math.Sqrt2
	if h.rising { // y - x = d
		for d := next(r.Min.Y-r.Max.X, step); d < r.Max.Y-r.Min.X; d += step {
			from, to := max(r.Min.X, r.Min.Y-d), min(r.Max.X, r.Max.Y-d)
			out = append(out, [2]vg.Point{{X: from, Y: from + d}, {X: to, Y: to + d}})
		}
	}
	if h.falling { // y + x = s
		for s := next(r.Min.Y+r.Min.X, step); s < r.Max.Y+r.Max.X; s += step {
			from, to := max(r.Min.X, s-r.Max.Y), min(r.Max.X, s-r.Min.Y)
			out = append(out, [2]vg.Point{{X: from, Y: s - from}, {X: to, Y: s - to}})
		}
	}
	return out
}

// next returns the first multiple of step above v.
func next(v, step vg.Length) vg.Length {
	return vg.Length(math.Floor(float64(v/step))+1) * step
}
