package figures

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// rowLabel names a row of a panel, at the left of the plot's area, and may say
// something at its right.
type rowLabel struct {
	y      float64 // in the plot
	text   string
	indent vg.Length
	head   bool   // names the rows below it
	right  string // at the right of the area
	strong bool   // the right text is bold
}

const (
	rowHeight  = vg.Length(17)
	mostColumn = 6.2 * vg.Centimeter
)

// newRows returns a plot with rows 0 to n-1 from top to bottom: row i is at y
// n-1-i.
func newRows(n int) *plot.Plot {
	p := newPlot()
	p.HideY()
	p.Y.Min, p.Y.Max = -0.5, float64(n)-0.5
	return p
}

// rowPanel returns the panel of a plot of rows.
func rowPanel(p *plot.Plot, n int, labels []rowLabel) panel {
	column := vg.Length(0)
	for i := range labels {
		l := &labels[i]
		l.text = clean(l.text)
		sty := l.style()
		if !l.head {
			l.text = fit(sty, l.text, mostColumn-l.indent)
			column = max(column, sty.Width(l.text)+l.indent)
		}
	}
	for i := range labels {
		if l := &labels[i]; l.head {
			l.text = fit(l.style(), l.text, figureWidth-4*edge)
		}
	}
	height := vg.Length(n)*rowHeight + 22
	if p.Title.Text != "" {
		height += 17
	}
	return panel{plot: p, height: height, rows: labels, column: column + 10}
}

func (l rowLabel) style() draw.TextStyle {
	if l.head {
		return bold(textStyle(9))
	}
	return textStyle(9)
}

// rightWidth is the room that the rows' right texts need.
func rightWidth(labels []rowLabel) vg.Length {
	most := vg.Length(0)
	for _, l := range labels {
		sty := textStyle(9)
		if l.strong {
			sty = bold(sty)
		}
		most = max(most, sty.Width(l.right))
	}
	if most > 0 {
		most += 10
	}
	return most
}

func (p panel) drawRows(c draw.Canvas, left vg.Length) {
	area := p.plot.DataCanvas(c)
	for _, l := range p.rows {
		y := area.Y(p.plot.Y.Norm(l.y))
		c.FillText(l.style(), vg.Point{X: left + l.indent, Y: y}, l.text)
		sty := textStyle(9)
		if l.strong {
			sty = bold(sty)
		}
		c.FillText(sty, vg.Point{X: area.Max.X + 8, Y: y}, l.right)
	}
}
