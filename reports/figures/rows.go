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
	head   bool      // names the rows below it
	right  [2]string // columns at the right of the area
	strong bool      // the right texts are bold
}

const (
	rowHeight  = vg.Length(17)
	mostColumn = 7 * vg.Centimeter
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
			l.text = fitMiddle(sty, l.text, mostColumn-l.indent)
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
	return panel{plot: p, height: height, rows: labels, column: column + edge + 10}
}

func (l rowLabel) style() draw.TextStyle {
	if l.head {
		return bold(textStyle(9))
	}
	return textStyle(9)
}

func (l rowLabel) rightStyle() draw.TextStyle {
	if l.strong {
		return bold(textStyle(9))
	}
	return textStyle(9)
}

const rightGap = vg.Length(8)

// rightWidths are those of the columns of the rows' right texts.
func rightWidths(labels []rowLabel) (widths [2]vg.Length) {
	for _, l := range labels {
		for i, s := range l.right {
			if s != "" {
				widths[i] = max(widths[i], l.rightStyle().Width(s)+rightGap)
			}
		}
	}
	return widths
}

// rightWidth is the room that the rows' right texts need.
func rightWidth(labels []rowLabel) vg.Length {
	w := rightWidths(labels)
	return w[0] + w[1]
}

// drawRows draws the labels from left on, and the right texts from right on.
func (p panel) drawRows(c draw.Canvas, left, right vg.Length) {
	area := p.plot.DataCanvas(c)
	widths := rightWidths(p.rows)
	for _, l := range p.rows {
		at := vg.Point{X: left + l.indent, Y: area.Y(p.plot.Y.Norm(l.y))}
		if l.head { // it may reach into the area
			size := vg.Point{X: l.style().Width(l.text) + 3, Y: rowHeight * 0.4}
			c.SetColor(paper)
			c.Fill(vg.Rectangle{Min: vg.Point{X: at.X, Y: at.Y - size.Y}, Max: vg.Point{X: at.X + size.X, Y: at.Y + size.Y}}.Path())
		}
		c.FillText(l.style(), at, l.text)
		x := right + rightGap
		for i, s := range l.right {
			c.FillText(l.rightStyle(), vg.Point{X: x, Y: at.Y}, s)
			x += widths[i]
		}
	}
}
