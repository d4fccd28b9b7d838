package export

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
	"meshlab.dev/meshlab/topo"
)

// run is a result document, its measurements side by side.
type run struct {
	*scenarios.Result
	labs   map[string]*topo.Lab // by name; those that could be read
	series []series
	failed bool // a request failed
}

// loop is how the load of a series was made.
type loop string

const (
	closedLoop loop = "closed"
	openLoop   loop = "open"
	rampLoop   loop = "ramp" // open as well, each point at a rate of its own
)

// series is what one mesh, or variant, did at one load: a cell, one side of a
// duet, or a ramp.
type series struct {
	key         string // unique in the run, and the same each time: "cell-3", "duet-1-2"
	loop        loop
	method      scenarios.Method // of a duet
	scenario    string
	request     string // empty: a mix, the whole scenario
	lab         string
	pods        scenarios.Pods
	connections int
	arrivals    scenarios.Arrivals
	rate        float64 // per second, of a duet
	mesh        string
	variant     string // the mesh, or the name that tells it from others of that mesh
	build       string
	delay       time.Duration
	points      []point
}

// point is one attempt, one side of a trial, or one step of a ramp.
type point struct {
	number   int // from 1
	started  time.Time
	seconds  float64
	rate     float64 // offered per second; 0: closed loop
	requests int
	errors   int
	kinds    map[string]int
	latency  *scenarios.Distribution // nil: no success
	service  *scenarios.Distribution // nil: the same as latency, or no success
	costs    []scenarios.Cost
	trial    *scenarios.Trial // of a duet
}

// name is what was asked for: a request, or the mix of a scenario.
func (s series) name() string {
	if s.request != "" {
		return s.request
	}
	return s.scenario
}

// named tells whether the variant says more than the mesh.
func (s series) named() bool { return s.variant != s.mesh }

// clock is where the latencies of a series count from.
func (s series) clock() string {
	if s.loop == closedLoop {
		return "sent"
	}
	return "intended"
}

// first tells whether a point is the first attempt of a closed loop, which
// every figure keeps apart: the caches were cold.
func (s series) first(p point) bool { return s.loop == closedLoop && p.number == 1 }

func (p point) successes() int { return p.requests - p.errors }

// achieved is successes per second.
func (p point) achieved() float64 {
	if p.seconds <= 0 {
		return 0
	}
	return float64(p.successes()) / p.seconds
}

func flatten(results []*scenarios.Result) ([]run, error) {
	if len(results) == 0 {
		return nil, fmt.Errorf("%w: no result", ErrNothing)
	}
	var all []run
	for _, r := range results {
		out := run{Result: r, labs: parseLabs(r.Labs)}
		out.addCells()
		out.addDuets()
		out.addRamps()
		if len(out.series) == 0 {
			return nil, fmt.Errorf("result %s: %w: it has no cells, duets or ramps", r.ID, ErrNothing)
		}
		for _, s := range out.series {
			out.failed = out.failed || slices.ContainsFunc(s.points, func(p point) bool { return p.errors > 0 })
		}
		all = append(all, out)
	}
	return all, nil
}

func (r *run) addCells() {
	for i, c := range r.Cells {
		s := series{
			key: "cell-" + strconv.Itoa(i+1), loop: closedLoop, request: c.Request, lab: r.labOf(c.Pods),
			pods: c.Pods, connections: c.Connections, mesh: c.Mesh, variant: c.Mesh,
		}
		for j, a := range c.Attempts {
			p := point{
				number: j + 1, started: a.Started, seconds: a.Seconds,
				requests: a.Requests, errors: a.Errors, kinds: a.ErrorKind,
			}
			if p.successes() > 0 {
				p.latency = &scenarios.Distribution{Min: a.Min, Avg: a.Avg, P50: a.P50, P90: a.P90, P99: a.P99, Max: a.Max, HDR: a.HDR}
			}
			s.points = append(s.points, p)
		}
		r.series = append(r.series, s)
	}
}

// labOf returns the name of the lab in which cells of these pods ran; empty
// when the document has several.
func (r *run) labOf(pods scenarios.Pods) string {
	name := ""
	for _, l := range r.Labs {
		if l.Pods == pods {
			if name != "" && name != l.Name {
				return ""
			}
			name = l.Name
		}
	}
	return name
}

