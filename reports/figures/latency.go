package figures

import (
	"fmt"
	"image/color"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is one line of a figure of latencies.
type Series struct {
	Name string
	Look Look
	HDR  *hdrhistogram.Histogram // microseconds, of successes; nil or empty: the series is left out
}

// track is a series that has values.
type track struct {
	name   string
	look   Look
	values []count // ascending
	total  int64
}

// count says how often a latency came up.
type count struct {
	ms float64
	n  int64
}

func newTrack(name string, look Look, h *hdrhistogram.Histogram) track {
	t := track{name: clean(name), look: look}
	if h == nil {
		return t
	}
	for _, b := range h.Distribution() {
		if b.Count > 0 {
			t.values = append(t.values, count{ms: float64(max(b.To, 1)) / 1000, n: b.Count})
			t.total += b.Count
		}
	}
	return t
}

// tracks returns the series that have values, or ErrNothing.
func tracks(title string, s []Series) ([]track, error) {
	var ts []track
	for _, one := range s {
		if t := newTrack(one.Name, one.Look, one.HDR); t.total > 0 {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	return ts, nil
}

// at returns the latency that the share p of all requests did not exceed.
func (t track) at(p float64) float64 {
	need := int64(math.Ceil(p * float64(t.total)))
	var sum int64
	for _, v := range t.values {
		if sum += v.n; sum >= need {
			return v.ms
		}
	}
	return t.values[len(t.values)-1].ms
}

func (t track) String() string {
	return fmt.Sprintf("%s: p50 %.3g ms, p99 %.3g ms, maximum %.3g ms, %d requests",
		t.name, t.at(0.5), t.at(0.99), t.values[len(t.values)-1].ms, t.total)
}

// describe lists tracks for a figure's description.
func describe[T fmt.Stringer](what string, list []T) string {
	const most = 12
	s := what
	for i, t := range list {
		if i == most {
			return s + fmt.Sprintf(" And %d more.", len(list)-most)
		}
		s += " " + t.String() + "."
	}
	return s
}

// span is a range of latencies in milliseconds, wide enough to draw.
type span struct{ low, high float64 }

// spanOf covers all values, and ends on edges of bins.
func spanOf(ts []track) span {
	s := span{math.Inf(1), 0}
	for _, t := range ts {
		if len(t.values) > 0 {
			s.low = min(s.low, t.values[0].ms)
			s.high = max(s.high, t.values[len(t.values)-1].ms)
		}
	}
	low, high := math.Floor(binIndex(s.low)), math.Floor(binIndex(s.high))+1
	if high-low < 8 {
		low, high = low-4, high+4
	}
	return span{binEdge(low), binEdge(high)}
}

// binsPerDecade is how many bins of a histogram share a power of ten; each is
// 12 % wider than the one before.
const binsPerDecade = 20

func binIndex(ms float64) float64 { return math.Log10(ms) * binsPerDecade }
func binEdge(i float64) float64   { return math.Pow(10, i/binsPerDecade) }

// bins counts a track's latencies in bins of equal width on a logarithmic
// scale.
func bins(t track, s span) plotter.XYs {
	first := math.Round(binIndex(s.low))
	n := int(math.Round(binIndex(s.high)) - first)
	b := make(plotter.XYs, n)
	for i := range b {
		b[i].X = binEdge(first + float64(i))
	}
	for _, v := range t.values {
		i := min(max(int(math.Floor(binIndex(v.ms)-first+1e-9)), 0), n-1)
		b[i].Y += float64(v.n)
	}
	return b
}

// outline returns the bars' tops as a polygon that begins and ends on zero.
func outline(b plotter.XYs, s span, factor float64) plotter.XYs {
	out := plotter.XYs{{X: s.low, Y: 0}}
	for i := range b {
		right := s.high
		if i+1 < len(b) {
			right = b[i+1].X
		}
		y := b[i].Y * factor
		out = append(out, plotter.XY{X: b[i].X, Y: y}, plotter.XY{X: right, Y: y})
	}
	return append(out, plotter.XY{X: s.high, Y: 0})
}

// cumulative returns the share of requests answered within each time as a
// line through at most 400 points, scaled so that all of them are top.
func cumulative(t track, s span, top float64) plotter.XYs {
	const most = 400
	out := plotter.XYs{{X: s.low, Y: 0}}
	var sum, drawn int64
	for i, v := range t.values {
		sum += v.n
		if i > 0 && i < len(t.values)-1 && (sum-drawn)*most < t.total {
			continue
		}
		out = append(out, plotter.XY{X: v.ms, Y: top * float64(drawn) / float64(t.total)},
			plotter.XY{X: v.ms, Y: top * float64(sum) / float64(t.total)})
		drawn = sum
	}
	return append(out, plotter.XY{X: s.high, Y: top})
}

func addArea(p *plot.Plot, xys plotter.XYs, fill color.Color) error {
	area, err := plotter.NewPolygon(xys)
	if err != nil {
		return err
	}
	area.Color = fill
	area.LineStyle.Width = 0
	p.Add(area)
	return nil
}

// Histogram draws, per series, bars of its latencies with their cumulative
// curve on a second scale.
func Histogram(title string, s []Series) (*Figure, error) {
	ts, err := tracks(title, s)
	if err != nil {
		return nil, err
	}
	all := spanOf(ts)
	line := draw.LineStyle{Color: ink, Width: vg.Points(1.3)}
	f := &Figure{
		Title: title, bottom: timeAxis, right: percentMargin,
		Description: describe(title+": a histogram of response times for each, with its cumulative curve.", ts),
		legend:      []legendEntry{{text: "cumulative share of requests (right scale)", line: &line}},
	}
	for _, t := range ts {
		p := newTimePlot(all)
		p.Title.Text = fit(p.Title.TextStyle, t.name, mostTitle)
		p.Y.Label.Text = "requests"
		p.Y.Tick.Marker = wholeTicks{}
		b := bins(t, all)
		top := 0.0
		for _, xy := range b {
			top = max(top, xy.Y)
		}
		p.Y.Min, p.Y.Max = 0, top*1.05
		if err := addArea(p, outline(b, all, 1), t.look.fill(0x8C)); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		if err := addLine(p, cumulative(t, all, p.Y.Max), line); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		p.Add(percentAxis{})
		f.panels = append(f.panels, panel{plot: p, height: 3.9 * vg.Centimeter})
	}
	return f, nil
}

// Overlay draws the series over each other: histograms as areas, cumulative
// curves as lines on the second scale.
func Overlay(title string, s []Series) (*Figure, error) {
	ts, err := tracks(title, s)
	if err != nil {
		return nil, err
	}
	all := spanOf(ts)
	p := newTimePlot(all)
	p.Y.Label.Text = "share of requests per bin, %"
	f := &Figure{
		Title: title, bottom: timeAxis, right: percentMargin,
		Description: describe(title+": histograms of response times over each other, with cumulative curves.", ts),
	}
	top := 0.0
	areas := make([]plotter.XYs, len(ts))
	for i, t := range ts {
		areas[i] = outline(bins(t, all), all, 100/float64(t.total))
		for _, xy := range areas[i] {
			top = max(top, xy.Y)
		}
	}
	p.Y.Min, p.Y.Max = 0, top*1.05
	for i, t := range ts {
		if err := addArea(p, areas[i], t.look.fill(0x50)); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		if err := addLine(p, areas[i], t.look.line(0.6)); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
	}
	for _, t := range ts {
		line := t.look.line(1.8)
		if err := addLine(p, cumulative(t, all, p.Y.Max), line); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		f.legend = append(f.legend, legendEntry{text: t.name, line: &line})
	}
	p.Add(percentAxis{})
	f.panels = []panel{{plot: p, height: 6 * vg.Centimeter}}
	return f, nil
}

// FirstLater is a series of closed-loop attempts, the first one apart.
type FirstLater struct {
	Name  string
	Look  Look
	First *hdrhistogram.Histogram // microseconds; nil: not drawn
	Later *hdrhistogram.Histogram // microseconds; nil: the series is left out
}

// Attempts sets the first attempt's cumulative curve against that of the later
// ones, per series.
func Attempts(title string, s []FirstLater) (*Figure, error) {
	var laters, firsts, all []track
	for _, one := range s {
		later := newTrack(one.Name, one.Look, one.Later)
		if later.total == 0 {
			continue
		}
		first := newTrack(one.Name+", first attempt", one.Look, one.First)
		laters, firsts = append(laters, later), append(firsts, first)
		all = append(all, later)
		if first.total > 0 {
			all = append(all, first)
		}
	}
	if len(laters) == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	over := spanOf(all)
	firstLine := draw.LineStyle{Color: ink, Width: vg.Points(1.3), Dashes: []vg.Length{vg.Points(3), vg.Points(2)}}
	laterLine := laters[0].look.solid(2)
	f := &Figure{
		Title: title, bottom: timeAxis, right: percentMargin,
		Description: describe(title+": cumulative curves of the first attempt and of the later attempts.", all),
		legend:      []legendEntry{{text: "later attempts (solid, in the mesh's colour)", line: &laterLine}},
	}
	if len(all) > len(laters) {
		f.legend = append(f.legend, legendEntry{text: "first attempt", line: &firstLine})
	}
	for i, t := range laters {
		p := newTimePlot(over)
		p.Title.Text = fit(p.Title.TextStyle, t.name, mostTitle)
		p.Y.Label.Text = "answered, %"
		p.Y.Min, p.Y.Max = 0, 100
		p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 50, Label: "50"}, {Value: 100, Label: "100"}}
		if err := addLine(p, cumulative(t, over, 100), t.look.solid(2)); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		if firsts[i].total > 0 {
			if err := addLine(p, cumulative(firsts[i], over, 100), firstLine); err != nil {
				return nil, fmt.Errorf("draw %q: %w", title, err)
			}
		}
		f.panels = append(f.panels, panel{plot: p, height: 3.4 * vg.Centimeter})
	}
	return f, nil
}
