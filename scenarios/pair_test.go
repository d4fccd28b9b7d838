package scenarios

import (
	"context"
	"errors"
	"fmt"
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
	if c.Verdict != Pass || c.Confirmed != nil || c.Base != "a" || c.New != "b" {
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

func TestDuetConfirms(t *testing.T) {
	slow := simulatedSide{p50: 1.3, p99: 1.3}
	t.Run("confirmed", func(t *testing.T) {
		d := runSimulated(t, simulatedConfig("a", "b"), alive(t, simulation(1, same, slow), simulation(2, same, slow)))
		c := d.Comparisons[0]
		if c.Verdict != Fail || c.Confirmed == nil || !*c.Confirmed || c.Metrics[0].Verdict != Fail {
			t.Errorf("got %+v", c)
		}
		if len(c.Again) != 2 || c.Again[0].Verdict != Fail {
			t.Errorf("the fresh labs came to %+v", c.Again)
		}
		if d.Variants[1].Starts != len(d.Trials) {
			t.Errorf("%d labs for %d trials", d.Variants[1].Starts, len(d.Trials))
		}
		if last := d.Trials[len(d.Trials)-1]; last.Round != 2 || d.Trials[0].Round != 1 {
			t.Errorf("rounds: first %d, last %d", d.Trials[0].Round, last.Round)
		}
	})
	t.Run("not confirmed", func(t *testing.T) {
		d := runSimulated(t, simulatedConfig("a", "b"), alive(t, simulation(1, same, slow), simulation(2, same, same)))
		c := d.Comparisons[0]
		if c.Verdict != Inconclusive || c.Confirmed == nil || *c.Confirmed || !strings.Contains(c.Reason, "not again in fresh labs") {
			t.Errorf("got %+v", c)
		}
		for _, m := range c.Metrics {
			if m.Verdict == Fail {
				t.Errorf("%s still says FAIL", m.Metric)
			}
		}
	})
	t.Run("one round", func(t *testing.T) {
		cfg := simulatedConfig("a", "b")
		cfg.Rounds = 1
		c := runSimulated(t, cfg, alive(t, simulation(1, same, slow))).Comparisons[0]
		if c.Verdict != Fail || c.Confirmed != nil || c.Again != nil {
			t.Errorf("got %+v", c)
		}
	})
	t.Run("ended in between", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		second := simulation(2, same, slow)
		second.after = func(int, *TrialOutcome) {
			if !second.warming && second.measured == 4 {
				cancel()
			}
		}
		d, err := RunDuet(ctx, simulatedConfig("a", "b"), alive(t, simulation(1, same, slow), second), nil)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		c := d.Comparisons[0]
		if c.Verdict != Fail || c.Confirmed != nil || !strings.Contains(c.Reason, "ended early, after 4 pairs") {
			t.Errorf("got %+v", c)
		}
		if err := d.validate(); err != nil {
			t.Error(err)
		}
	})
}

func TestDuetStopsAtLooks(t *testing.T) {
	// p99 differs by nothing and spreads much: it needs more pairs than p50.
	g := simulation(3, same, same)
	var events []DuetEvent
	d, err := RunDuet(t.Context(), simulatedConfig("a", "b"), alive(t, g, simulation(4, same, same)), func(e DuetEvent) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	n := len(d.Trials)
	if n != 10 && n != 20 && n != 30 {
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
		if e.Done != e.Trial-1 || e.Most != 30 || e.NextLook != min(30, (e.Done/10+1)*10) {
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

func TestDuetPreflight(t *testing.T) {
	knees := []float64{1000, 500}
	knee := func(_ context.Context, v int) (float64, error) { return knees[v], nil }
	quick := simulatedSide{p50: 0.5, p99: 0.5}

	h := alive(t, simulation(1, same, quick))
	h.Knee = knee
	c := simulatedConfig("a", "b")
	c.Load.Rate = 0
	d := runSimulated(t, c, h)
	// 1/3 / (1/1000 + 1/500) = 111.1 each.
	if d.Load.Rate != 110 || len(d.Knee) != 2 || d.Knee[1] != (Knee{"b", 500}) {
		t.Errorf("rate %v, knees %v", d.Load.Rate, d.Knee)
	}
	if len(d.Trials[0].Flags) > 0 {
		t.Errorf("flags %v", d.Trials[0].Flags)
	}

	h = alive(t, simulation(1, same, quick))
	h.Knee = knee
	c.Load.Rate = 200 // 200/1000 + 200/500 = 0.6
	for i, trial := range runSimulated(t, c, h).Trials {
		if want := []Flag{{FlagOverload, "60 % of the knee were offered"}}; !reflect.DeepEqual(trial.Flags, want) {
			t.Errorf("trial %d: flags %v", i, trial.Flags)
		}
	}

	h = alive(t, simulation(1, same, quick))
	h.Knee = func(context.Context, int) (float64, error) { return 0, nil }
	if d, err := RunDuet(t.Context(), c, h, nil); err == nil || !strings.Contains(err.Error(), "knee of a: no request was answered") || d == nil {
		t.Errorf("a dead variant: %v", err)
	}
}

func TestSteady(t *testing.T) {
	for _, tt := range []struct {
		medians []float64
		want    bool
	}{
		{[]float64{1, 1, 1}, false},          // less than two seconds
		{[]float64{9, 1, 1.2, 1, 1.2}, true}, // half seconds differ, seconds do not
		{[]float64{1.2, 1.2, 1.1, 1.1}, false},
		{[]float64{1, 1.02, 1.03, 1.05}, true},
		{[]float64{1, 1, 0, 1}, false}, // nothing was answered
	} {
		if got := steady(tt.medians); got != tt.want {
			t.Errorf("%v: %v", tt.medians, got)
		}
	}
}

func TestChooseRate(t *testing.T) {
	tests := []struct {
		name   string
		method Method
		knees  []float64
		want   float64
	}{
		{"two of a kind", Alive, []float64{800, 800}, 130},
		{"the most", Alive, []float64{1e6, 1e6}, 500},
		{"the most of three", Alive, []float64{1e6, 1e6, 1e6}, 330},
		{"one at a time", ABBA, []float64{900, 500}, 160},
		{"one at a time, the most", ABBA, []float64{1e6, 1e6}, 1000},
		{"slow", Alive, []float64{4.44, 4.44}, 0.74},
		{"dead", Alive, []float64{100, 0}, 0},
		{"no knee", Alive, nil, 0},
		{"no number", Alive, []float64{math.NaN(), 1}, 0},
	}
	for _, tt := range tests {
		if got := ChooseRate(tt.method, tt.knees); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestDuetFlags(t *testing.T) {
	better := simulatedSide{p50: 0.8, p99: 0.6}
	tests := []struct {
		name   string
		change func(*simulated, *DuetHooks)
		want   map[int][]FlagKind // by index of the trial; the others have none
	}{
		{"quiet", func(*simulated, *DuetHooks) {}, nil},
		{"late", func(g *simulated, _ *DuetHooks) {
			g.after = func(_ int, o *TrialOutcome) {
				if !g.warming && g.measured == 3 {
					o.Generator.Lateness = simulatedDistribution(0.1, 9, 10)
				}
			}
		}, map[int][]FlagKind{2: {FlagLate}}},
		{"errors", func(g *simulated, _ *DuetHooks) {
			g.after = func(n int, o *TrialOutcome) {
				if n == warmUpChunks+1 {
					o.Sides[1].Errors, o.Sides[1].ErrorKind = 1, map[string]int{"timeout": 1}
					o.Sides[1].Latency = simulatedDistribution(0.8, 2, 99)
					o.Sides[1].Service = o.Sides[1].Latency
				}
			}
		}, map[int][]FlagKind{0: {FlagErrors}}},
		{"steal", func(_ *simulated, h *DuetHooks) {
			read, total, steal := 0, 0.0, 0.0
			h.machine = func() (cpuTimes, error) {
				read++
				total += 100
				if read == 4 { // after the second trial
					steal += 3
				}
				return cpuTimes{total: total, steal: steal}, nil
			}
		}, map[int][]FlagKind{1: {FlagSteal}}},
		{"unsteady", func(g *simulated, _ *DuetHooks) {
			g.after = func(n int, o *TrialOutcome) {
				if n <= warmUpMost {
					o.Sides[0].Latency.P50 *= math.Pow(1.1, float64(n))
				}
			}
		}, map[int][]FlagKind{0: {FlagUnsteady}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := simulation(1, same, better)
			h := alive(t, g)
			tt.change(g, &h)
			d := runSimulated(t, simulatedConfig("a", "b"), h)
			for i, trial := range d.Trials {
				var got []FlagKind
				for _, f := range trial.Flags {
					got = append(got, f.Kind)
				}
				if !slices.Equal(got, tt.want[i]) {
					t.Errorf("trial %d: flags %v, want %v", i, trial.Flags, tt.want[i])
				}
			}
			if len(d.Trials) < 10 || d.Comparisons[0].Metrics[0].Pairs != 10 {
				t.Errorf("a flagged trial was left out: %+v", d.Comparisons[0])
			}
		})
	}
}

func TestDuetWarmUp(t *testing.T) {
	better := simulatedSide{p50: 0.8, p99: 0.6}
	g := simulation(1, same, better)
	g.own50 = 0
	g.after = func(n int, o *TrialOutcome) {
		if n <= 6 { // cold
			o.Sides[1].Latency.P50 = 5 - 0.3*float64(n)
		}
	}
	d := runSimulated(t, simulatedConfig("a", "b"), alive(t, g))
	if w := d.Trials[0].WarmUp; !w.Steady || math.Abs(w.Seconds-5) > 0.001 { // 10 chunks
		t.Errorf("warm-up %+v", w)
	}
	if w := d.Trials[1].WarmUp; !w.Steady || math.Abs(w.Seconds-2) > 0.001 { // its labs have just come up, too
		t.Errorf("warm-up of the second trial: %+v", w)
	}
	if got := g.specs[0]; got.Requests != 100 || got.Rate != 200 { // half a second of 200 per second
		t.Errorf("a chunk is %+v", got)
	}
}

func TestDuetABBA(t *testing.T) {
	// Latency drifts by 2 % a trial, which strikes the second of a pair.
	g := simulation(5, same, simulatedSide{p50: 0.8, p99: 0.5}, simulatedSide{p50: 1.5, p99: 2})
	g.common, g.drift = 0.05, 0.02
	current, switches := -1, 0
	h := DuetHooks{
		Use: func(_ context.Context, _, variant int) (ActiveSide, error) {
			fresh := variant != current
			if fresh {
				current = variant
				switches++
			}
			return ActiveSide{Generator: g, Side: variant, Fresh: fresh}, nil
		},
		machine: quietMachine(),
	}
	h.Knee = func(_ context.Context, variant int) (float64, error) {
		if variant != current {
			t.Errorf("the knee of %d is searched while %d is up", variant, current)
		}
		return 1000, nil
	}
	var order []string
	c := simulatedConfig("a", "b", "c")
	c.Method, c.Rounds = ABBA, 1
	d := runSimulated(t, c, h)
	if first := d.Trials[0].WarmUp; first.Seconds < 4 || !first.Steady { // both of the pair, though one was up for its knee
		t.Errorf("the first warm-up was %+v", first)
	}
	if len(d.Trials) != 60 {
		t.Fatalf("%d trials, want 30 pairs of each comparison", len(d.Trials))
	}
	for _, s := range g.specs {
		if len(s.Only) != 1 {
			t.Fatalf("sides %v were active together", s.Only)
		}
		if s.Requests == c.Load.Requests && s.Window > 0 { // not the warm-up
			order = append(order, string('a'+rune(s.Only[0])))
		}
	}
	kinds := make(map[string]int)
	for block := range slices.Chunk(order, 4) {
		kinds[strings.Join(block, "")]++
	}
	if len(kinds) != 4 || kinds["abba"]+kinds["baab"] != 15 || kinds["acca"]+kinds["caac"] != 15 || kinds["abba"] == 0 || kinds["baab"] == 0 {
		t.Errorf("blocks: %v", kinds)
	}
	if got := d.Comparisons[0].Metrics[0]; d.Comparisons[0].Verdict != Pass || got.Pairs != 30 || math.Abs(got.Ratio-0.8) > 0.03 {
		t.Errorf("b: %+v", d.Comparisons[0])
	}
	if got := d.Comparisons[1].Metrics[0]; d.Comparisons[1].Verdict != Fail || math.Abs(got.Ratio-1.5) > 0.06 {
		t.Errorf("c: %+v", d.Comparisons[1])
	}
	if starts := d.Variants[0].Starts + d.Variants[1].Starts + d.Variants[2].Starts; starts != switches {
		t.Errorf("%d starts told, there were %d", starts, switches)
	}
	// The costs and outcomes of both halves are in one trial.
	for i, trial := range d.Trials {
		if (trial.Sides[1].Requests > 0) == (trial.Sides[2].Requests > 0) || trial.Sides[0].Requests == 0 || trial.Seconds != 1 {
			t.Errorf("trial %d: %d, %d and %d requests in %v s", i, trial.Sides[0].Requests, trial.Sides[1].Requests, trial.Sides[2].Requests, trial.Seconds)
		}
	}
}

// Labs that coexist come up once, for their knees: they are warmed up before
// their first trial all the same, and only then.
func TestDuetABBAWarmsUpAfterKnees(t *testing.T) {
	g := simulation(5, same, simulatedSide{p50: 0.8, p99: 0.5})
	g.own50 = 0 // steady at once
	up := make(map[int]bool)
	h := DuetHooks{
		Use: func(_ context.Context, _, variant int) (ActiveSide, error) {
			fresh := !up[variant]
			up[variant] = true
			return ActiveSide{Generator: g, Side: variant, Fresh: fresh}, nil
		},
		Knee:    func(context.Context, int) (float64, error) { return 1000, nil },
		machine: quietMachine(),
	}
	c := simulatedConfig("a", "b")
	c.Method, c.Rounds, c.Rule = ABBA, 1, Rule{Looks: []int{4}, Margins: DefaultRule(ABBA, 0).Margins}
	d := runSimulated(t, c, h)
	for i, trial := range d.Trials {
		if want := map[int]float64{0: 4}[i]; trial.WarmUp.Seconds != want {
			t.Errorf("trial %d: a warm-up of %v s, want %v", i, trial.WarmUp.Seconds, want)
		}
	}
	if d.Variants[0].Starts != 1 || d.Variants[1].Starts != 1 || d.Rule.Hypotheses != 2 {
		t.Errorf("starts %+v, %d hypotheses", d.Variants, d.Rule.Hypotheses)
	}
}

func TestDuetCosts(t *testing.T) {
	for _, method := range []Method{Alive, ABBA} {
		g := simulation(1, same, simulatedSide{p50: 0.8, p99: 0.6})
		h := alive(t, g)
		h.Use = func(_ context.Context, _, v int) (ActiveSide, error) { return ActiveSide{Generator: g, Side: v}, nil }
		reads := make([]int, 2)
		h.Costs = func(_ context.Context, v int) ([]Cost, error) {
			reads[v]++
			if v == 1 && reads[1] == 4 { // after b's second trial
				return nil, errors.New("no answer")
			}
			restarted := 0.0
			if reads[v]%2 == 0 {
				restarted = -1
			}
			return []Cost{{"switch", float64(reads[v] * (v + 1)), 100}, {"sidecar", restarted, 1}}, nil
		}
		c := simulatedConfig("a", "b")
		c.Method, c.Rounds, c.Rule = method, 1, Rule{Looks: []int{4}, Margins: DefaultRule(method, 0).Margins}
		d := runSimulated(t, c, h)
		want := [][]Cost{{{"switch", 1, 100}}, {{"switch", 2, 100}}}
		if got := d.Trials[0].Costs; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: costs %v, want %v", method, got, want)
		}
		if got := d.Trials[1].Costs; len(got) != 2 || len(got[0]) != 1 || got[1] != nil {
			t.Errorf("%s: costs %v, want none of b", method, got)
		}
	}
}

func TestDuetKeepsRequests(t *testing.T) {
	g := simulation(1, same, simulatedSide{p50: 0.8, p99: 0.6})
	g.after = func(_ int, o *TrialOutcome) { o.Sides[0].Log = []RequestAt{{At: 1, Late: -0.001}} }
	h := alive(t, g)
	kept := 0
	h.Requests = func(round, trial int, o TrialOutcome) error {
		if kept++; round != 1 || trial != kept || len(o.Sides[0].Log) != 1 {
			t.Errorf("round %d, trial %d: %v", round, trial, o.Sides[0].Log)
		}
		if kept == 3 {
			return errors.New("disk full")
		}
		return nil
	}
	c := simulatedConfig("a", "b")
	c.Log = true
	d, err := RunDuet(t.Context(), c, h, nil)
	if err == nil || !strings.Contains(err.Error(), "keep the requests: disk full") || len(d.Trials) != 2 {
		t.Errorf("got %v", err)
	}
	if d.Trials[0].Sides[0].Log != nil || !g.specs[len(g.specs)-1].Log {
		t.Error("the log was not asked for, or is kept in the document")
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
			h.Open = func(context.Context, int) (Generator, error) { return nil, broken }
		}, "trial 1 of round 1: open labs: broken", 0},
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
		}, "trial 1 of round 1: broken", 0},
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
		{"rounds", func(c *DuetConfig, _ *DuetHooks) { c.Rounds = 3 }, "3 rounds"},
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

func TestMachineTimes(t *testing.T) {
	now, err := readCPUTimes()
	if err != nil || now.total <= 0 || now.idle <= 0 || now.idle > now.total {
		t.Errorf("%+v, %v", now, err)
	}
	for _, tt := range []struct {
		used        cpuTimes
		steal, busy float64
	}{
		{cpuTimes{total: 100, idle: 60, steal: 10}, 0.1, 0.3},
		{cpuTimes{total: 100, idle: 101}, 0, 0}, // counters that ran back
		{cpuTimes{}, 0, 0},
	} {
		if steal, busy := tt.used.ratios(); math.Abs(steal-tt.steal) > 1e-9 || math.Abs(busy-tt.busy) > 1e-9 {
			t.Errorf("%+v: steal %v, busy %v", tt.used, steal, busy)
		}
	}
}

func ExampleChooseRate() {
	// ovs answers 2,000 requests per second alone, consul-connect 400.
	fmt.Println(ChooseRate(Alive, []float64{2000, 400}))
	// Output: 110
}
