// Package reports turns result documents into something to read: one HTML
// page that needs nothing else, Markdown, and figures as PNG and SVG. It
// measures nothing and decides nothing; what a difference means is for
// scenarios/stats and for the reader.
package reports

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// Options are what the results themselves do not say.
type Options struct {
	Title string // "" for the default
}

const defaultTitle = "A mesh in the switches, Consul Connect and plain switching: response times"

// Write renders the results, each in a section of its own, and writes
// index.html, report.md and figures/*.png and *.svg below dir, which it makes
// when it is not there. It returns the paths of all files written, index.html
// first. Files of an earlier report are overwritten; others stay.
//
// It returns an error when there is no result or one contradicts itself, when
// a file cannot be written, and when ctx is done.
func Write(ctx context.Context, dir string, results []*scenarios.Result, opt Options) ([]string, error) {
	if len(results) == 0 {
		return nil, errors.New("write report: there are no results")
	}
	if opt.Title == "" {
		opt.Title = defaultTitle
	}
	refs, err := thesis.Rows()
	if err != nil {
		return nil, err
	}
	var sections []*section
	var jobs []figures.Job
	for i, r := range results {
		prefix := ""
		if len(results) > 1 {
			prefix = fmt.Sprintf("run%d-", i+1)
		}
		s, err := newSection(r, prefix)
		if err != nil {
			return nil, fmt.Errorf("write report: %w", err)
		}
		sections = append(sections, s)
		jobs = append(jobs, s.jobs()...)
	}

	folder := filepath.Join(dir, "figures")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	drawings, err := figures.Render(ctx, folder, jobs)
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}

	doc := document{Title: opt.Title, refs: refs, Sections: sections, drawings: drawings}
	page, err := doc.html()
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	markdown, err := doc.markdown()
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	written := []string{filepath.Join(dir, "index.html"), filepath.Join(dir, "report.md")}
	for i, body := range [][]byte{page, markdown} {
		if err := os.WriteFile(written[i], body, 0o644); err != nil {
			return nil, fmt.Errorf("write report: %w", err)
		}
	}
	for _, s := range sections {
		for _, p := range s.pictures() {
			path := filepath.Join(folder, p.name+".svg")
			if err := os.WriteFile(path, []byte(p.svg), 0o644); err != nil {
				return nil, fmt.Errorf("write report: %w", err)
			}
			written = append(written, path)
		}
	}
	for _, j := range jobs {
		written = append(written, filepath.Join(folder, j.Name+".png"), filepath.Join(folder, j.Name+".svg"))
	}
	return written, nil
}

// The kinds of figures of a point; the names of its files end in them.
const (
	overlay   = "overlay"
	histogram = "histogram"
	attempts  = "attempts"
)

// jobs lists the figures of a section: one of ratios, if there are any, and
// three for each point at which some mesh has latencies.
func (s *section) jobs() []figures.Job {
	var jobs []figures.Job
	if s.hasRatios() {
		jobs = append(jobs, figures.Job{Name: s.ratioName(), Make: s.ratioFigure})
	}
	for _, p := range s.Points {
		var later []figures.Series
		var both []figures.FirstLater
		for i, mesh := range s.Meshes {
			m, look := p.later(mesh), figures.LookOf(mesh, i)
			if !m.OK() {
				continue
			}
			later = append(later, figures.Series{Name: cells.Label(mesh), Look: look, HDR: m.HDR})
			pair := figures.FirstLater{Name: cells.Label(mesh), Look: look, Later: m.HDR}
			if first := p.first(mesh); first.OK() {
				pair.First = first.HDR
			}
			both = append(both, pair)
		}
		if len(later) == 0 {
			continue
		}
		for _, k := range []struct {
			kind string
			draw func() (*figures.Figure, error)
		}{
			{overlay, func() (*figures.Figure, error) { return figures.Overlay(p.title(), later) }},
			{histogram, func() (*figures.Figure, error) { return figures.Histogram(p.title(), later) }},
			{attempts, func() (*figures.Figure, error) { return figures.Attempts(p.title(), both) }},
		} {
			name := p.name + "-" + k.kind
			p.figures = append(p.figures, name)
			jobs = append(jobs, figures.Job{Name: name, Make: k.draw})
		}
	}
	return jobs
}

// ratioFigure sets the p50 of the meshes against each other, at every point.
func (s *section) ratioFigure() (*figures.Figure, error) {
	sets := []figures.RatioSet{
		{Name: "Consul Connect ÷ mesh in the switches", Look: figures.Vermillion},
		{Name: "mesh in the switches ÷ plain switching", Look: figures.Blue},
	}
	var rows []string
	for _, p := range s.Points {
		rows = append(rows, fmt.Sprintf("%s %s × %d", p.Request, p.Pods, p.Connections))
		for i, r := range []cells.Ratio{p.ratio(cells.Connect, cells.OVS), p.ratio(cells.OVS, cells.Direct)} {
			sets[i].Ratios = append(sets[i].Ratios, figures.Ratio{Value: r.Value, Low: r.Low, High: r.High})
		}
	}
	return figures.Ratios("Ratios of p50", rows, sets)
}

// drawn is a picture that is there without being plotted.
type drawn struct{ name, svg string }

// pictures are those of the labs and of their traffic.
func (s *section) pictures() []drawn {
	var all []drawn
	for i, lab := range s.Result.Labs {
		if lab.SVG != "" {
			all = append(all, drawn{s.labName(i), lab.SVG})
		}
	}
	for _, t := range s.traffics() {
		if len(t.Edges) > 0 {
			all = append(all, drawn{t.Figure, t.SVG()})
		}
	}
	return all
}

func (s *section) ratioName() string { return s.Prefix + "ratios" }

func (s *section) labName(i int) string { return fmt.Sprintf("%slab-%d", s.Prefix, i+1) }

func (s *section) hasRatios() bool {
	return slices.ContainsFunc(s.Points, func(p *point) bool {
		return p.ratio(cells.Connect, cells.OVS).OK || p.ratio(cells.OVS, cells.Direct).OK
	})
}
