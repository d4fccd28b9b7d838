package topo

import (
	"cmp"
	"fmt"
	"slices"
)

// Lengths of a service graph, in pixels at 96 per inch.
const (
	serviceHeight = 34.0
	passHeight    = 4.0  // of an arrow on its way through a column
	serviceGap    = 46.0 // between the services of one column
	columnSpace   = 150.0
	labelHeight   = 13.0
	labelPerRune  = 5.8
)

// serviceBox is a rectangle: of a service, or of the text beside an arrow.
type serviceBox struct{ x, y, w, h float64 }

func (a serviceBox) meets(b serviceBox) bool {
	return a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h
}

// SVG returns the graph as a picture: callers on the left, what they call on
// the right. It is one svg element that may stand in an HTML page.
func (g ServiceGraph) SVG() []byte {
	columns := g.columns()
	boxes, width, height := placeServices(columns)
	c := &canvas{}
	fmt.Fprintf(&c.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" font-family=%q>`+"\n",
		width, height, width, height, sans)
	fmt.Fprintf(&c.b, "<title>%s</title>\n", escape(g.Title))
	c.rect(0.5, 0.5, width-1, height-1, 8, groundColour, frameColour)
	c.text(margin, margin+16, 17, inkColour, `font-weight="bold"`, g.Title)
	var taken []serviceBox
	for at, b := range boxes {
		if at.service != "" {
			taken = append(taken, b)
		}
	}
	type label struct {
		at   serviceBox
		edge ServiceEdge
	}
	var labels []label
	for _, e := range g.sorted() {
		way := wayOf(e, boxes)
		c.arrow(way, e.State)
		if len(e.Labels) > 0 {
			at := placeLabel(way, e.Labels, taken, serviceBox{0, titleSize, width, height - titleSize})
			taken = append(taken, at)
			labels = append(labels, label{at, e})
		}
	}
	for _, l := range labels { // above all arrows
		c.rect(l.at.x, l.at.y, l.at.w, l.at.h, 2, groundColour, groundColour)
		for i, text := range l.edge.Labels {
			c.middle(l.at.x+l.at.w/2, l.at.y+labelHeight*float64(i+1)-2, 10, l.edge.State.colour(), "", text)
		}
	}
	for _, column := range columns {
		for _, at := range column {
			if at.service == "" {
				continue
			}
			b := boxes[at]
			fill, frame := serviceChip.colours()
			c.rect(b.x, b.y, b.w, b.h, 6, fill, frame)
			c.middle(b.x+b.w/2, b.y+b.h/2+5, 13, inkColour, "", at.service)
		}
	}
	c.b.WriteString("</svg>\n")
	return c.b.Bytes()
}

// curve is a cubic Bézier curve.
type curve [4][2]float64

func (c curve) at(t float64) (x, y float64) {
	u := 1 - t
	k := [4]float64{u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t}
	for i, p := range c {
		x += k[i] * p[0]
		y += k[i] * p[1]
	}
	return x, y
}

// way is that of an arrow: curves one after the other.
type way []curve

// wayOf is the way of an arrow: from the right side of the caller to the left
// side of what it calls, through the places kept for it in the columns
// between; above both when that is not to the right.
func wayOf(e ServiceEdge, boxes map[spot]serviceBox) way {
	from, to := boxes[spot{service: e.From}], boxes[spot{service: e.To}]
	if from.x+from.w >= to.x {
		x1, x2 := from.x+from.w*0.7, to.x+to.w*0.3
		y := min(from.y, to.y) - serviceGap
		return way{{{x1, from.y}, {x1 + 20, y}, {x2 - 20, y}, {x2, to.y}}}
	}
	var through []serviceBox
	for at, b := range boxes {
		if at.service == "" && at.from == e.From && at.to == e.To {
			through = append(through, b)
		}
	}
	slices.SortFunc(through, func(a, b serviceBox) int { return cmp.Compare(a.x, b.x) })
	var out way
	last := from
	for _, next := range append(through, to) {
		out = append(out, between(last, next))
		if next != to { // straight through the column
			y := next.y + next.h/2
			out = append(out, curve{{next.x, y}, {next.x, y}, {next.x + next.w, y}, {next.x + next.w, y}})
		}
		last = next
	}
	return out
}

func between(from, to serviceBox) curve {
	x1, y1, x2, y2 := from.x+from.w, from.y+from.h/2, to.x, to.y+to.h/2
	bend := (x2 - x1) / 2
	return curve{{x1, y1}, {x1 + bend, y1}, {x2 - bend, y2}, {x2, y2}}
}

// arrow draws a way with a head at its end.
func (c *canvas) arrow(w way, state EdgeState) {
	width, more := 1.2, ""
	switch state {
	case EdgeBusy:
		width = 2.2
	case EdgeDenied:
		width, more = 2.2, ` stroke-dasharray="6 4"`
	}
	fmt.Fprintf(&c.b, `<path d="M%.1f,%.1f`, w[0][0][0], w[0][0][1])
	for _, k := range w {
		fmt.Fprintf(&c.b, " C%.1f,%.1f %.1f,%.1f %.1f,%.1f", k[1][0], k[1][1], k[2][0], k[2][1], k[3][0], k[3][1])
	}
	fmt.Fprintf(&c.b, `" fill="none" stroke="%s" stroke-width="%.1f"%s/>`+"\n", state.colour(), width, more)
	end := w[len(w)-1]
	x, y := end[3][0], end[3][1]
	head := [2][2]float64{{x - 8, y - 4}, {x - 8, y + 4}} // it comes from the left
	if end[3][1]-end[2][1] > 1 && end[3][0]-end[2][0] <= 20 {
		head = [2][2]float64{{x - 4, y - 8}, {x + 4, y - 8}} // from above
	}
	fmt.Fprintf(&c.b, `<path d="M%.1f,%.1f L%.1f,%.1f L%.1f,%.1f Z" fill="%s"/>`+"\n", x, y, head[0][0], head[0][1], head[1][0], head[1][1], state.colour())
}

// placeLabel finds room for a text on the way of its arrow, and the middle of
// its first part when there is none.
func placeLabel(on way, lines []string, taken []serviceBox, inside serviceBox) serviceBox {
	w := 0.0
	for _, l := range lines {
		w = max(w, textWidth(l, labelPerRune)+6)
	}
	h := labelHeight*float64(len(lines)) + 3
	box := func(k curve, t, shift float64) serviceBox {
		x, y := k.at(t)
		return serviceBox{
			x: min(max(x-w/2, inside.x), inside.x+inside.w-w),
			y: min(max(y-h/2+shift, inside.y), inside.y+inside.h-h), w: w, h: h,
		}
	}
	for _, shift := range []float64{0, -h, h, -2 * h, 2 * h} {
		for _, k := range on {
			for _, t := range []float64{0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82} {
				b := box(k, t, shift)
				if !slices.ContainsFunc(taken, b.meets) {
					return b
				}
			}
		}
	}
	return box(on[0], 0.5, 0)
}
