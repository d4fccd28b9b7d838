// Package reports turns result documents into something to read: one HTML
// page that needs nothing else, Markdown, and figures as PNG and SVG. It
// measures nothing and decides nothing: verdicts are in the documents.
package reports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// Options are what the results themselves do not say.
type Options struct {
	Title string // "" for the default
	Live  *Live  // nil: the runs are over
}

// Live is how far a run has come whose page is shown before its end.
type Live struct {
	Progress string        // for people
	Refresh  time.Duration // after which the page loads itself again; one second at least
}

// DefaultTitle is the title of a report without one: it names the meshes of
// the results.
func DefaultTitle(results []*scenarios.Result) string {
	there := map[string]bool{}
	order := []string{cells.OVS, cells.Connect, cells.Direct}
	for _, r := range results {
		for _, m := range r.Meshes {
			there[m.Name] = true
			if !slices.Contains(order, m.Name) {
				order = append(order, m.Name)
			}
		}
	}
	var names []string
	for _, mesh := range order {
		switch {
		case !there[mesh]:
		case mesh == cells.OVS:
			names = append(names, "a mesh in the switches")
		case mesh == cells.Direct:
			names = append(names, "plain switching")
		default:
			names = append(names, cells.Label(mesh))
		}
	}
	if len(names) == 0 {
		return "Response times"
	}
	title := names[0]
	if last := len(names) - 1; last > 0 {
		title = strings.Join(names[:last], ", ") + " and " + names[last]
	}
	first, n := utf8.DecodeRuneInString(title)
	return string(unicode.ToUpper(first)) + title[n:] + ": response times"
}

// Write renders the results, each in a section of its own, and writes
// index.html, report.md and figures/*.png and *.svg below dir, which it makes
// when it is not there. It returns the paths of all files written, index.html
// first. Files of an earlier report are overwritten, the page and the Markdown
// only by whole ones; others stay.
//
// It returns an error when there is no result or one contradicts itself, when
// a file cannot be written, and when ctx is done.
func Write(ctx context.Context, dir string, results []*scenarios.Result, opt Options) ([]string, error) {
	folder := filepath.Join(dir, "figures")
	if len(results) > 0 {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("write report: %w", err)
		}
	}
	doc, err := newDocument(ctx, folder, results, opt)
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
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
		if err := scenarios.WriteFile(written[i], body); err != nil {
			return nil, fmt.Errorf("write report: %w", err)
		}
	}
	var drawn []string
	if doc.compared != nil {
		drawn = doc.compared.drawn
	}
	for _, s := range doc.Sections {
		for _, p := range s.pictures() {
			path := filepath.Join(folder, p.name+".svg")
			if err := os.WriteFile(path, []byte(p.svg), 0o644); err != nil {
				return nil, fmt.Errorf("write report: %w", err)
			}
			written = append(written, path)
		}
		drawn = append(drawn, s.drawn...)
	}
	for _, name := range drawn {
		written = append(written, filepath.Join(folder, name+".png"), filepath.Join(folder, name+".svg"))
	}
	return written, nil
}

// Page writes the page alone, and no file beside it. With opt.Live it is the
// page of runs that still go on: it loads itself again, has no results inside,
// and only the figures that tell how the run stands, for whatever is drawn
// takes processor time from what is measured. Errors are those of Write.
func Page(ctx context.Context, w io.Writer, results []*scenarios.Result, opt Options) error {
	doc, err := newDocument(ctx, "", results, opt)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	page, err := doc.html()
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if _, err := w.Write(page); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// newDocument arranges the results and draws their figures, into folder too
// if it is not empty.
func newDocument(ctx context.Context, folder string, results []*scenarios.Result, opt Options) (*document, error) {
	if len(results) == 0 {
		return nil, errors.New("there are no results")
	}
	if opt.Title == "" {
		opt.Title = DefaultTitle(results)
	}
	refs, err := thesis.Rows()
	if err != nil {
		return nil, err
	}
	doc := &document{Title: opt.Title, Live: opt.Live, refs: refs}
	var jobs []figures.Job
	if opt.Live == nil {
		if err := doc.compare(results); err != nil {
			return nil, err
		}
	}
	if doc.compared != nil {
		if jobs, err = doc.compared.jobs(); err != nil {
			return nil, err
		}
	}
	for i, r := range results {
		prefix := ""
		if len(results) > 1 {
			prefix = fmt.Sprintf("run%d-", i+1)
		}
		if opt.Live != nil {
			r = soFar(r)
		}
		s, err := newSection(r, prefix)
		if err != nil {
			return nil, err
		}
		more, err := s.jobs(opt.Live != nil)
		if err != nil {
			return nil, err
		}
		doc.Sections, jobs = append(doc.Sections, s), append(jobs, more...)
	}
	if doc.drawings, err = figures.Render(ctx, folder, jobs); err != nil {
		return nil, err
	}
	return doc, nil
}

// soFar gives a result that still grows what a whole one has.
func soFar(r *scenarios.Result) *scenarios.Result {
	now := *r
	if now.Finished.Before(now.Started) {
		now.Finished = now.Started
	}
	return &now
}
