package reports

import (
	"errors"
	"fmt"
	"slices"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
)

// The kinds of figures; the names of their files end in them.
const (
	overlay   = "overlay"
	histogram = "histogram"
	attempts  = "attempts"
	spectrum  = "spectrum"
	overTime  = "trials"
	course    = "course"
	cost      = "cost"
)

// jobs makes the figures of a section, to be drawn; live leaves those that
// tell how the run stands. What has nothing to show has no figure.
func (s *section) jobs(live bool) ([]figures.Job, error) {
	var jobs []figures.Job
	var failed error
	add := func(name string, f *figures.Figure, err error) {
		switch {
		case errors.Is(err, figures.ErrNothing):
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("draw %s: %w", name, err))
		default:
			s.drawn = append(s.drawn, name)
			jobs = append(jobs, figures.Job{Name: name, Make: func() (*figures.Figure, error) { return f, nil }})
		}
	}
	f, err := s.forest()
	add(s.forestName(), f, err)
	for _, d := range s.duets {
		f, err = d.overTime("Trials: " + d.title())
		add(d.name+overTime, f, err)
		f, err = d.course("Within a trial: " + d.title())
		add(d.name+course, f, err)
		if live {
			continue
		}
		f, err = figures.Spectrum("Percentiles: "+d.title(), d.series(), figures.Log)
		add(d.name+spectrum, f, err)
		f, err = figures.Overlay("Response times: "+d.title(), d.series())
		add(d.name+overlay, f, err)
		f, err = d.cost("Cost: " + d.title())
		add(d.name+cost, f, err)
	}
	if s.hasRatios() {
		f, err = s.ratioFigure()
		add(s.ratioName(), f, err)
	}
	if live {
		return jobs, failed
	}
	for _, w := range s.falls {
		f, err = w.figure()
		add(w.name, f, err)
	}
	for _, c := range s.climbs {
		f, err = c.figure()
		add(c.name, f, err)
	}
	for _, p := range s.Points {
		later, both := s.series(p)
		f, err = figures.Overlay("Response times: "+p.title(), later)
		add(p.name+overlay, f, err)
		f, err = figures.Spectrum("Percentiles: "+p.title(), later, figures.Log)
		add(p.name+spectrum, f, err)
		f, err = figures.Histogram("Histograms: "+p.title(), later)
		add(p.name+histogram, f, err)
		f, err = figures.Attempts("First attempt and later ones: "+p.title(), both)
		add(p.name+attempts, f, err)
	}
	return jobs, failed
}

// series are the meshes that have latencies at a point.
func (s *section) series(p *point) ([]figures.Series, []figures.FirstLater) {
	var later []figures.Series
	var both []figures.FirstLater
	looks := figures.Looks(s.Meshes)
	for i, mesh := range s.Meshes {
		m, look := p.later(mesh), looks[i]
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
	return later, both
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
	return figures.Ratios("Ratios of p50 in the closed loop; lines are ranges over attempts", rows, sets)
}

// picture is one that is there without being plotted.
type picture struct{ name, svg string }

// pictures are those of the labs, of their links and of their traffic.
func (s *section) pictures() []picture {
	var all []picture
	for i, lab := range s.Result.Labs {
		if lab.SVG != "" {
			all = append(all, picture{s.labName(i), lab.SVG})
		}
	}
	for _, l := range s.linksOf() {
		all = append(all, picture{l.Figure, l.SVG()})
	}
	for _, t := range s.traffics() {
		if len(t.Edges) > 0 {
			all = append(all, picture{t.Figure, t.SVG()})
		}
	}
	return all
}

func (s *section) forestName() string { return s.Prefix + "forest" }
func (s *section) ratioName() string  { return s.Prefix + "ratios" }

func (s *section) labName(i int) string { return fmt.Sprintf("%slab-%d", s.Prefix, i+1) }

func (s *section) hasRatios() bool {
	return slices.ContainsFunc(s.Points, func(p *point) bool {
		return p.ratio(cells.Connect, cells.OVS).OK || p.ratio(cells.OVS, cells.Direct).OK
	})
}
