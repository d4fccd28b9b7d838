package figures

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// CostBar is what one mesh used.
type CostBar struct {
	Name  string
	Parts []CostPart
}

// CostPart is one part of a mesh.
type CostPart struct {
	Part        string
	CPUSeconds  float64 // per 100,000 requests
	MemoryBytes float64
}

// lookOfPart gives the parts of a mesh their own looks.
func lookOfPart(part string, i int) Look {
	switch part {
	case "switch":
		return Blue
	case "sidecar":
		return Vermillion
	case "service":
		return Green
	case "controller":
		return Purple
	case "registry":
		return Orange
	}
	return Sky + Look(i%3)
}

// Cost draws what each mesh used, stacked by part: processor time in one
// panel, memory in the other. A panel without any value is left out.
func Cost(title string, bars []CostBar) (*Figure, error) {
	var parts []string
	for _, b := range bars {
		for _, p := range b.Parts {
			for _, v := range []float64{p.CPUSeconds, p.MemoryBytes} {
				if !(v >= 0) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("draw %q: cost %v of %s of %s", title, v, p.Part, b.Name)
				}
			}
			if !slices.Contains(parts, p.Part) {
				parts = append(parts, p.Part)
			}
		}
	}
	f := &Figure{Title: title}
	var said []stringer
	for _, m := range []struct {
		name string
		unit string
		of   func(CostPart) float64
	}{
		{"Processor time per 100,000 requests, seconds", "s", func(p CostPart) float64 { return p.CPUSeconds }},
		{"Memory, MB", "MB", func(p CostPart) float64 { return p.MemoryBytes / 1e6 }},
	} {
		p, labels := costPlot(bars, parts, m.of, m.unit)
		if p == nil {
			continue
		}
		p.Title.Text = m.name
		f.right = max(f.right, rightWidth(labels))
		f.panels = append(f.panels, rowPanel(p, len(bars), labels))
		for _, l := range labels {
			said = append(said, stringer(fmt.Sprintf("%s, %s: %s", clean(l.text), m.name, l.right[0])))
		}
	}
	if len(f.panels) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	for i := range f.panels { // one column for both
		f.panels[i].column = max(f.panels[0].column, f.panels[i].column)
	}
	for i, part := range parts {
		look := lookOfPart(part, i)
		f.legend = append(f.legend, legendEntry{text: part, area: &look})
	}
	f.Description = describe(title+": what each mesh used, stacked by part.", said)
	return f, nil
}

// costPlot returns a panel of stacked bars, or nil when all are empty.
func costPlot(bars []CostBar, parts []string, of func(CostPart) float64, unit string) (*plot.Plot, []rowLabel) {
	p := newRows(len(bars))
	p.X.Tick.Marker = wideTicks{}
	most := 0.0
	var labels []rowLabel
	for i, b := range bars {
		y, sum := float64(len(bars)-1-i), 0.0
		for k, part := range parts {
			width := 0.0
			for _, c := range b.Parts {
				if c.Part == part {
					width += of(c)
				}
			}
			if width == 0 {
				continue
			}
			from, to, look := sum, sum+width, lookOfPart(part, k)
			p.Add(paint(func(c draw.Canvas, p *plot.Plot) {
				box(c, vg.Rectangle{Min: at(c, p, from, y-0.36), Max: at(c, p, to, y+0.36)}, look)
			}))
			sum = to
		}
		most = max(most, sum)
		right := "not measured"
		if len(b.Parts) > 0 {
			right = fmt.Sprintf("%s %s", short(sum), unit)
		}
		labels = append(labels, rowLabel{y: y, text: b.Name, right: [2]string{right}})
	}
	if most == 0 {
		return nil, nil
	}
	p.X.Min, p.X.Max = 0, most*1.04
	return p, labels
}

// short prints a figure with up to three significant digits and without an
// exponent.
func short(v float64) string {
	if v == 0 {
		return "0"
	}
	s := strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(v)))), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
