package reports

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// stretch is a window of the trials of a duet, all of them together.
type stretch struct {
	start, end float64 // seconds since a trial's start
	sides      []stretchSide
}

// stretchSide is what one variant did in it.
type stretchSide struct {
	requests, failed int
	p99              float64 // milliseconds, of the answers: median over the trials; 0 without any
}

func (s stretchSide) share() float64 { return float64(s.failed) / float64(max(1, s.requests)) }

// HasFaults tells whether something was broken on purpose in any trial.
func (d *duet) HasFaults() bool {
	return slices.ContainsFunc(d.Trials, func(t scenarios.Trial) bool { return len(t.Faults) > 0 })
}

// HasFaults tells whether something was broken on purpose in any trial.
func (v view) HasFaults() bool {
	return slices.ContainsFunc(v.duets, func(d *duet) bool { return d.HasFaults() })
}

// stretches puts the windows of all trials together that begin at the same
// second.
func (d *duet) stretches() []stretch {
	var starts []float64
	longest := 0.001
	for _, t := range d.Trials {
		longest = max(longest, t.Seconds)
		for _, o := range t.Sides {
			for _, w := range o.Windows {
				starts = append(starts, w.At)
			}
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	all := make([]stretch, len(starts))
	for i, start := range starts {
		end := start + longest
		switch { // windows are of one width, which results do not hold
		case i+1 < len(starts):
			end = starts[i+1]
		case i > 0:
			end = start + start - starts[i-1]
		}
		all[i] = stretch{start: start, end: end, sides: make([]stretchSide, len(d.sides))}
	}
	p99 := make(map[*stretchSide][]float64)
	for _, t := range d.Trials {
		for j, o := range t.Sides[:min(len(t.Sides), len(d.sides))] {
			for _, w := range o.Windows {
				i, _ := slices.BinarySearch(starts, w.At)
				s := &all[i].sides[j]
				s.requests, s.failed = s.requests+w.N+w.Errors, s.failed+w.Errors
				if w.N > 0 {
					p99[s] = append(p99[s], w.P99)
				}
			}
		}
	}
	for s, ms := range p99 {
		s.p99 = stats.Median(ms)
	}
	return all
}

// course draws what happened within a trial; there is nothing to draw when
// nothing was broken in it.
func (d *duet) course(title string) (*figures.Figure, error) {
	if !d.HasFaults() {
		return nil, fmt.Errorf("draw %q: %w", title, figures.ErrNothing)
	}
	all := d.stretches()
	var series []figures.CourseSeries
	for i, side := range d.sides {
		one := figures.CourseSeries{Name: side.label, Look: side.look}
		for _, s := range all {
			if o := s.sides[i]; o.requests > 0 {
				one.Windows = append(one.Windows, figures.CourseWindow{Start: s.start, End: s.end, P99: o.p99, Failed: o.share()})
			}
		}
		if len(one.Windows) > 0 {
			series = append(series, one)
		}
	}
	var bands []figures.FaultBand
	for i, f := range d.Faults {
		if s, ok := sentence.SpanOf(d.Duet, i); ok {
			bands = append(bands, figures.FaultBand{What: f.Past(), Began: s.Began, Ended: s.Ended, First: s.First, Last: s.Last})
		}
	}
	return figures.Course(title, series, bands)
}

// CourseCaption says what the figure of the course shows.
func (d *duet) CourseCaption() string {
	text := "Within a trial"
	if all := d.stretches(); len(all) > 0 {
		width := all[0].end - all[0].start
		text += fmt.Sprintf(", in windows of %s s", format.Significant(width, 2))
		if n := d.Load.Rate * width; n < 100 {
			text += fmt.Sprintf(" with some %.0f requests of each variant, so that p99 is about the slowest answer", n)
		}
	}
	return text + ": p99 of the answers, median over the trials, and the share of the requests of all trials that failed. " +
		"Bands are what was broken, from the median of its beginnings to that of its ends; thin lines reach to the earliest and the latest."
}

// FaultTable has a line for each fault under each variant.
func (d *duet) FaultTable() table {
	t := table{
		Caption: "What was broken in each trial, and when, in seconds since the trial's start: medians over the trials, and in brackets the earliest and the latest. Failed are requests that were to start in the windows in which it was on.",
		Columns: []column{{"", "what"}, {"", "variant"}, {"", "trials"}, {"", "began"}, {"", "ended"}, {"while it was on", "requests"}, {"while it was on", "failed"}},
	}
	all := d.stretches()
	for i, f := range d.Faults {
		for v, side := range d.sides {
			var began, ended []float64
			for _, tr := range d.Trials {
				for _, on := range tr.Faults {
					if on.Fault == i && on.Variant == v {
						began, ended = append(began, on.Began), append(ended, on.Ended)
					}
				}
			}
			if len(began) == 0 {
				continue
			}
			requests, failed := 0, 0
			for _, s := range all {
				if s.start < stats.Median(ended) && s.end > stats.Median(began) {
					requests, failed = requests+s.sides[v].requests, failed+s.sides[v].failed
				}
			}
			t.Rows = append(t.Rows, []entry{
				head(f.Past()), head(side.label), text(format.Grouped(len(began))), text(seconds(began)), text(seconds(ended)),
				text(format.Grouped(requests)), errorCount(failed),
			})
		}
	}
	return t
}

// seconds are a median and a range: "2.01 (2.00–2.04)".
func seconds(v []float64) string {
	middle := fmt.Sprintf("%.2f", stats.Median(v))
	low, high := fmt.Sprintf("%.2f", slices.Min(v)), fmt.Sprintf("%.2f", slices.Max(v))
	if low == high {
		return middle
	}
	return fmt.Sprintf("%s (%s–%s)", middle, low, high)
}

// CourseTable has a line for each window of the figure of the course.
func (d *duet) CourseTable() table {
	t := table{
		Caption: "The windows of the trials, by when a request was to start: p99 of the answers in milliseconds, median over the trials, and failed requests of all trials.",
		Columns: []column{{"", "seconds"}, {"", "what was broken"}},
	}
	for _, s := range d.sides {
		t.Columns = append(t.Columns, column{s.label, "p99"}, column{s.label, "requests"}, column{s.label, "failed"})
	}
	for _, s := range d.stretches() {
		var broken []string
		for i, f := range d.Faults {
			if on, ok := sentence.SpanOf(d.Duet, i); ok && s.start < on.Ended && s.end > on.Began {
				broken = append(broken, f.Past())
			}
		}
		row := []entry{head(fmt.Sprintf("%.1f–%.1f", s.start, s.end)), text(strings.Join(broken, "; "))}
		for _, o := range s.sides {
			p99 := format.Missing
			if o.p99 > 0 {
				p99 = format.Milliseconds(o.p99)
			}
			row = append(row, text(p99), text(format.Grouped(o.requests)), errorCount(o.failed))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
