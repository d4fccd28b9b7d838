package figures

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// CourseSeries is how one variant answered over the seconds of a trial.
type CourseSeries struct {
	Name    string
	Look    Look
	Windows []CourseWindow // ascending, and none over another
}

// CourseWindow is a stretch of a trial, in seconds since its start.
type CourseWindow struct {
	Start, End float64
	P99        float64 // milliseconds, of the answers; 0: there were none
	Failed     float64 // share of the requests, 0 to 1
}

// Course draws what happened within a trial: a line for each fault, a panel of
// p99 and one of the share of requests that failed, all over the trial's
// seconds. Each fault is a band through the panels. It ends with the last
// window, whenever faults end.
func Course(title string, s []CourseSeries, faults []FaultBand) (*Figure, error) {
	seconds, most, answered := 0.0, 0.0, false
	for _, one := range s {
		for i, w := range one.Windows {
			if err := w.check(); err != nil {
				return nil, fmt.Errorf("draw %q: %s: %w", title, one.Name, err)
			}
			if i > 0 && w.Start < one.Windows[i-1].End-instant {
				return nil, fmt.Errorf("draw %q: %s: a window from %v s on, after one to %v s", title, one.Name, w.Start, one.Windows[i-1].End)
			}
			seconds, most, answered = max(seconds, w.End), max(most, w.Failed), answered || w.P99 > 0
		}
	}
	if seconds == 0 {
		return nil, fmt.Errorf("draw %q: %w", title, ErrNothing)
	}
	for _, b := range faults {
		if err := b.check(); err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
	}
	f := &Figure{Title: title, bottom: "seconds of the trial, by when a request was to start", right: 0.5 * vg.Centimeter}
	add := func(p *plot.Plot, height vg.Length) {
		p.X.Min, p.X.Max = 0, seconds
		f.panels = append(f.panels, panel{plot: p, height: height})
	}
	if len(faults) > 0 {
		add(faultLines(faults), vg.Length(len(faults))*faultLine+4)
	}
	if answered {
		p := coursePlot(faults)
		p.Y.Label.Text = "p99, ms"
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, logTicks{}
		low, high, err := addCourses(p, s, func(w CourseWindow) (float64, bool) { return w.P99, w.P99 > 0 })
		if err != nil {
			return nil, fmt.Errorf("draw %q: %w", title, err)
		}
		p.Y.Min, p.Y.Max = low/1.3, high*1.3
		add(p, 5*vg.Centimeter)
	}
	p := coursePlot(faults)
	p.Y.Label.Text = "failed, %"
	if _, _, err := addCourses(p, s, func(w CourseWindow) (float64, bool) { return 100 * w.Failed, true }); err != nil {
		return nil, fmt.Errorf("draw %q: %w", title, err)
	}
	top := max(100*most, 1)
	p.Y.Min, p.Y.Max = -0.05*top, 1.08*top // a line at 0 is not hidden by the axis
	p.Y.Tick.Marker = fromZero{}
	add(p, 4*vg.Centimeter)
	for _, one := range s {
		line, m := one.Look.line(1.4), one.Look.mark(courseMark(one))
		f.legend = append(f.legend, legendEntry{text: one.Name, line: &line, mark: &m})
	}
	said := title + ": p99 and the share of failed requests over the seconds of a trial."
	for _, b := range faults {
		said += fmt.Sprintf(" %s.", b)
	}
	f.Description = describe(said, s)
	return f, nil
}

// instant is a difference of times that is none, in seconds.
const instant = 1e-9

func (w CourseWindow) check() error {
	for _, v := range []float64{w.Start, w.P99, w.Failed} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("window %+v has a value below 0, or without an end", w)
		}
	}
	if !(w.End > w.Start) || math.IsInf(w.End, 0) || w.Failed > 1 {
		return fmt.Errorf("window %+v: want an end after its start, and a share of 1 at most", w)
	}
	return nil
}

// String tells a series in a sentence.
func (s CourseSeries) String() string {
	var p99 []float64
	worst := CourseWindow{}
	for _, w := range s.Windows {
		p99 = append(p99, w.P99)
		if w.Failed > worst.Failed {
			worst = w
		}
	}
	if worst.Failed == 0 {
		return fmt.Sprintf("%s: p99 %s, none failed", clean(s.Name), fromTo(p99))
	}
	return fmt.Sprintf("%s: p99 %s, at most %.3g %% failed, from %.3g s to %.3g s", clean(s.Name), fromTo(p99), 100*worst.Failed, worst.Start, worst.End)
}

// coursePlot returns a plot over the seconds of a trial with the bands of the
// faults behind whatever is added.
func coursePlot(faults []FaultBand) *plot.Plot {
	p := newPlot()
	p.X.Tick.Marker = wideTicks{}
	for _, b := range faults {
		p.Add(paint(b.shade))
	}
	return p
}

// addCourses draws a staircase for each series, with a mark in the middle of
// each window. It returns the least and the greatest value.
func addCourses(p *plot.Plot, s []CourseSeries, of func(CourseWindow) (float64, bool)) (low, high float64, err error) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, one := range s {
		var marks plotter.XYs
		for _, run := range stairs(one.Windows, of) {
			for i := 0; i < len(run); i += 2 {
				low, high = min(low, run[i].Y), max(high, run[i].Y)
				marks = append(marks, plotter.XY{X: (run[i].X + run[i+1].X) / 2, Y: run[i].Y})
			}
			if err := addLine(p, run, one.Look.line(1.4)); err != nil {
				return 0, 0, err
			}
		}
		p.Add(dots(marks, one.Look.mark(courseMark(one))))
	}
	return low, high, nil
}

// stairs are lines with two points for each window, its start and its end. A
// line ends where a window is missing or has no value.
func stairs(windows []CourseWindow, of func(CourseWindow) (float64, bool)) []plotter.XYs {
	var runs []plotter.XYs
	last := math.Inf(-1)
	for _, w := range windows {
		v, ok := of(w)
		if !ok {
			continue
		}
		if w.Start > last+instant {
			runs = append(runs, nil)
		}
		run := &runs[len(runs)-1]
		*run = append(*run, plotter.XY{X: w.Start, Y: v}, plotter.XY{X: w.End, Y: v})
		last = w.End
	}
	return runs
}

// courseMark is the size of a series' marks: the smaller, the more there are.
func courseMark(s CourseSeries) float64 {
	return min(2.6, max(1, 100/float64(max(1, len(s.Windows)))))
}

// fromZero is evenTicks without those below 0.
type fromZero struct{}

// Ticks returns the marks.
func (fromZero) Ticks(low, high float64) []plot.Tick {
	return slices.DeleteFunc(evenTicks{}.Ticks(low, high), func(t plot.Tick) bool { return t.Value < 0 })
}
