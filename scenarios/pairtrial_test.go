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

// What strikes all sides alike is not waited for; what drifts between them is.
func TestSteadySides(t *testing.T) {
	falling := []float64{8, 4, 2, 1}
	if !steadySides([][]float64{falling, {16, 8, 4, 2}}) {
		t.Error("both became faster together: not steady")
	}
	if steadySides([][]float64{{1, 1, 1, 1}, falling}) || steadySides([][]float64{falling}) {
		t.Error("one became faster alone: steady")
	}
	if steadySides([][]float64{{0, 0, 0, 0}, {1, 1, 1, 1}}) || steadySides([][]float64{{1, 1, 1, 1}, {1, 0, 1, 1}}) {
		t.Error("a side that answered nothing: steady")
	}
	if steadySides([][]float64{{1, 1, 1, 1}, {2, 2, 2, 2}, falling}) {
		t.Error("the third became faster alone: steady")
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
		Use: func(_ context.Context, variant int) (ActiveSide, error) {
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
	c.Method = ABBA
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
		Use: func(_ context.Context, variant int) (ActiveSide, error) {
			fresh := !up[variant]
			up[variant] = true
			return ActiveSide{Generator: g, Side: variant, Fresh: fresh}, nil
		},
		Knee:    func(context.Context, int) (float64, error) { return 1000, nil },
		machine: quietMachine(),
	}
	c := simulatedConfig("a", "b")
	c.Method, c.Rule = ABBA, Rule{Looks: []int{4}, Margins: DefaultRule(ABBA, 0).Margins}
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
		h.Use = func(_ context.Context, v int) (ActiveSide, error) { return ActiveSide{Generator: g, Side: v}, nil }
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
		c.Method, c.Rule = method, Rule{Looks: []int{4}, Margins: DefaultRule(method, 0).Margins}
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
	h.Requests = func(trial int, o TrialOutcome) error {
		if kept++; trial != kept || len(o.Sides[0].Log) != 1 {
			t.Errorf("trial %d: %v", trial, o.Sides[0].Log)
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

// A warm-up lasts 20 s, not 40 chunks of answers that take long.
func TestWarmUpEndsInTime(t *testing.T) {
	g := simulation(1, same, same)
	g.after = func(n int, o *TrialOutcome) {
		if g.warming {
			o.Seconds = 3
			o.Sides[1].Latency.P50 *= float64(n) // never steady
		}
	}
	c := simulatedConfig("a", "b")
	c.Rule = Rule{Looks: []int{1}, Margins: DefaultRule(Alive, 0).Margins}
	if w := runSimulated(t, c, alive(t, g)).Trials[0].WarmUp; w.Seconds != 21 || w.Steady {
		t.Errorf("got %+v, want 7 chunks of 3 s", w)
	}
}
