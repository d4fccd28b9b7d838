package reports

import (
	"errors"
	"fmt"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/sentence"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// duet is a paired measurement with its trials pooled for the figures; what
// the trials say of its variants is decided in the document already.
type duet struct {
	scenarios.Duet
	name  string // of its figures' files, without their kind
	twin  bool   // another one differs in the lab alone
	sides []side // by variant
}

// side is one variant over all trials of a duet. Latencies are of successes:
// unlike a closed loop, an open one goes on beside its errors.
type side struct {
	label string
	look  figures.Look

	requests, errors int
	kinds            map[string]int
	min, max         float64                 // milliseconds; 0 without a success
	latency, service *hdrhistogram.Histogram // microseconds; nil without a success
	costs            []partCost
	memory           uint64 // bytes, of all parts
	cpu              float64
}

// partCost is what a part of a variant's lab used.
type partCost struct {
	part   string
	cpu    float64 // seconds per 100,000 requests
	memory uint64  // bytes: median over the trials
}

func newDuet(d scenarios.Duet, name string) (*duet, error) {
	out := &duet{Duet: d, name: name}
	var meshes []string
	for _, v := range d.Variants {
		meshes = append(meshes, v.Mesh)
	}
	looks := figures.Looks(meshes) // of two variants of one mesh too
	for i, v := range d.Variants {
		s, err := poolSide(d.Trials, i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		s.label, s.look = sentence.Variant(v), looks[i]
		out.sides = append(out.sides, s)
	}
	return out, nil
}

// poolSide adds up what the trials have of variant i.
func poolSide(trials []scenarios.Trial, i int) (side, error) {
	s := side{kinds: make(map[string]int)}
	var latency, service []string
	for _, t := range trials {
		if i >= len(t.Sides) || t.Sides[i].Requests == 0 {
			continue
		}
		o := t.Sides[i]
		s.requests += o.Requests
		s.errors += o.Errors
		for kind, n := range o.ErrorKind {
			s.kinds[kind] += n
		}
		if o.Latency.HDR == "" {
			continue
		}
		if s.min == 0 || o.Latency.Min < s.min {
			s.min = o.Latency.Min
		}
		s.max = max(s.max, o.Latency.Max)
		latency, service = append(latency, o.Latency.HDR), append(service, o.Service.HDR)
	}
	var err error
	if s.latency, err = merged(latency); err != nil {
		return s, fmt.Errorf("latencies: %w", err)
	}
	if s.service, err = merged(service); err != nil {
		return s, fmt.Errorf("service times: %w", err)
	}
	s.costs = poolCosts(trials, i)
	for _, c := range s.costs {
		s.cpu += c.cpu
		s.memory += c.memory
	}
	return s, nil
}

// merged adds histograms up; it is nil when there is no value in them.
func merged(encoded []string) (*hdrhistogram.Histogram, error) {
	h, err := stats.MergeHDR(encoded...)
	if errors.Is(err, stats.ErrNoHistogram) {
		return nil, nil //nolint:nilnil // nil is no latency
	}
	return h, err
}

// poolCosts has what variant i cost, in the order in which the parts first
// come up. A part is counted over the trials that know its cost: one that was
// started anew in a trial does not.
func poolCosts(trials []scenarios.Trial, i int) []partCost {
	var out []partCost
	memory := map[string][]float64{}
	requests := map[string]int{}
	for _, t := range trials {
		if i >= len(t.Costs) || i >= len(t.Sides) {
			continue
		}
		for _, c := range t.Costs[i] {
			requests[c.Part] += t.Sides[i].Requests
			at := slices.IndexFunc(out, func(p partCost) bool { return p.part == c.Part })
			if at < 0 {
				at = len(out)
				out = append(out, partCost{part: c.Part})
			}
			out[at].cpu += c.CPUSeconds
			memory[c.Part] = append(memory[c.Part], float64(c.MemoryBytes))
		}
	}
	for j := range out {
		if n := requests[out[j].part]; n > 0 {
			out[j].cpu *= 100_000 / float64(n)
		}
		out[j].memory = uint64(stats.Median(memory[out[j].part]))
	}
	return out
}

// at returns a percentile in milliseconds, within the exact extremes.
func (s side) at(p float64) float64 {
	if s.latency == nil {
		return 0
	}
	return min(max(float64(s.latency.ValueAtPercentile(p))/1000, s.min), s.max)
}

// title names a duet in headings and figures.
func (d *duet) title() string {
	if d.twin {
		return sentence.Duet(d.Duet) + ", lab " + d.Lab
	}
	return sentence.Duet(d.Duet)
}

// tellApart adds the lab to the titles of duets that are else the same.
func tellApart(all []*duet) {
	count := map[string]int{}
	for _, d := range all {
		count[d.title()]++
	}
	for _, d := range all {
		d.twin = count[sentence.Duet(d.Duet)] > 1
	}
}

// series are the variants that have latencies to draw.
func (d *duet) series() []figures.Series {
	var out []figures.Series
	for _, s := range d.sides {
		if s.latency != nil {
			out = append(out, figures.Series{Name: s.label, Look: s.look, HDR: s.latency})
		}
	}
	return out
}

// overTime draws p50 and p99 of each trial, in order.
func (d *duet) overTime(title string) (*figures.Figure, error) {
	var series []figures.TrialSeries
	for i, s := range d.sides {
		line := figures.TrialSeries{Name: s.label, Look: s.look}
		for _, t := range d.Trials {
			var l scenarios.Distribution
			if i < len(t.Sides) {
				l = t.Sides[i].Latency
			}
			line.P50, line.P99 = append(line.P50, l.P50), append(line.P99, l.P99)
		}
		series = append(series, line)
	}
	var flags []figures.TrialFlag
	for i, t := range d.Trials {
		for _, f := range t.Flags {
			flags = append(flags, figures.TrialFlag{Trial: i, Kind: string(f.Kind)})
		}
	}
	return figures.OverTime(title, series, flags)
}

// hasCosts tells whether any variant's costs are known.
func (d *duet) hasCosts() bool {
	return slices.ContainsFunc(d.sides, func(s side) bool { return len(s.costs) > 0 })
}

func (d *duet) cost(title string) (*figures.Figure, error) {
	var bars []figures.CostBar
	for _, s := range d.sides {
		bar := figures.CostBar{Name: s.label}
		for _, c := range s.costs {
			bar.Parts = append(bar.Parts, figures.CostPart{Part: c.part, CPUSeconds: c.cpu, MemoryBytes: float64(c.memory)})
		}
		if len(bar.Parts) > 0 {
			bars = append(bars, bar)
		}
	}
	return figures.Cost(title, bars)
}

// forest draws the ratios of all comparisons of the run.
func (s *section) forest() (*figures.Figure, error) {
	var rows []figures.ForestRow
	for _, d := range s.duets {
		for _, c := range d.Comparisons {
			for _, m := range c.Metrics {
				if !sentence.Known(m) {
					continue
				}
				rows = append(rows, figures.ForestRow{
					Group: fmt.Sprintf("%s: %s ÷ %s", d.title(), d.labelOf(c.New), d.labelOf(c.Base)),
					Label: m.Metric,
					Ratio: m.Ratio, Low: m.Low, High: m.High, Margin: m.Margin, Verdict: figures.Verdict(m.Verdict),
				})
			}
		}
	}
	return figures.Forest("Ratios of response times, with 95 % intervals", rows)
}

func (d *duet) labelOf(name string) string { return sentence.Variant(sentence.Find(d.Duet, name)) }
