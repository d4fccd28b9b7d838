package figures

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// legendEntry is a sign and what it stands for. The sign is an area of a look,
// a line, a mark, or a line with a mark.
type legendEntry struct {
	text string
	area *Look
	line *draw.LineStyle
	mark *mark
}

const (
	signWidth   = vg.Length(26)
	signGap     = vg.Length(5)
	entryGap    = vg.Length(16)
	legendWidth = figureWidth - 4*edge
)

func (e legendEntry) label() string {
	return fit(textStyle(9), clean(e.text), legendWidth-signWidth-signGap)
}

func (e legendEntry) width() vg.Length {
	return signWidth + signGap + textStyle(9).Width(e.label())
}

// legendLines shares the legend out over as many lines as it needs.
func (f *Figure) legendLines() [][]legendEntry {
	var lines [][]legendEntry
	var used vg.Length
	for _, e := range f.legend {
		w := e.width()
		if len(lines) == 0 || used+w > legendWidth {
			lines = append(lines, nil)
			used = 0
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], e)
		used += w + entryGap
	}
	return lines
}

func drawLegend(c draw.Canvas, x, y vg.Length, line []legendEntry) {
	for _, e := range line {
		if e.area != nil {
			box(c, vg.Rectangle{Min: vg.Point{X: x + 3, Y: y - 4}, Max: vg.Point{X: x + signWidth - 3, Y: y + 4}}, *e.area)
		}
		if e.line != nil {
			c.StrokeLine2(*e.line, x, y, x+signWidth, y)
		}
		if e.mark != nil {
			e.mark.draw(c, vg.Point{X: x + signWidth/2, Y: y})
		}
		c.FillText(textStyle(9), vg.Point{X: x + signWidth + signGap, Y: y}, e.label())
		x += e.width() + entryGap
	}
}
