package attribution

import (
	"cmp"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// summarize makes one row of spans of those that requests have in common. All
// traces have the same course; there may be none.
//
// Starts and lengths are means over the middle half of the requests, by what a
// whole request took. Means, so that spans which follow one another without
// gaps in each request do so here, and add up; medians of parts do not add up
// to the median of the whole. The middle half, so that slow requests, which a
// mean would follow, do not count.
func summarize(traces []trace) []scenarios.Span {
	if len(traces) == 0 {
		return nil
	}
	traces = slices.Clone(traces)
	slices.SortStableFunc(traces, func(a, b trace) int { return cmp.Compare(a.took(), b.took()) })
	quarter := len(traces) / 4
	middle := traces[quarter : len(traces)-quarter]
	spans := make([]scenarios.Span, len(traces[0].steps))
	for i := range spans {
		var start, length, within float64
		for _, t := range middle {
			of := t.steps[i]
			start += ms(of.start - t.steps[0].start)
			length += ms(of.end - of.start)
			within += ms(of.within)
		}
		var lengths []float64
		var where []string
		for _, t := range traces {
			of := t.steps[i]
			lengths = append(lengths, ms(of.end-of.start))
			if !slices.Contains(where, of.Where) {
				where = append(where, of.Where)
			}
		}
		slices.Sort(where)
		slices.Sort(lengths)
		n := float64(len(middle))
		spans[i] = traces[0].steps[i].Span
		spans[i].Where = strings.Join(where, " or ")
		spans[i].Start, spans[i].Duration, spans[i].Within = start/n, length/n, within/n
		spans[i].P95 = stats.Percentile(lengths, 95)
	}
	slices.SortStableFunc(spans, func(a, b scenarios.Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Depth, b.Depth))
	})
	return spans
}

// took is how long the whole request took: the spans of depth 0 together.
func (t trace) took() (ns int64) {
	for _, s := range t.steps {
		if s.Depth == 0 {
			ns += s.end - s.start
		}
	}
	return ns
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
