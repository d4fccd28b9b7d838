package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
)

// comparison sets what was measured in several environments side by side. No
// figure of it is of two environments at once.
type comparison struct {
	Settings []*setting
	kinds    []ratioKind
	drawn    []string // names of the figures that were drawn
}

// newComparison returns nil when there is nothing to set side by side: with
// one setting, and no group of several documents.
func newComparison(results []*scenarios.Result) (*comparison, error) {
	all, err := settings(results)
	if err != nil {
		return nil, err
	}
	c := &comparison{Settings: all}
	for _, k := range kinds(all) {
		if len(c.rows(k)) > 0 {
			c.kinds = append(c.kinds, k)
		}
	}
	if len(c.kinds) == 0 {
		return nil, nil //nolint:nilnil // nothing
	}
	return c, nil
}

// ratioRow is one cell in every setting; nil where a setting has no ratio.
type ratioRow struct {
	cell  string
	point scenarios.Point
	found []*scenarios.Finding
}

func (r ratioRow) has() int {
	n := 0
	for _, f := range r.found {
		if f != nil {
			n++
		}
	}
	return n
}

// rows are the cells that two settings have, or that only documents of a group
// together have.
func (c *comparison) rows(k ratioKind) []ratioRow {
	var all []ratioRow
	at := map[string]int{}
	apart := map[string]bool{}
	for i, s := range c.Settings {
		for _, f := range s.of(k) {
			row, ok := at[f.Cell]
			if !ok {
				row = len(all)
				at[f.Cell] = row
				all = append(all, ratioRow{f.Cell, f.Point, make([]*scenarios.Finding, len(c.Settings))})
			}
			all[row].found[i] = &f
			apart[f.Cell] = apart[f.Cell] || f.Apart && s.results != nil
		}
	}
	return slices.DeleteFunc(all, func(r ratioRow) bool { return r.has() < 2 && !apart[r.cell] })
}

// Chapter is the title of all this.
func (c *comparison) Chapter() string {
	n := 0
	for _, s := range c.Settings {
		n += min(1, len(s.results))
	}
	switch {
	case n == len(c.Settings):
		return "Environments side by side"
	case n == 1:
		return "Beside the thesis"
	}
	return "Environments side by side, and the thesis"
}

// Notes say how to read the tables.
func (c *comparison) Notes() []string {
	notes := []string{"How fast a machine is divides out of a ratio, so ratios of two meshes are what environments can be compared by. No figure here is of two environments at once."}
	if c.hasApart() {
		notes = append(notes, apartMark+" The two meshes ran on different machines and took no turns: what these machines differ in, by kind or by the hour, is in the ratio too, and its interval, where there is one, does not know of it.")
	}
	return notes
}

func (c *comparison) hasApart() bool {
	for _, s := range c.Settings {
		if slices.ContainsFunc(s.findings, func(f scenarios.Finding) bool { return f.Apart }) {
			return true
		}
	}
	return false
}

// apartMark stands at ratios of different machines.
const apartMark = "†"

// About tells of the settings.
func (c *comparison) About() table { return about(c.Settings) }

// Ratios has a table for each kind of ratio.
func (c *comparison) Ratios() []table {
	var all []table
	for _, k := range c.kinds {
		t := table{Caption: k.title() + "." + intervalText(k), Columns: slices.Clone(loadColumns)}
		for _, s := range c.Settings {
			if len(s.of(k)) > 0 {
				t.Columns = append(t.Columns, column{"", s.name})
			}
		}
		for _, r := range c.rows(k) {
			row := []entry{head(r.point.Request), head(string(r.point.Pods)), head(fmt.Sprint(r.point.Connections))}
			for i, s := range c.Settings {
				if len(s.of(k)) > 0 {
					row = append(row, s.ratio(r, r.found[i], k))
				}
			}
			t.Rows = append(t.Rows, row)
		}
		all = append(all, t)
	}
	return all
}

func intervalText(k ratioKind) string {
	if k.model == scenarios.OpenLoop {
		return " In brackets the 95 % interval over pairs of trials."
	}
	return " The mean ratio over attempts that ran next to each other, in brackets its 95 % interval (Student's)."
}

// ratio shows a ratio, or why there is none.
func (s *setting) ratio(r ratioRow, f *scenarios.Finding, k ratioKind) entry {
	switch {
	case f != nil:
		return text(ratioText(*f))
	case s.failed[failureKey(r.cell, k.mesh)], s.failed[failureKey(r.cell, k.over)]:
		return failure("errors", 1)
	}
	return text(format.Missing)
}

func ratioText(f scenarios.Finding) string {
	s := format.Times(f.Ratio)
	if f.Bounded() {
		s = format.TimesRange(f.Ratio, f.Low, f.High)
	}
	if f.Apart {
		s += " " + apartMark
	}
	return s
}

// foretold is how well one setting tells of another.
type foretold struct {
	from, to *setting
	kind     ratioKind
	one      scenarios.Finding // any, for the names of meshes and figure
	scenarios.Prediction
}

// predictions are of each pair of settings, the nearer one first, for each
// kind of ratio that both have.
func (c *comparison) predictions() []foretold {
	var all []foretold
	for i, from := range c.Settings {
		for _, to := range c.Settings[i+1:] {
			for _, k := range c.kinds {
				a, b := from.of(k), to.of(k)
				if p := scenarios.Predict(a, b); p.Cells > 0 {
					all = append(all, foretold{from, to, k, a[0], p})
				}
			}
		}
	}
	return all
}

