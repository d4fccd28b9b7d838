package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// simulatedQueue stands in for a generator and for what it sends to: each side
// is a single server with exponential service times and an endless queue
// (M/M/1), of which the rate of service is known.
type simulatedQueue struct {
	t       *testing.T
	service []float64 // requests per second that each side can serve
	exact   bool      // answers the percentile of the theory instead of a sample of it
	calls   []TrialSpec
	change  func(n int, o *TrialOutcome) error // of the n-th trial, from 0; nil: none
}

// The time in an M/M/1 system is exponential with the rate of service less
// that of arrivals (Kleinrock, Queueing Systems, volume 1, section 5.3), so
// its percentile q is ln(1/(1-q)) / (service - arrivals).
func sojourn(service, arrivals, q float64) float64 {
	if arrivals >= service {
		return math.Inf(1)
	}
	return math.Log(1/(1-q)) / (service - arrivals)
}

// highestRate is the rate of arrivals at which sojourn is a latency.
func highestRate(service, q float64, below time.Duration) float64 {
	return service - math.Log(1/(1-q))/below.Seconds()
}

func (g *simulatedQueue) Close() error { return nil }

func (g *simulatedQueue) Trial(ctx context.Context, spec TrialSpec) (TrialOutcome, error) {
	if err := ctx.Err(); err != nil {
		return TrialOutcome{}, err
	}
	if _, bounded := ctx.Deadline(); !bounded || spec.Limit <= 0 || len(spec.Only) != 1 {
		g.t.Errorf("trial without an end, or of several sides: %+v", spec)
	}
	side := spec.Only[0]
	out := TrialOutcome{
		Seconds: float64(spec.Requests) / spec.Rate,
		Sides:   make([]SideOutcome, len(g.service)),
	}
	o := &out.Sides[side]
	o.Requests = spec.Requests
	if g.exact {
		o.Latency.P99 = min(sojourn(g.service[side], spec.Rate, 0.99)*1e3, 60_000)
	} else {
		o.Latency = simulate(g.t, g.service[side], spec)
	}
	n := len(g.calls)
	g.calls = append(g.calls, spec)
	if g.change != nil {
		if err := g.change(n, &out); err != nil {
			return TrialOutcome{}, err
		}
	}
	return out, nil
}

// simulate sends the requests of a trial through the queue, one after the
// other (Lindley's recursion).
func simulate(t *testing.T, service float64, spec TrialSpec) Distribution {
	rng := rand.New(rand.NewPCG(spec.Seed, 1))
	h := stats.NewHDR()
	times := make([]float64, spec.Requests)
	wait := 0.0
	for i := range times {
		served := rng.ExpFloat64() / service
		times[i] = (wait + served) * 1e3
		if err := h.RecordValue(int64(times[i] * 1e3)); err != nil {
			t.Fatal(err)
		}
		wait = max(0, wait+served-rng.ExpFloat64()/spec.Rate)
	}
	slices.Sort(times)
	hdr, err := stats.EncodeHDR(h)
	if err != nil {
		t.Fatal(err)
	}
	return Distribution{P99: times[len(times)*99/100], HDR: hdr}
}

func rampOf(meshes ...string) RampConfig {
	return RampConfig{Meshes: meshes, Objective: Objective{Percentile: 99, Below: 20 * time.Millisecond}, Arrivals: Poisson, Seed: 1}
}

func TestRampFindsTheHighestRate(t *testing.T) {
	for _, service := range []float64{300, 1000, 2000, 7777, 50_000} {
		g := &simulatedQueue{t: t, service: []float64{service}, exact: true}
		got, err := RunRamp(t.Context(), rampOf("ovs"), g, nil)
		if err != nil {
			t.Fatal(err)
		}
		truth := highestRate(service, 0.99, 20*time.Millisecond)
		if r := got[0]; r.Highest > truth || r.Highest*rampResolution < truth || r.End != EndObjective || r.Mesh != "ovs" {
			t.Errorf("service of %g per second: found %g in %d steps, which ended at the %s; truth %g", service, r.Highest, len(r.Steps), r.End, truth)
		}
		if n := len(got[0].Steps); n > 25 {
			t.Errorf("service of %g per second took %d steps", service, n)
		}
	}
}

