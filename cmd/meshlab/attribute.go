package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/orchestrate/consul"
	"meshlab.dev/meshlab/orchestrate/supervisor"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/attribution"
	"meshlab.dev/meshlab/scenarios/stats"
	"meshlab.dev/meshlab/topo"
)

const (
	// attributeWarmUp is how many requests of each connection go before those
	// that count: the first ones open connections all the way to the last
	// service.
	attributeWarmUp = 5

	// attributeRounds is how often requests with taps and without take turns.
	// What taps cost is less than what a machine drifts in a second.
	attributeRounds = 5

	attributeTimeout = 10 * time.Second // of one request
	attributeLimit   = 2 * time.Minute  // of those of one turn
)

// attributed is a request in a lab that is up under a mesh.
type attributed struct {
	ctl      *supervisor.Client
	lab      *topo.Lab
	mesh     orchestrate.Mesh
	request  string // of the lab file
	requests int    // that count
}

// attribute sends requests one after the other over one connection, with taps
// on all ports along their way, and tells where their time goes. As many go
// without taps, in turns, to tell what the taps cost. Nothing else may load
// the lab meanwhile. Requests that fail are an error.
func attribute(ctx context.Context, a attributed) (w scenarios.Waterfall, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("attribute the time of %s under %s: %w", a.request, a.mesh, err)
		}
	}()
	way, err := a.way()
	if err != nil {
		return w, err
	}
	share := (a.requests + attributeRounds - 1) / attributeRounds
	var all []attribution.Capture
	var plain, tapped []float64
	without := func() error {
		got, err := a.load(ctx, share)
		plain = append(plain, got.P50)
		return err
	}
	with := func() error {
		c, err := a.ctl.Tap(ctx, func(ctx context.Context) error {
			got, err := a.load(ctx, share)
			tapped = append(tapped, got.P50)
			return err
		})
		all = append(all, c)
		return err
	}
	if _, err := a.load(ctx, share); err != nil { // for nothing: it wakes all services up
		return w, err
	}
	for round := range attributeRounds {
		turns := []func() error{without, with}
		if round%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return w, err
			}
		}
	}
	r, err := attribution.Attribute(way, all, attributeWarmUp)
	if err != nil {
		seen, dropped := 0, 0
		for _, c := range all {
			seen, dropped = seen+len(c.Packets), dropped+c.Dropped
		}
		return w, fmt.Errorf("%w (%d packets seen, %d dropped)", err, seen, dropped)
	}
	return scenarios.Waterfall{
		Request: a.request, Lab: a.lab.Name, Pods: spread(a.lab), Mesh: string(a.mesh),
		Requests: r.Requests, Lost: max(share*attributeRounds-r.Requests, 0),
		Plain: stats.Median(plain), Tapped: stats.Median(tapped), Spans: r.Spans,
	}, nil
}

// load sends requests, and those that go before them.
func (a attributed) load(ctx context.Context, requests int) (scenarios.Attempt, error) {
	spec, err := supervisor.Spec(a.lab, a.mesh, a.request)
	if err != nil {
		return scenarios.Attempt{}, err
	}
	got, err := a.ctl.Load(ctx, scenarios.LoadSpec{
		RequestSpec: spec, Connections: 1, Requests: requests + attributeWarmUp, Timeout: attributeTimeout, Limit: attributeLimit,
	})
	if err != nil {
		return got, err
	}
	if got.Errors > 0 {
		return got, fmt.Errorf("%d of %d requests failed: %v", got.Errors, got.Requests, got.ErrorKind)
	}
	return got, nil
}

// way says where packets of the request are to be looked for.
func (a attributed) way() (attribution.Way, error) {
	way := attribution.Way{Lab: a.lab, To: a.lab.Requests[a.request].To}
	switch a.mesh {
	case orchestrate.OVS:
		way.Virtual = a.lab.Mesh.VIP
	case orchestrate.ConsulConnect:
		way.Sidecars = map[string]uint16{}
		for _, s := range a.lab.Services {
			port, err := consul.SidecarPort(a.lab, s.Name)
			if err != nil {
				return way, err
			}
			way.Sidecars[s.Name] = port
		}
	}
	return way, nil
}

// waterfallBar is how wide the bars are, in columns.
const waterfallBar = 40

// printWaterfall draws where the time of a request goes, for a terminal.
func printWaterfall(w io.Writer, f scenarios.Waterfall) error {
	fmt.Fprintf(w, "%s of %s under %s: p50 %.3f ms with taps, %.3f ms without", f.Request, f.Lab, f.Mesh, f.Tapped, f.Plain)
	if f.Plain > 0 {
		fmt.Fprintf(w, " (%+.1f %%)", 100*(f.Tapped/f.Plain-1))
	}
	fmt.Fprintf(w, "; %d requests", f.Requests)
	if f.Lost > 0 {
		fmt.Fprintf(w, ", %d not put together", f.Lost)
	}
	fmt.Fprintln(w)
	total, sum := 0.0, 0.0
	for _, s := range f.Spans {
		total = max(total, s.Start+s.Duration)
		if s.Depth == 0 {
			sum += s.Duration
		}
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "  WHERE\tWHAT\tMS\tP95\tITSELF\t")
	for _, s := range f.Spans {
		indent := strings.Repeat("  ", s.Depth)
		itself := ""
		if s.Within > 0 {
			itself = fmt.Sprintf("%.3f", s.Duration-s.Within)
		}
		fmt.Fprintf(t, "  %s\t%s%s\t%.3f\t%.3f\t%s\t%s\n", s.Where, indent, s.What, s.Duration, s.P95, itself, waterfallLine(s, total))
	}
	fmt.Fprintf(t, "  \tnot indented, together\t%.3f\t\t\t\n", sum)
	return t.Flush()
}

// waterfallLine draws a span in its place.
func waterfallLine(s scenarios.Span, total float64) string {
	if total <= 0 {
		return ""
	}
	column := func(at float64) int { return int(math.Round(at / total * waterfallBar)) }
	from := min(column(s.Start), waterfallBar-1)
	to := min(max(column(s.Start+s.Duration), from+1), waterfallBar)
	return strings.Repeat(" ", from) + strings.Repeat("█", to-from)
}