// leading are the predictions that are told as sentences and drawn: by the
// first setting, of the first pair of meshes; of closed loops the medians, or
// against the thesis the averages, for it has no medians.
func (c *comparison) leading() []foretold {
	var out []foretold
	for _, p := range c.predictions() {
		usual := "p50"
		if p.to.results == nil {
			usual = "avg"
		}
		if p.from == c.Settings[0] && p.kind.mesh == c.kinds[0].mesh && p.kind.over == c.kinds[0].over && p.kind.figure == usual {
			out = append(out, p)
		}
	}
	return out
}

// Told says how well the first setting told of the others: which mesh is
// faster, and by how much.
func (c *comparison) Told() []told {
	var out []told
	for _, p := range c.leading() {
		all := sentence.Prediction(p.from.name, p.to.name, p.one, p.Prediction)
		out = append(out, told{all[0], strings.Join(all[1:], " ")})
	}
	return out
}

// told is what is said of a prediction.
type told struct{ Says, Means string }

// Predictions has all of them.
func (c *comparison) Predictions() table {
	t := table{
		Caption: "How well the ratios of one environment tell those of another. “Same” counts the cells in which both name the same mesh as faster, “other” those in which they name different ones, “open” those in which an interval reaches over 1, “side” those whose ratios are on one side of 1 whatever the intervals say; “constant” is how many come right when the mesh is named everywhere that is faster most often. Factors are of the distance of the two ratios; τ-b is Kendall's rank correlation; “within” counts the cells whose ratios are no farther apart than their intervals leave open (95 %).",
		Columns: []column{{"", "environment"}, {"", "and"}, {"", "ratio"}, {"", "cells"}, {"faster mesh", "same"}, {"faster mesh", "other"}, {"faster mesh", "open"}, {"faster mesh", "side"}, {"faster mesh", "constant"},
			{"off by a factor", "median"}, {"off by a factor", "at most"}, {"", "τ-b"}, {"", "within"}},
	}
	for _, p := range c.predictions() {
		tau, within := format.Missing, format.Missing
		if !math.IsNaN(p.TauB) {
			tau = sentence.Tau(p.TauB)
		}
		if p.Bounded > 0 {
			within = fmt.Sprintf("%d of %d", p.Within, p.Bounded)
		}
		t.Rows = append(t.Rows, []entry{head(p.from.name), head(p.to.name), head(p.kind.title()), text(fmt.Sprint(p.Cells)),
			text(fmt.Sprint(p.Same)), text(fmt.Sprint(p.Opposite)), text(fmt.Sprint(p.Open)), text(fmt.Sprint(p.Sides)), text(fmt.Sprint(p.Constant)),
			text(format.Times(p.Median)), text(format.Times(p.Largest)), text(tau), text(within)})
	}
	return t
}

// againstFigure is a figure with its caption.
type againstFigure struct{ Name, Caption string }

// Figures are those of the leading predictions.
func (c *comparison) Figures() []againstFigure {
	var all []againstFigure
	for i, p := range c.leading() {
		all = append(all, againstFigure{fmt.Sprintf("environments-%d", i+1), p.caption()})
	}
	return all
}

func (p foretold) caption() string {
	return fmt.Sprintf("Ratios of the %s of %s to %s, cell by cell: from left to right in %s, upwards in %s. On the line both are equal; numbers at the marks are connections, thin lines 95 %% intervals. Upper right and lower left of the dotted lines, both name the same mesh as faster.",
		sentence.Figure(p.kind.figure), sentence.Mesh(p.kind.mesh), sentence.Mesh(p.kind.over), p.from.name, p.to.name)
}

// figure draws ratios here against ratios there, by request and kind of pods.
func (p foretold) figure() (*figures.Figure, error) {
	there := map[string]scenarios.Finding{}
	for _, f := range p.to.of(p.kind) {
		there[f.Cell] = f
	}
	type group struct {
		request string
		pods    scenarios.Pods
	}
	var sets []figures.AgainstSet
	var groups []group
	var requests []string
	for _, f := range p.from.of(p.kind) {
		t, ok := there[f.Cell]
		if !ok {
			continue
		}
		if !slices.Contains(requests, f.Point.Request) {
			requests = append(requests, f.Point.Request)
		}
		g := group{f.Point.Request, f.Point.Pods}
		i := slices.Index(groups, g)
		if i < 0 {
			i = len(groups)
			groups = append(groups, g)
			sets = append(sets, figures.AgainstSet{
				Name: fmt.Sprintf("%s, %s", g.request, cells.PodsText(g.pods)), Hollow: g.pods == scenarios.MultipleNodes,
				Look: figures.LookOf("", slices.Index(requests, g.request)), // not that of a mesh
			})
		}
		sets[i].Points = append(sets[i].Points, figures.AgainstPoint{Label: fmt.Sprint(f.Point.Connections),
			X: figures.Ratio{Value: f.Ratio, Low: f.Low, High: f.High}, Y: figures.Ratio{Value: t.Ratio, Low: t.Low, High: t.High}})
	}
	return figures.Against(p.kind.title(), figures.Axes{X: p.from.name, Y: p.to.name}, sets)
}

// jobs makes the figures, to be drawn.
func (c *comparison) jobs() ([]figures.Job, error) {
	var jobs []figures.Job
	for i, p := range c.leading() {
		f, err := p.figure()
		if err != nil {
			return nil, err
		}
		name := c.Figures()[i].Name
		c.drawn = append(c.drawn, name)
		jobs = append(jobs, figures.Job{Name: name, Make: func() (*figures.Figure, error) { return f, nil }})
	}
	return jobs, nil
}