func (r *run) addDuets() {
	for i, d := range r.Duets {
		for side, v := range d.Variants {
			s := series{
				key: fmt.Sprintf("duet-%d-%d", i+1, side+1), loop: openLoop, method: d.Method, scenario: d.Scenario, request: d.Request,
				lab: d.Lab, pods: d.Pods, connections: d.Load.Connections, arrivals: d.Load.Arrivals, rate: d.Load.Rate,
				mesh: v.Mesh, variant: v.Name, build: v.Build, delay: v.Delay,
			}
			if v.Lab != "" {
				s.lab = v.Lab
			}
			if v.Script != "" {
				s.scenario = v.Script
			}
			for j := range d.Trials {
				if p, active := pointOf(d, j, side); active {
					s.points = append(s.points, p)
				}
			}
			if len(s.points) > 0 {
				r.series = append(r.series, s)
			}
		}
	}
}

// pointOf returns one side of a trial, and false when it was not active.
func pointOf(d scenarios.Duet, trial, side int) (point, bool) {
	t := &d.Trials[trial]
	if side >= len(t.Sides) || t.Sides[side].Requests == 0 {
		return point{}, false
	}
	p := outcomePoint(t.Sides[side])
	p.number, p.started, p.seconds, p.rate, p.trial = trial+1, t.Started, t.Seconds, d.Load.Rate, t
	if d.Method == scenarios.ABBA {
		// Its sides ran one after the other, and the time is of all of them.
		active := 0
		for _, s := range t.Sides {
			if s.Requests > 0 {
				active++
			}
		}
		p.seconds /= float64(active)
	}
	if side < len(t.Costs) {
		p.costs = t.Costs[side]
	}
	return p, true
}

func outcomePoint(o scenarios.SideOutcome) point {
	p := point{requests: o.Requests, errors: o.Errors, kinds: o.ErrorKind}
	if p.successes() > 0 {
		p.latency, p.service = &o.Latency, &o.Service
	}
	return p
}

func (r *run) addRamps() {
	for i, ramp := range r.Ramps {
		s := series{
			key: "ramp-" + strconv.Itoa(i+1), loop: rampLoop, scenario: ramp.Scenario,
			lab: ramp.Lab, pods: ramp.Pods, mesh: ramp.Mesh, variant: ramp.Mesh,
		}
		for j, step := range ramp.Steps {
			p := outcomePoint(step.Outcome)
			p.number, p.rate = j+1, step.Rate
			if step.Achieved > 0 {
				p.seconds = float64(p.successes()) / step.Achieved
			}
			s.points = append(s.points, p)
		}
		if len(s.points) > 0 {
			r.series = append(r.series, s)
		}
	}
}

// merged is several distributions as one.
type merged struct {
	count    int     // successes
	sum      float64 // milliseconds
	min, max float64 // milliseconds, exact
	bars     []bar
	at       func(percentile float64) float64 // milliseconds, to 0.1 %
}

// bar counts values that the histogram does not tell apart.
type bar struct {
	from, to float64 // milliseconds
	count    int
}

// merge adds up the distributions of points; ok is false when none has a value.
func merge(points []point, of func(point) *scenarios.Distribution) (m merged, ok bool, err error) {
	var histograms []string
	for _, p := range points {
		d := of(p)
		if d == nil {
			continue
		}
		n := p.successes()
		if m.count == 0 || d.Min < m.min {
			m.min = d.Min
		}
		m.max = max(m.max, d.Max)
		m.count += n
		m.sum += d.Avg * float64(n)
		histograms = append(histograms, d.HDR)
	}
	if m.count == 0 {
		return m, false, nil
	}
	h, err := stats.MergeHDR(histograms...)
	if err != nil {
		return m, false, err
	}
	for _, b := range h.Distribution() {
		if b.Count > 0 {
			m.bars = append(m.bars, bar{float64(b.From) / 1000, float64(b.To) / 1000, int(b.Count)})
		}
	}
	m.at = func(percentile float64) float64 {
		return min(max(float64(h.ValueAtPercentile(percentile))/1000, m.min), m.max)
	}
	return m, true, nil
}

func latencyOf(p point) *scenarios.Distribution { return p.latency }
func serviceOf(p point) *scenarios.Distribution { return p.service }

// word makes a part of a name: letters, digits, and what may stand in s
// between them; all else becomes one dash.
func word(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.'
	}), "-")
}

// number writes ten digits: more than any figure of a document is worth, and
// few enough to hide what the conversion of units leaves behind.
func number(v float64) string { return strconv.FormatFloat(tenDigits(v), 'f', -1, 64) }

func tenDigits(v float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 10, 64), 64)
	if err != nil {
		return v // infinite
	}
	return rounded
}
