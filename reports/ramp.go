package reports

import (
	"fmt"
	"strconv"
	"time"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
)

// climb is the ramps of one scenario in one lab with one objective: a line
// for each mesh.
type climb struct {
	name  string // of its figure's files
	ramps []scenarios.Ramp
}

func climbs(ramps []scenarios.Ramp, prefix string) []climb {
	type key struct {
		scenario, lab string
		pods          scenarios.Pods
		objective     scenarios.Objective
	}
	at := map[key]int{}
	var out []climb
	for _, r := range ramps {
		k := key{r.Scenario, r.Lab, r.Pods, r.Objective}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, climb{name: fmt.Sprintf("%sramp-%d", prefix, i+1)})
		}
		out[i].ramps = append(out[i].ramps, r)
	}
	return out
}

// Title names the load, for a lab has a ramp for each of its requests.
func (c climb) Title() string {
	lab := fmt.Sprintf("lab %s, %s", c.ramps[0].Lab, cells.PodsText(c.ramps[0].Pods))
	if load := c.ramps[0].Scenario; load != "" {
		return sentence.Request(load) + " in " + lab
	}
	return lab
}

// Objective says what the search kept.
func (c climb) Objective() string {
	o := c.ramps[0].Objective
	text := fmt.Sprintf("%s below %s ms", percentile(o.Percentile), strconv.FormatFloat(float64(o.Below)/float64(time.Millisecond), 'g', -1, 64))
	if o.Errors > 0 {
		text += fmt.Sprintf(", with at most %s of requests failed", sentence.Percent(o.Errors))
	}
	return text
}

// percentile names one: p99, p99.9.
func percentile(p float64) string { return "p" + strconv.FormatFloat(p, 'g', -1, 64) }

// FigureName is that of its files.
func (c climb) FigureName() string { return c.name }

// Summary says what each mesh bears.
func (c climb) Summary() string {
	text := fmt.Sprintf("The highest load that keeps %s: ", c.Objective())
	for i, r := range c.ramps {
		if i > 0 {
			text += "; "
		}
		if r.Highest > 0 {
			text += fmt.Sprintf("%s %s requests/s", cells.Label(r.Mesh), format.PerSecond(r.Highest))
		} else {
			text += cells.Label(r.Mesh) + " none of those tried"
		}
	}
	return text + "."
}

func (c climb) figure() (*figures.Figure, error) {
	o := c.ramps[0].Objective
	var lines []figures.Climb
	for i, r := range c.ramps {
		line := figures.Climb{Name: cells.Label(r.Mesh), Look: figures.LookOf(r.Mesh, i), Highest: r.Highest}
		for _, s := range r.Steps {
			if ms := stepLatency(s, o.Percentile); ms > 0 {
				line.Steps = append(line.Steps, figures.Step{Rate: s.Rate, Latency: ms, Kept: s.Kept})
			}
		}
		if len(line.Steps) > 0 {
			lines = append(lines, line)
		}
	}
	return figures.Ramp("Load and latency: "+c.Title(), figures.Objective{Percentile: o.Percentile, Below: float64(o.Below) / float64(time.Millisecond)}, lines)
}

// endText says what a search ended at.
func endText(e scenarios.RampEnd) string {
	switch e {
	case scenarios.EndObjective:
		return "the objective"
	case scenarios.EndGenerator:
		return "the generator: it was late, and the mesh may do more"
	case scenarios.EndMaximum:
		return "the highest rate to be tried, which kept it"
	}
	return format.Missing
}

// stepLatency is a step's latency at a percentile in milliseconds; 0 when it
// has none.
func stepLatency(s scenarios.RampStep, percentile float64) float64 {
	h, err := merged([]string{s.Outcome.Latency.HDR})
	if err != nil || h == nil {
		return 0
	}
	return float64(h.ValueAtPercentile(percentile)) / 1000
}

// Table has the result of each mesh.
func (c climb) Table() table {
	t := table{
		Caption: fmt.Sprintf("Highest load that keeps %s, by mesh, and the lowest one tried that does not.", c.Objective()),
		Columns: []column{{"", "mesh"}, {"", "requests/s"}, {"", "too much, requests/s"}, {"", "trials"}, {"", "the search ended at"}},
	}
	for _, r := range c.ramps {
		highest, over := "none of those tried", format.Missing
		if r.Highest > 0 {
			highest = format.PerSecond(r.Highest)
		}
		least := 0.0
		for _, s := range r.Steps {
			if !s.Kept && s.Rate > r.Highest && (least == 0 || s.Rate < least) {
				least = s.Rate
			}
		}
		if least > 0 {
			over = format.PerSecond(least)
		}
		t.Rows = append(t.Rows, []entry{head(cells.Label(r.Mesh)), text(highest), text(over), text(format.Grouped(len(r.Steps))), text(endText(r.End))})
	}
	return t
}

// Steps has a line for each rate that was tried.
func (c climb) Steps() table {
	o := c.ramps[0].Objective
	t := table{
		Caption: "Rates in the order they were tried. Latencies in milliseconds, from the intended start.",
		Columns: []column{{"", "mesh"}, {"requests/s", "offered"}, {"requests/s", "achieved"}, {"", "p50"}, {"", percentile(o.Percentile)}, {"", "failed"}, {"", "generator late, p99"}, {"", "objective"}},
	}
	for _, r := range c.ramps {
		for _, s := range r.Steps {
			kept := text("kept")
			if !s.Kept {
				kept = failure("missed", 1)
			}
			p50, p := format.Missing, format.Missing
			if ms := stepLatency(s, o.Percentile); ms > 0 {
				p50, p = format.Milliseconds(s.Outcome.Latency.P50), format.Milliseconds(ms)
			}
			t.Rows = append(t.Rows, []entry{head(cells.Label(r.Mesh)), text(format.PerSecond(s.Rate)), text(format.PerSecond(s.Achieved)), text(p50), text(p), errorCount(s.Outcome.Errors), text(format.Milliseconds(s.Late)), kept})
		}
	}
	return t
}
