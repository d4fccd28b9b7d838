package reports

import (
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios/stats"
)

// summary says in one or two sentences what the run found. The figures are
// medians of the points' p50 ratios; points at which either side has errors
// or no data have no part in them, and are said to have none.
func (s *section) summary() string {
	total := len(s.Points)
	if total == 0 {
		return s.beside()
	}
	faster := s.ratios(cells.Connect, cells.OVS)
	floor := s.ratios(cells.OVS, cells.Direct)

	var parts []string
	if len(faster) > 0 {
		times, among := medianText(faster)
		parts = append(parts, fmt.Sprintf("answered the median request %s times as fast as Consul Connect%s", times, among))
	}
	if len(floor) > 0 {
		times, among := medianText(floor)
		parts = append(parts, fmt.Sprintf("took %s times the time of plain switching%s", times, among))
	}
	text := "The run allows no comparison of the mesh in the switches with another one."
	if len(parts) > 0 {
		n := max(len(faster), len(floor))
		over := cellsText(n, total)
		if n > 1 {
			over += ", at their median"
		}
		text = fmt.Sprintf("Over %s, the mesh in the switches %s.", over, strings.Join(parts, " and "))
		if len(faster) > 0 && len(floor) > 0 && len(faster) != len(floor) {
			text += fmt.Sprintf(" Consul Connect could be compared at %d of them, plain switching at %d.", len(faster), len(floor))
		}
	}
	return text + s.caveat()
}

// beside says what a run found that has no cells: the loads that its ramps came
// to, and that waterfalls compare nothing.
func (s *section) beside() string {
	var said []string
	for _, c := range s.climbs {
		said = append(said, c.Title()+": "+c.Summary())
	}
	if len(s.falls) > 0 {
		said = append(said, fmt.Sprintf("The run watched where the time of %s goes, one at a time: that is no comparison of meshes under load.", format.Plural(len(s.falls), "request")))
	}
	if len(said) == 0 && len(s.duets) == 0 {
		return "The run measured nothing."
	}
	return strings.Join(said, " ")
}

// caveat counts what failed, or says that nothing did.
func (s *section) caveat() string {
	requests, errors, points := 0, 0, 0
	for _, p := range s.Points {
		if len(p.failed(s.Meshes)) > 0 {
			points++
		}
	}
	for _, c := range s.Result.Cells {
		for _, a := range c.Attempts {
			requests += a.Requests
			errors += a.Errors
		}
	}
	if errors == 0 {
		return fmt.Sprintf(" None of the %s requests failed.", format.Grouped(requests))
	}
	return fmt.Sprintf(" %s of the %s requests failed, in %s; what failed is shown as errors, not as a latency.",
		format.Grouped(errors), format.Grouped(requests), cellsText(points, len(s.Points)))
}

func cellsText(n, total int) string {
	if n == total {
		return format.Plural(n, "cell")
	}
	return fmt.Sprintf("%d of %s", n, format.Plural(total, "cell"))
}

// ratios returns the p50 ratio of a over b at every point that has both.
func (s *section) ratios(a, b string) []float64 {
	var rs []float64
	for _, p := range s.Points {
		if r := p.ratio(a, b); r.OK {
			rs = append(rs, r.Value)
		}
	}
	return rs
}

// medianText prints the median of ratios, and what they range over if that is
// not the same.
func medianText(rs []float64) (median, among string) {
	low, high := slices.Min(rs), slices.Max(rs)
	if format.Times(low) == format.Times(high) {
		return format.Times(stats.Median(rs)), ""
	}
	s := format.TimesAlike(stats.Median(rs), low, high)
	return s[0], fmt.Sprintf(" (range %s–%s)", s[1], s[2])
}

// nearCeiling lists the cells whose rate is more than half of what the
// generator reached against a bare server with as many connections.
func (s *section) nearCeiling() []string {
	ceiling := make(map[int]float64)
	for _, c := range s.Result.Ceiling {
		ceiling[c.Connections] = c.Attempt.RequestsPerSecond
	}
	var near []string
	for _, p := range s.Points {
		for _, mesh := range s.Meshes {
			m := p.later(mesh)
			if top := ceiling[p.Connections]; m.OK() && top > 0 && m.PerSecond > top/2 {
				near = append(near, fmt.Sprintf("%s under %s: %s requests/s, %.0f %% of the ceiling",
					p.title(), cells.Label(mesh), format.PerSecond(m.PerSecond), 100*m.PerSecond/top))
			}
		}
	}
	return near
}