// With percentiles of finite samples, as a mesh gives them: near the truth in
// most searches, and far from it in none.
func TestRampUnderNoise(t *testing.T) {
	truth := highestRate(2000, 0.99, 20*time.Millisecond)
	near := 0
	for seed := range uint64(20) {
		c := rampOf("ovs")
		c.Seed = seed
		got, err := RunRamp(t.Context(), c, &simulatedQueue{t: t, service: []float64{2000}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch off := got[0].Highest / truth; {
		case off > 0.93 && off < 1.07:
			near++
		case off < 0.85 || off > 1.15:
			t.Errorf("seed %d: found %g, truth %g", seed, got[0].Highest, truth)
		}
	}
	if near < 16 {
		t.Errorf("%d of 20 searches came near", near)
	}
}

// A percentile that the outcome does not name comes from its histogram.
func TestRampOfAnotherPercentile(t *testing.T) {
	c := rampOf("ovs")
	c.Objective.Percentile = 95
	got, err := RunRamp(t.Context(), c, &simulatedQueue{t: t, service: []float64{2000}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	truth := highestRate(2000, 0.95, 20*time.Millisecond)
	if off := got[0].Highest / truth; off < 0.85 || off > 1.15 {
		t.Errorf("found %g, truth %g", got[0].Highest, truth)
	}
}

func TestRampTriesOnceMore(t *testing.T) {
	disturbed := map[int]bool{1: true, 4: true, 7: true} // never twice at one rate
	g := &simulatedQueue{t: t, service: []float64{2000}, exact: true}
	g.change = func(n int, o *TrialOutcome) error {
		if disturbed[n] {
			o.Sides[0].Latency.P99 = 500
		}
		return nil
	}
	got, err := RunRamp(t.Context(), rampOf("ovs"), g, nil)
	if err != nil {
		t.Fatal(err)
	}
	truth := highestRate(2000, 0.99, 20*time.Millisecond)
	if r := got[0]; r.Highest > truth || r.Highest*rampResolution < truth {
		t.Errorf("found %g, truth %g", r.Highest, truth)
	}
	steps := got[0].Steps
	if steps[1].Kept || steps[2].Rate != steps[1].Rate || !steps[2].Kept {
		t.Errorf("after a disturbed step %+v came %+v", steps[1], steps[2])
	}
}

func TestRampTakesTurns(t *testing.T) {
	g := &simulatedQueue{t: t, service: []float64{1000, 2000, 4000}, exact: true}
	var events []RampEvent
	got, err := RunRamp(t.Context(), rampOf("direct", "ovs", "consul-connect"), g, func(e RampEvent) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	for i, service := range g.service {
		truth := highestRate(service, 0.99, 20*time.Millisecond)
		if r := got[i]; r.Highest > truth || r.Highest*rampResolution < truth {
			t.Errorf("%s: found %g, truth %g", r.Mesh, r.Highest, truth)
		}
	}
	if len(events) != len(g.calls) {
		t.Errorf("%d events of %d trials", len(events), len(g.calls))
	}
	if last := events[len(events)-1]; !last.Done || last.High/last.Low > rampResolution {
		t.Errorf("last event %+v", last)
	}
	seeds := map[uint64]bool{}
	for _, c := range g.calls {
		seeds[c.Seed] = true
	}
	if len(seeds) != len(g.calls) {
		t.Errorf("%d trials had %d seeds", len(g.calls), len(seeds))
	}
	// While all search, each round has one trial of each mesh.
	orders := map[string]bool{}
	fewest := min(len(got[0].Steps), len(got[1].Steps), len(got[2].Steps))
	for round := range fewest {
		var order []int
		for _, c := range g.calls[3*round : 3*round+3] {
			order = append(order, c.Only[0])
		}
		orders[fmt.Sprint(order)] = true
		slices.Sort(order)
		if !slices.Equal(order, []int{0, 1, 2}) {
			t.Errorf("round %d has the sides %v", round, order)
		}
	}
	if len(orders) < 3 {
		t.Errorf("%d rounds had the orders %v", fewest, orders)
	}
}

func TestRampEnds(t *testing.T) {
	for _, row := range []struct {
		name    string
		service float64
		config  func(*RampConfig)
		change  func(n int, o *TrialOutcome) error
		end     RampEnd
		low     float64
		high    float64
		steps   int // at most
	}{
		{name: "below a tenth of the start", service: 235, end: EndObjective, low: 0, high: 0, steps: 4},
		{name: "below the start", service: 280, end: EndObjective, low: 47, high: 49.8, steps: 16},
		{name: "at the highest rate", service: 1e6, config: func(c *RampConfig) { c.Most = 500 }, end: EndMaximum, low: 500, high: 500, steps: 4},
		{name: "start above the highest", service: 1e6, config: func(c *RampConfig) { c.Most = 50 }, end: EndMaximum, low: 50, high: 50, steps: 1},
		{name: "the generator is late", service: 2000, change: func(_ int, o *TrialOutcome) error {
			o.Generator.Lateness.P99 = 11
			return nil
		}, end: EndGenerator, low: 1680, high: 1770, steps: 20},
		{name: "every request fails", service: 1e6, change: func(_ int, o *TrialOutcome) error {
			o.Sides[0] = SideOutcome{Requests: o.Sides[0].Requests, Errors: o.Sides[0].Requests}
			return nil
		}, end: EndObjective, steps: 4},
		{name: "no request at all", service: 1e6, change: func(_ int, o *TrialOutcome) error {
			o.Sides[0] = SideOutcome{}
			return nil
		}, end: EndObjective, steps: 4},
		{name: "one failure above 1000 per second", service: 1e6, change: func(_ int, o *TrialOutcome) error {
			if float64(o.Sides[0].Requests)/o.Seconds > 1000 {
				o.Sides[0].Errors = 1
			}
			return nil
		}, end: EndObjective, low: 1000 / rampResolution, high: 1000, steps: 20},
		{name: "failures within the share", service: 1e6, config: func(c *RampConfig) { c.Objective.Errors, c.Most = 0.01, 1000 }, change: func(_ int, o *TrialOutcome) error {
			o.Sides[0].Errors = o.Sides[0].Requests / 100
			return nil
		}, end: EndMaximum, low: 1000, high: 1000, steps: 6},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := rampOf("ovs")
			if row.config != nil {
				row.config(&c)
			}
			g := &simulatedQueue{t: t, service: []float64{row.service}, exact: true, change: row.change}
			got, err := RunRamp(t.Context(), c, g, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r := got[0]; r.End != row.end || r.Highest < row.low || r.Highest > row.high || len(r.Steps) > row.steps {
				t.Errorf("found %g in %d steps, which ended at the %s; want %g to %g in %d at most, %s", r.Highest, len(r.Steps), r.End, row.low, row.high, row.steps, row.end)
			}
		})
	}
}

// A trial is long enough for its percentile, and never longer than 20 s.
func TestRampTrialsAreBounded(t *testing.T) {
	c := rampOf("ovs")
	for rate, want := range map[float64]int{0.1: 2, 10: 200, 100: 1000, 1000: 3000, 100_000: 300_000} {
		if got := c.requests(rate); got != want {
			t.Errorf("at %g per second: %d requests, want %d", rate, got, want)
		}
	}
	c.Objective.Percentile = 50
	if got := c.requests(10); got != 200 {
		t.Errorf("for a median: %d requests", got)
	}
	g := &simulatedQueue{t: t, service: []float64{2000}, exact: true}
	if _, err := RunRamp(t.Context(), rampOf("ovs"), g, nil); err != nil {
		t.Fatal(err)
	}
	for _, spec := range g.calls {
		if seconds := float64(spec.Requests) / spec.Rate; seconds > 20.01 || spec.Limit.Seconds() < seconds || spec.Limit.Seconds() > 32 {
			t.Errorf("trial %+v takes %g s", spec, seconds)
		}
	}
}

func TestRampFails(t *testing.T) {
	broken := errors.New("the generator has gone")
	for _, row := range []struct {
		name   string
		config func(*RampConfig)
		change func(n int, o *TrialOutcome) error
		want   string
	}{
		{"no mesh", func(c *RampConfig) { c.Meshes = nil }, nil, "no mesh given"},
		{"objective", func(c *RampConfig) { c.Objective.Below = 0 }, nil, "objective: latency 0s"},
		{"arrivals", func(c *RampConfig) { c.Arrivals = "random" }, nil, `arrivals "random"`},
		{"NaN", func(c *RampConfig) { c.Start = math.NaN() }, nil, "first rate NaN"},
		{"start above the highest", func(c *RampConfig) { c.Start, c.Most = 500, 400 }, nil, "above the highest"},
		{"generator", nil, func(n int, _ *TrialOutcome) error {
			if n == 3 {
				return broken
			}
			return nil
		}, "ramp under ovs at 800 requests per second: the generator has gone"},
		{"no sides", nil, func(_ int, o *TrialOutcome) error { o.Sides = nil; return nil }, "answered for 0 sides"},
		{"no histogram", func(c *RampConfig) { c.Objective.Percentile = 75 }, nil, "percentile 75 of the latencies: no histogram"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := rampOf("ovs")
			if row.config != nil {
				row.config(&c)
			}
			g := &simulatedQueue{t: t, service: []float64{2000}, exact: true, change: row.change}
			got, err := RunRamp(t.Context(), c, g, nil)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
			if row.name == "generator" && (!errors.Is(err, broken) || len(got) != 1 || got[0].Highest != 400 || got[0].End != "") {
				t.Errorf("with the error came %+v", got)
			}
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	g := &simulatedQueue{t: t, service: []float64{2000}, exact: true}
	g.change = func(int, *TrialOutcome) error { cancel(); return nil }
	if _, err := RunRamp(ctx, rampOf("ovs"), g, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

func TestObjectiveKept(t *testing.T) {
	h := stats.NewHDR()
	for ms := range int64(1000) {
		if err := h.RecordValue((ms + 1) * 1e3); err != nil {
			t.Fatal(err)
		}
	}
	hdr, err := stats.EncodeHDR(h)
	if err != nil {
		t.Fatal(err)
	}
	exact := Distribution{P50: 5, P90: 9, P99: 19, HDR: hdr} // the histogram says 500, 900, 990
	for _, row := range []struct {
		percentile float64
		ms         int
		requests   int
		errors     int
		want       bool
	}{
		{50, 6, 10, 0, true}, {50, 5, 10, 0, false}, // the bound itself is not below it
		{90, 10, 10, 0, true}, {90, 9, 10, 0, false},
		{99, 20, 10, 0, true}, {99, 19, 10, 0, false},
		{95, 952, 10, 0, true}, {95, 949, 10, 0, false},
		{50, 6, 100, 10, true}, {50, 6, 100, 11, false},
		{50, 6, 10, 10, false}, {50, 6, 0, 0, false},
	} {
		o := Objective{Percentile: row.percentile, Below: time.Duration(row.ms) * time.Millisecond, Errors: 0.1}
		got, err := o.Kept(SideOutcome{Requests: row.requests, Errors: row.errors, Latency: exact})
		if err != nil || got != row.want {
			t.Errorf("%+v: %v, %v", row, got, err)
		}
	}
}

func TestParseObjective(t *testing.T) {
	o, err := ParseObjective("p99.5=1.5ms")
	if err != nil || o != (Objective{Percentile: 99.5, Below: 1500 * time.Microsecond}) {
		t.Errorf("got %+v, %v", o, err)
	}
	if again, err := ParseObjective(o.String()); err != nil || again != o {
		t.Errorf("%s is read back as %+v, %v", o, again, err)
	}
	for _, bad := range []string{"", "p99", "99=20ms", "p99=20", "p=20ms", "p100=20ms", "pNaN=20ms", "p99=0s", "p99=-5ms", "p99=2m", "p99=20ms=1"} {
		if o, err := ParseObjective(bad); err == nil {
			t.Errorf("ParseObjective(%q) = %+v", bad, o)
		}
	}
}
