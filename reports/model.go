package reports

import (
	"fmt"
	"slices"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// section is one result document, ready to be shown.
type section struct {
	Result *scenarios.Result
	Prefix string   // of its figures' names
	Meshes []string // in the order of the document
	Points []*point
	Fits   bool // some request is one of the thesis'

	duets  []*duet
	climbs []climb
	falls  []fall
	drawn  []string // names of the figures that were drawn
}

// point is one row of the comparison: the same load under every mesh.
type point struct {
	scenarios.Point
	name  string                 // of its figures' files, without their kind
	cells map[string]*cells.Cell // by mesh
}

// later returns the pooled later attempts of a mesh, or a measure that is not
// OK when any attempt of the cell, the first one included, had an error.
func (p *point) later(mesh string) *cells.Measure { return p.cells[mesh].Counted() }

// first is the same as later, for the first attempt.
func (p *point) first(mesh string) *cells.Measure { return p.cells[mesh].Cold() }

// ratio sets the p50 of mesh over that of base.
func (p *point) ratio(mesh, base string) cells.Ratio {
	return cells.RatioOf(p.later(mesh), p.later(base))
}

// failed returns the meshes with errors at this point, in the given order.
func (p *point) failed(meshes []string) []string {
	var names []string
	for _, m := range meshes {
		if c := p.cells[m]; c != nil && c.All.Errors > 0 {
			names = append(names, m)
		}
	}
	return names
}

// newSection pools the trials of a result's duets, groups its cells by point
// and pools their attempts.
func newSection(r *scenarios.Result, prefix string) (*section, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("result %s: %w", r.ID, err)
	}
	s := &section{Result: r, Prefix: prefix, climbs: climbs(r.Ramps, prefix), falls: falls(r.Waterfalls, prefix)}
	for i, d := range r.Duets {
		pooled, err := newDuet(d, fmt.Sprintf("%sduet%d-", prefix, i+1))
		if err != nil {
			return nil, fmt.Errorf("result %s: duet %d: %w", r.ID, i+1, err)
		}
		s.duets = append(s.duets, pooled)
	}
	tellApart(s.duets)
	for _, m := range r.Meshes {
		if !slices.Contains(s.Meshes, m.Name) {
			s.Meshes = append(s.Meshes, m.Name)
		}
	}
	at := make(map[scenarios.Point]*point)
	for _, c := range r.Cells {
		if !slices.Contains(s.Meshes, c.Mesh) {
			s.Meshes = append(s.Meshes, c.Mesh)
		}
		p := at[c.Point()]
		if p == nil {
			p = &point{Point: c.Point(), cells: make(map[string]*cells.Cell)}
			p.name = fmt.Sprintf("%s%02d-%s-", prefix, len(s.Points)+1, slug(p.Point))
			at[p.Point] = p
			s.Points = append(s.Points, p)
		}
		pooled, err := cells.PoolCell(c)
		if err != nil {
			return nil, fmt.Errorf("result %s: %s under %s: %w", r.ID, p.Point, c.Mesh, err)
		}
		p.cells[c.Mesh] = pooled
		s.Fits = s.Fits || thesis.Request(c.Request) != ""
	}
	return s, nil
}

// slug makes a file name of a point; request names may hold anything.
func slug(p scenarios.Point) string {
	var b []rune
	for _, r := range p.Request {
		if len(b) == 40 {
			break
		}
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b = append(b, r)
		case r >= 'A' && r <= 'Z':
			b = append(b, r-'A'+'a')
		default:
			b = append(b, '-')
		}
	}
	pods := "sn"
	if p.Pods == scenarios.MultipleNodes {
		pods = "mn"
	}
	return fmt.Sprintf("%s-%s-%d", string(b), pods, p.Connections)
}

// title names a point in headings and figures.
func (p *point) title() string { return cells.Title(p.Point) }
