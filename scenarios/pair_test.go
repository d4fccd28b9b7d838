package scenarios

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func runSimulated(t *testing.T, c DuetConfig, h DuetHooks) *Duet {
	t.Helper()
	d, err := RunDuet(t.Context(), c, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.validate(); err != nil {
		t.Errorf("the duet is not valid: %v", err)
	}
	return d
}

func TestDuetPasses(t *testing.T) {
	g := simulation(1, same, simulatedSide{p50: 0.8, p99: 0.6})
	d := runSimulated(t, simulatedConfig("a", "b"), alive(t, g))
	c := d.Comparisons[0]
	if c.Verdict != Pass || c.Base != "a" || c.New != "b" {
		t.Fatalf("got %+v", c)
	}
	if m := c.Metrics[0]; math.Abs(m.Ratio-0.8) > 0.02 || m.Low > m.Ratio || m.High < m.Ratio || m.Bound < m.Ratio || m.Pairs != 10 {
		t.Errorf("p50: %+v", m)
	}
	// Each pair has labs of its own.
	if n := len(d.Trials); g.opened != n || g.closed != n || d.Variants[0].Starts != n || d.Variants[1].Starts != n {
		t.Errorf("%d trials in %d pairs of labs, %d closed: %+v", n, g.opened, g.closed, d.Variants)
	}
	seeds := make(map[uint64]bool)
	for _, s := range g.specs {
		if seeds[s.Seed] {
			t.Errorf("seed %d is used twice", s.Seed)
		}
		seeds[s.Seed] = true
	}
	// The same run again sends the same; another request does not.
	again := simulation(1, same, simulatedSide{p50: 0.8, p99: 0.6})
	runSimulated(t, simulatedConfig("a", "b"), alive(t, again))
	if !reflect.DeepEqual(g.specs, again.specs) {
		t.Error("the same seed sent something else")
	}
	other := simulatedConfig("a", "b")
	other.Request = "frontend"
	g = simulation(1, same, simulatedSide{p50: 0.8, p99: 0.6})
	runSimulated(t, other, alive(t, g))
	if seeds[g.specs[0].Seed] {
		t.Error("another request has the same arrivals")
	}
}

func TestDuetFindsASlowerVariant(t *testing.T) {
	g := simulation(1, same, simulatedSide{p50: 1.3, p99: 1.3})
	d := runSimulated(t, simulatedConfig("a", "b"), alive(t, g))
	c := d.Comparisons[0]
	if c.Verdict != Fail || c.Metrics[0].Verdict != Fail || c.Metrics[0].Pairs != 10 {
		t.Errorf("got %+v", c)
	}
	if most := d.Rule.last(); len(d.Trials) > most || g.opened != len(d.Trials) {
		t.Errorf("%d trials in %d pairs of labs, want %d at most", len(d.Trials), g.opened, most)
	}
}

func TestDuetStopsAtLooks(t *testing.T) {
	// p99 differs by nothing and spreads much: it needs more pairs than p50.
	g := simulation(3, same, same)
	var events []DuetEvent
	d, err := RunDuet(t.Context(), simulatedConfig("a", "b"), alive(t, g), func(e DuetEvent) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	n := len(d.Trials)
	looks := DefaultRule(Alive, 0).Looks
	if !slices.Contains(looks, n) {
		t.Errorf("it ended after %d trials", n)
	}
	first := d.Comparisons[0].Metrics[0]
	if first.Verdict != Pass || first.Pairs != 10 {
		t.Errorf("p50: %+v", first)
	}
	var trials []int
	for i, e := range events {
		if e.Phase != PhaseTrial {
			continue
		}
		trials = append(trials, e.Trial)
		next := looks[slices.IndexFunc(looks, func(look int) bool { return look > e.Done })]
		if e.Done != e.Trial-1 || e.Most != looks[len(looks)-1] || e.NextLook != next {
			t.Errorf("event %d: done %d, next look %d, most %d", i, e.Done, e.NextLook, e.Most)
		}
		if e.Done > 0 && (e.ToLook <= 0 || e.Left < e.ToLook || len(e.Comparisons) != 1) {
			t.Errorf("event %d: %v to the look, %v left, %d comparisons", i, e.ToLook, e.Left, len(e.Comparisons))
		}
		if e.Done >= 10 && e.Comparisons[0].Metrics[0] != first {
			t.Errorf("event %d: p50 was decided at 10, now it is %+v", i, e.Comparisons[0].Metrics[0])
		}
	}
	if want := n; len(trials) != want || trials[0] != 1 || trials[len(trials)-1] != want {
		t.Errorf("trials told: %v", trials)
	}
	if events[0].Phase != PhaseLabs || events[1].Phase != PhaseWarmUp || events[len(events)-1].Phase != PhaseDone {
		t.Errorf("phases: %v, %v, ..., %v", events[0].Phase, events[1].Phase, events[len(events)-1].Phase)
	}
	// What the document says is what its trials say.
	cfg := simulatedConfig("a", "b")
	j := judge{variants: cfg.Variants, rule: d.Rule, resamples: 500}
	if got := j.comparisons(d.Trials); !reflect.DeepEqual(got, d.Comparisons) {
		t.Errorf("decided again:\n%+v\nstored:\n%+v", got, d.Comparisons)
	}
}

// What nothing can be concluded from ends at the next look: until then it may
// turn out that the new variant fails, which is a FAIL.
func TestDuetStopsAtALookWhenSilent(t *testing.T) {
	g := simulation(3, same, same)
	g.own50 = 0 // the warm-up is steady at once
	g.after = func(_ int, o *TrialOutcome) {
		if !g.warming && g.measured == 2 {
			o.Sides[1] = SideOutcome{Requests: 100, Errors: 100, ErrorKind: map[string]int{"timeout": 100}}
		}
	}
	d := runSimulated(t, simulatedConfig("a", "b"), alive(t, g))
	if c := d.Comparisons[0]; len(d.Trials) != 10 || c.Verdict != Inconclusive || !strings.Contains(c.Reason, "b answered no request of pair 2") {
		t.Errorf("%d trials, %+v", len(d.Trials), c)
	}
}

func TestDuetFails(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name   string
		change func(*simulated, *DuetHooks)
		want   string
		trials int
	}{
		{"labs do not come up", func(_ *simulated, h *DuetHooks) {
			h.Open = func(context.Context) (Generator, error) { return nil, broken }
		}, "trial 1: open labs: broken", 0},
		{"the generator answers for one side", func(g *simulated, _ *DuetHooks) {
			g.after = func(n int, o *TrialOutcome) {
				if n > 6 {
					o.Sides = o.Sides[:1]
				}
			}
		}, "answered for 1 sides", -1},
		{"not a number", func(g *simulated, _ *DuetHooks) {
			g.after = func(_ int, o *TrialOutcome) {
				if !g.warming && g.measured > 2 {
					o.Sides[1].Latency.P99 = math.NaN()
				}
			}
		}, "p99_ms is NaN", 2},
		{"zero latency", func(g *simulated, _ *DuetHooks) {
			g.after = func(n int, o *TrialOutcome) {
				if n > warmUpChunks {
					o.Sides[1].Latency.Min = 0
				}
			}
		}, "answered in no time", 0},
		{"a variant that got nothing", func(g *simulated, _ *DuetHooks) {
			g.after = func(n int, o *TrialOutcome) {
				if n > warmUpChunks {
					o.Sides[1] = SideOutcome{}
				}
			}
		}, "sent nothing to b", 0},
		{"the machine is unknown", func(_ *simulated, h *DuetHooks) {
			h.machine = func() (cpuTimes, error) { return cpuTimes{}, broken }
		}, "trial 1: broken", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := simulation(1, same, same)
			h := alive(t, g)
			tt.change(g, &h)
			d, err := RunDuet(t.Context(), simulatedConfig("a", "b"), h, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if tt.trials >= 0 && len(d.Trials) != tt.trials {
				t.Errorf("%d trials were kept, want %d", len(d.Trials), tt.trials)
			}
			if err := d.validate(); err != nil {
				t.Errorf("what is left is not valid: %v", err)
			}
		})
	}
}

func TestDuetRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*DuetConfig, *DuetHooks)
		want   string
	}{
		{"one variant", func(c *DuetConfig, _ *DuetHooks) { c.Variants = c.Variants[:1] }, "1 variants"},
		{"a variant twice", func(c *DuetConfig, _ *DuetHooks) { c.Variants[1] = c.Variants[0] }, "there twice"},
		{"no name", func(c *DuetConfig, _ *DuetHooks) { c.Variants[1].Name = "" }, "name or mesh is empty"},
		{"no rate", func(c *DuetConfig, _ *DuetHooks) { c.Load.Rate = 0 }, "nothing to choose it by"},
		{"rate", func(c *DuetConfig, _ *DuetHooks) { c.Load.Rate = math.Inf(1) }, "rate +Inf"},
		{"requests", func(c *DuetConfig, _ *DuetHooks) { c.Load.Requests = 0 }, "0 requests"},
		{"connections", func(c *DuetConfig, _ *DuetHooks) { c.Load.Connections = 0 }, "0 connections"},
		{"arrivals", func(c *DuetConfig, _ *DuetHooks) { c.Load.Arrivals = "bursts" }, `arrivals "bursts"`},
		{"method", func(c *DuetConfig, _ *DuetHooks) { c.Method = "one" }, `method "one"`},
		{"no labs", func(c *DuetConfig, _ *DuetHooks) { c.Method = ABBA }, "nothing provides labs for abba"},
		{"looks", func(c *DuetConfig, _ *DuetHooks) { c.Rule = DefaultRule(Alive, 0); c.Rule.Looks = []int{10, 10} }, "ascending"},
		{"no looks", func(c *DuetConfig, _ *DuetHooks) { c.Rule = Rule{Margins: []Margin{{"p50", 0.1}}} }, "want both or none"},
		{"metric", func(c *DuetConfig, _ *DuetHooks) { c.Rule = Rule{Looks: []int{10}, Margins: []Margin{{"p90", 0.1}}} }, `margin of "p90"`},
		{"margin", func(c *DuetConfig, _ *DuetHooks) {
			c.Rule = Rule{Looks: []int{10}, Margins: []Margin{{"p50", math.NaN()}}}
		}, "margin NaN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, h := simulatedConfig("a", "b"), alive(t, simulation(1, same, same))
			tt.change(&c, &h)
			if d, err := RunDuet(t.Context(), c, h, nil); err == nil || d != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestDuetEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := simulation(1, same, same)
	g.after = func(int, *TrialOutcome) {
		if !g.warming && g.measured == 3 {
			cancel()
		}
	}
	d, err := RunDuet(ctx, simulatedConfig("a", "b"), alive(t, g), nil)
	if !errors.Is(err, context.Canceled) || len(d.Trials) != 3 || g.closed != g.opened {
		t.Fatalf("got %v, %d trials, closed %d times", err, len(d.Trials), g.closed)
	}
	if c := d.Comparisons[0]; c.Verdict != Inconclusive || c.Metrics[0].Pairs != 3 || !strings.Contains(c.Metrics[0].Reason, "3 pairs") {
		t.Errorf("got %+v", c)
	}
}
