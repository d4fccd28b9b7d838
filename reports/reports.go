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
	refs, err := references(table4)
	if err != nil {
		return nil, err
	}
	var sections []*section
	var jobs []job
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

	figures := filepath.Join(dir, "figures")
	if err := os.MkdirAll(figures, 0o755); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	drawings, err := render(ctx, figures, jobs)
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
			path := filepath.Join(figures, p.name+".svg")
			if err := os.WriteFile(path, []byte(p.svg), 0o644); err != nil {
				return nil, fmt.Errorf("write report: %w", err)
			}
			written = append(written, path)
		}
	}
	for _, j := range jobs {
		written = append(written, filepath.Join(figures, j.name+".png"), filepath.Join(figures, j.name+".svg"))
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
func (s *section) jobs() []job {
	var jobs []job
	if s.hasRatios() {
		jobs = append(jobs, job{s.ratioName(), s.ratioFigure})
	}
	for _, p := range s.Points {
		ts := s.tracks(p)
		if len(ts) == 0 {
			continue
		}
		for _, k := range []struct {
			kind string
			draw func(string, []track) (figure, error)
		}{{overlay, overlayFigure}, {histogram, histogramFigure}, {attempts, attemptsFigure}} {
			name := p.name + "-" + k.kind
			p.figures = append(p.figures, name)
			jobs = append(jobs, job{name, func() (figure, error) { return k.draw(p.title(), ts) }})
		}
	}
	return jobs
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
		return p.ratio(connect, ovs).OK || p.ratio(ovs, direct).OK
	})
}
