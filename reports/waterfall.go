package reports

import (
	"fmt"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
)

// fall is one request in one lab, hop by hop under each mesh.
type fall struct {
	name   string // of its figure's files
	twin   bool   // another one differs in the lab alone
	meshes []scenarios.Waterfall
}

func falls(all []scenarios.Waterfall, prefix string) []fall {
	type key struct {
		request, lab string
		pods         scenarios.Pods
	}
	at := map[key]int{}
	var out []fall
	for _, w := range all {
		k := key{w.Request, w.Lab, w.Pods}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, fall{name: fmt.Sprintf("%swaterfall-%d", prefix, i+1)})
		}
		out[i].meshes = append(out[i].meshes, w)
	}
	count := map[string]int{}
	for _, f := range out {
		count[f.Title()]++
	}
	for i := range out {
		out[i].twin = count[out[i].Title()] > 1
	}
	return out
}

func (f fall) Title() string {
	title := fmt.Sprintf("%s, %s", sentence.Request(f.meshes[0].Request), cells.PodsText(f.meshes[0].Pods))
	if f.twin {
		title += ", lab " + f.meshes[0].Lab
	}
	return title
}

// FigureName is that of its files.
func (f fall) FigureName() string { return f.name }

func (f fall) figure() (*figures.Figure, error) {
	var lanes []figures.Lane
	for _, w := range f.meshes {
		lane := figures.Lane{Name: cells.Label(w.Mesh)}
		for _, s := range w.Spans {
			lane.Spans = append(lane.Spans, figures.Span{Kind: string(s.Kind), Label: spanLabel(s), Depth: s.Depth, Start: s.Start, Length: s.Duration})
		}
		if len(lane.Spans) > 0 {
			lanes = append(lanes, lane)
		}
	}
	return figures.Waterfall("Where the time goes: "+f.Title(), lanes)
}

// spanLabel names a span beside its bar.
func spanLabel(s scenarios.Span) string {
	if s.What == s.Where {
		return s.Where
	}
	return s.Where + ": " + s.What
}

// ownTime is a span's length without the calls within it, which have spans of
// their own: only so do all spans add up to the request.
func ownTime(s scenarios.Span) float64 { return max(0, s.Duration-s.Within) }

// Kinds has what each kind of span takes, by mesh.
func (f fall) Kinds() table {
	t := table{
		Caption: "Where the time of one request goes, milliseconds: the time of the spans of a kind without the calls within them, means over the middle half of the requests, and the p50 of the whole request with and without the taps.",
		Columns: []column{{"", "mesh"}, {"", "client"}, {"", "switches"}, {"", "proxies"}, {"", "services"}, {"", "together"},
			{"whole request", "p50, tapped"}, {"whole request", "p50, plain"}, {"whole request", "taps cost"}, {"", "requests"}, {"", "not put together"}},
	}
	for _, w := range f.meshes {
		sum, all := map[scenarios.SpanKind]float64{}, 0.0
		for _, s := range w.Spans {
			sum[s.Kind] += ownTime(s)
			all += ownTime(s)
		}
		row := []entry{head(cells.Label(w.Mesh))}
		for _, k := range []scenarios.SpanKind{scenarios.SpanClient, scenarios.SpanSwitch, scenarios.SpanProxy, scenarios.SpanService} {
			row = append(row, text(format.Milliseconds(sum[k])))
		}
		cost := format.Missing
		if w.Plain > 0 && w.Tapped > 0 {
			cost = fmt.Sprintf("%+.1f %%", 100*(w.Tapped/w.Plain-1))
		}
		t.Rows = append(t.Rows, append(row, text(format.Milliseconds(all)), text(format.Milliseconds(w.Tapped)), text(format.Milliseconds(w.Plain)), text(cost),
			text(format.Grouped(w.Requests)), text(format.Grouped(w.Lost))))
	}
	return t
}

// SpanTable has a line for each span.
func (f fall) SpanTable() table {
	t := table{
		Caption: "The spans in the order of their starts, milliseconds since the request was sent: means over the middle half of the requests, and the 95th percentile of the length over all. A span holds the calls that are made in it; its own time is what is left without them.",
		Columns: []column{{"", "mesh"}, {"", "where"}, {"", "what"}, {"", "kind"}, {"", "start"}, {"", "length"}, {"", "its own"}, {"", "p95 of the length"}},
	}
	for _, w := range f.meshes {
		for _, s := range w.Spans {
			own := format.Missing // nothing within it: its length
			if s.Within > 0 {
				own = format.Milliseconds(ownTime(s))
			}
			t.Rows = append(t.Rows, []entry{head(cells.Label(w.Mesh)), head(s.Where), head(s.What), head(string(s.Kind)),
				text(format.Milliseconds(s.Start)), text(format.Milliseconds(s.Duration)), text(own), text(format.Milliseconds(s.P95))})
		}
	}
	return t
}
