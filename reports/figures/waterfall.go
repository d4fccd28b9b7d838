package figures

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Lane is the way of one request under one mesh.
type Lane struct {
	Name  string
	Spans []Span // in the order of their starts
}

// Span is a stretch of a request's way.
type Span struct {
	Kind   string // client, switch, proxy or service
	Label  string
	Depth  int     // of calls
	Start  float64 // milliseconds since the request was sent
	Length float64 // milliseconds
}

func lookOfKind(kind string) Look {
	switch kind {
	case "switch":
		return Blue
	case "proxy":
		return Vermillion
	case "service":
		return Green
	case "client":
		return Orange
	}
	return Sky
}

// Waterfall draws where the time of a request goes: a panel per lane, all on
// one time axis, a bar per span, its label indented by its depth.
func Waterfall(title string, lanes []Lane) (*Figure, error) {
	f := &Figure{Title: title, bottom: "milliseconds since the request was sent"}
	end := 0.0
	var kinds []string
	seen := map[string]bool{}
	var said []stringer
	for _, l := range lanes {
		if len(l.Spans) == 0 {
			continue
		}
		p := newRows(len(l.Spans))
		p.X.Tick.Marker = wideTicks{}
		p.Title.Text = fit(p.Title.TextStyle, clean(l.Name), mostTitle)
		var labels []rowLabel
		for i, s := range l.Spans {
			if !(s.Length >= 0) || math.IsNaN(s.Start) || math.IsInf(s.Start+s.Length, 0) {
				return nil, fmt.Errorf("draw %q: span %s of %s from %v, %v long", title, s.Label, l.Name, s.Start, s.Length)
			}
			if !seen[s.Kind] {
				seen[s.Kind] = true
				kinds = append(kinds, s.Kind)
			}
			y := float64(len(l.Spans) - 1 - i)
			end = max(end, s.Start+s.Length)
			labels = append(labels, rowLabel{
				y: y, text: s.Label, indent: 9 * vg.Length(min(max(s.Depth, 0), 8)), right: [2]string{short(s.Length) + " ms"},
			})
			p.Add(paint(func(c draw.Canvas, p *plot.Plot) { drawSpan(c, p, s, y) }))
		}
		last := l.Spans[0]
		for _, s := range l.Spans {
			if s.Length > last.Length {
				last = s
			}
		}
		said = append(said, stringer(fmt.Sprintf("%s: %d spans, the longest %s with %s ms", clean(l.Name), len(l.Spans), clean(last.Label), short(last.Length))))
		f.right = max(f.right, rightWidth(labels))
		f.panels = append(f.panels, rowPanel(p, len(l.Spans), labels))
	}
	if end == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	column := vg.Length(0)
	for _, p := range f.panels {
		column = max(column, p.column)
	}
	for i := range f.panels {
		f.panels[i].column = column
		f.panels[i].plot.X.Min, f.panels[i].plot.X.Max = 0, end*1.01
	}
	for _, k := range kinds {
		look := lookOfKind(k)
		f.legend = append(f.legend, legendEntry{text: k, area: &look})
	}
	f.Description = describe(title+": where the time of a request goes, span by span.", said)
	return f, nil
}

// drawSpan draws a bar that stays visible however short its span is.
func drawSpan(c draw.Canvas, p *plot.Plot, s Span, y float64) {
	r := vg.Rectangle{Min: at(c, p, max(s.Start, 0), y-0.32), Max: at(c, p, max(s.Start+s.Length, 0), y+0.32)}
	r.Max.X = max(r.Max.X, r.Min.X+1.2)
	box(c, r, lookOfKind(s.Kind))
}
