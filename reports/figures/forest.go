package figures

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Verdict is what the decision on a row came to. The empty one stands for
// none.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "PASS"
	Fail         Verdict = "FAIL"
	Inconclusive Verdict = "INCONCLUSIVE"
)

// mark returns the verdict's sign: its shape and filling say what its colour
// says.
func (v Verdict) mark() mark {
	switch v {
	case Pass:
		return mark{shape: disc, radius: 3.6, color: Green.Color()}
	case Fail:
		return mark{shape: diamond, radius: 4.4, color: Vermillion.Color()}
	case Inconclusive:
		return mark{shape: square, radius: 3.4, color: ink, hollow: true}
	}
	return mark{shape: disc, radius: 3.2, color: Blue.Color()}
}

// ForestRow is one ratio with its interval.
type ForestRow struct {
	Group            string // head above the row, where it is not that of the row before
	Label            string
	Ratio, Low, High float64 // new / base
	Margin           float64 // the band from 1 to 1 + Margin; 0: none
	Verdict          Verdict
}

func (r ForestRow) String() string {
	s := fmt.Sprintf("%s: %.3f (%.3f to %.3f)", clean(r.Label), r.Ratio, r.Low, r.High)
	if r.Group != "" {
		s = clean(r.Group) + ", " + s
	}
	if r.Verdict != "" {
		s += ", " + string(r.Verdict)
	}
	return s
}

// Forest draws ratios with their intervals under each other, on a logarithmic
// scale, with the verdicts. A ratio that is not positive and finite is an
// error.
func Forest(title string, rows []ForestRow) (*Figure, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	lines := len(rows)
	for i, r := range rows {
		if r.Group != "" && (i == 0 || r.Group != rows[i-1].Group) {
			lines++
		}
	}
	p := newRows(lines)
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = ratioTicks{}
	f := &Figure{Title: title, bottom: "ratio to the base, 95 % interval (logarithmic scale); right of 1 is slower"}

	axis := ratioRange{0.95, 1.05}
	var labels []rowLabel
	var whiskers []paint
	used := map[Verdict]bool{}
	banded := false
	y := float64(lines)
	for i, r := range rows {
		ratio := Ratio{r.Ratio, r.Low, r.High}
		if err := ratio.check(); err != nil {
			return nil, fmt.Errorf("draw %q: %s: %w", title, r.Label, err)
		}
		if !(r.Margin >= 0) || math.IsInf(r.Margin, 0) {
			return nil, fmt.Errorf("draw %q: %s: margin %v", title, r.Label, r.Margin)
		}
		indent := vg.Length(0)
		if r.Group != "" {
			indent = 8
			if i == 0 || r.Group != rows[i-1].Group {
				y--
				labels = append(labels, rowLabel{y: y, text: r.Group, head: true})
			}
		}
		y--
		axis.cover(r.Low, r.High)
		right := [2]string{fmt.Sprintf("%s  [%s, %s]", threeDigits(r.Ratio), threeDigits(r.Low), threeDigits(r.High)), string(r.Verdict)}
		labels = append(labels, rowLabel{y: y, text: r.Label, indent: indent, right: right, strong: r.Verdict == Fail})
		if r.Margin > 0 {
			banded = true
			axis.cover(1, 1+r.Margin)
			at1, edge := y, r.Margin
			p.Add(paint(func(c draw.Canvas, p *plot.Plot) { band(c, p, at1, edge) }))
		}
		used[r.Verdict] = true
		row, m := y, r.Verdict.mark()
		whiskers = append(whiskers, func(c draw.Canvas, p *plot.Plot) {
			whisker(c, p, ratio, row, draw.LineStyle{Color: ink, Width: vg.Points(1.2)}, m)
		})
	}
	p.Add(paint(lineAtOne))
	for _, w := range whiskers {
		p.Add(w)
	}
	for _, v := range []Verdict{Pass, Fail, Inconclusive} {
		if m := v.mark(); used[v] {
			f.legend = append(f.legend, legendEntry{text: string(v), mark: &m})
		}
	}
	if banded {
		line := draw.LineStyle{Color: rule, Width: vg.Points(8)}
		f.legend = append(f.legend, legendEntry{text: "margin that a ratio may grow by", line: &line})
	}
	p.X.Min, p.X.Max = axis.low, axis.high
	f.right = rightWidth(labels)
	f.panels = []panel{rowPanel(p, lines, labels)}
	f.Description = describe(title+": ratios with their 95 % intervals.", rows)
	return f, nil
}

// band shades a row from 1 to 1 + margin.
func band(c draw.Canvas, p *plot.Plot, y, margin float64) {
	r := vg.Rectangle{Min: at(c, p, 1, y-0.5), Max: at(c, p, min(1+margin, p.X.Max), y+0.5)}
	c.Push()
	defer c.Pop()
	c.SetColor(rule)
	c.Fill(r.Path())
}

// threeDigits prints a ratio: 0.987, 1.03, 12.3.
func threeDigits(v float64) string {
	switch {
	case v < 0.9995:
		return fmt.Sprintf("%.3f", v)
	case v < 9.995:
		return fmt.Sprintf("%.2f", v)
	case v < 99.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
