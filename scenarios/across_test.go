package scenarios

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// runOf makes a run with one duet of meshes and given p50 per mesh, with the
// noise of each trial common to all meshes. speed is that of the machine.
func runOf(id string, seed uint64, speed float64, p50 map[string]float64, meshes ...string) *Result {
	rng := rand.New(rand.NewPCG(seed, 1))
	d := Duet{Scenario: "open", Request: "frontend", Lab: "hashicups", Pods: MultipleNodes, Load: OpenLoad{Connections: 16}}
	for _, m := range meshes {
		d.Variants = append(d.Variants, Variant{Name: m, Mesh: m})
	}
	for range 30 {
		noise := speed * math.Exp(0.3*rng.NormFloat64())
		var t Trial
		for _, m := range meshes {
			v := p50[m] * noise * math.Exp(0.01*rng.NormFloat64())
			t.Sides = append(t.Sides, SideOutcome{Requests: 100, Latency: Distribution{P50: v, P99: 3 * v}})
		}
		d.Trials = append(d.Trials, t)
	}
	return &Result{ID: id, Duets: []Duet{d}}
}

func TestCompareRuns(t *testing.T) {
	plain := map[string]float64{"direct": 1, "ovs": 1.1}
	slower := map[string]float64{"direct": 1, "ovs": 1.1 * 1.2}
	faster := map[string]float64{"direct": 1, "ovs": 1.1 / 1.3}
	for name, tc := range map[string]struct {
		base, changed *Result
		want          Verdict
		ratio         float64 // of ovs, within 2 %
		reason        string
	}{
		"the same, on a machine half as fast": {
			runOf("a", 1, 1, plain, "direct", "ovs"), runOf("b", 2, 2, plain, "direct", "ovs"), Pass, 1, "ratio to direct"},
		"a mesh that got slower, on a machine twice as fast": {
			runOf("a", 3, 1, plain, "direct", "ovs"), runOf("b", 4, 0.5, slower, "direct", "ovs"), Fail, 1.2, "taken not to have changed"},
		"a mesh that got faster": {
			runOf("a", 9, 1, plain, "direct", "ovs"), runOf("b", 10, 1, faster, "direct", "ovs"), Pass, 1 / 1.3, "ratio to direct"},
		"no mesh beside it": {
			runOf("a", 5, 1, plain, "ovs"), runOf("b", 6, 3, plain, "ovs"), Inconclusive, 3, "two times"},
	} {
		t.Run(name, func(t *testing.T) {
			duets, err := CompareRuns(tc.base, tc.changed)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range duets {
				if d.Variants[0].Mesh != "ovs" {
					t.Errorf("%s was compared: by what, if all others are compared by it?", d.Variants[0].Mesh)
					continue
				}
				found = true
				c := d.Comparisons[0]
				if c.Verdict != tc.want || !strings.Contains(c.Reason, tc.reason) {
					t.Errorf("got %s because %q, want %s because ...%q...: %+v", c.Verdict, c.Reason, tc.want, tc.reason, c.Metrics)
				}
				tolerance := 0.02
				if tc.want == Inconclusive {
					tolerance = 0.3 // the machine's noise is in it
				}
				if got := c.Metrics[0].Ratio; math.Abs(got/tc.ratio-1) > tolerance {
					t.Errorf("ratio %v, want %v", got, tc.ratio)
				}
			}
			if !found {
				t.Fatal("ovs was not compared")
			}
		})
	}
	t.Run("nothing alike", func(t *testing.T) {
		other := runOf("b", 7, 1, plain, "ovs")
		other.Duets[0].Request = "api"
		if _, err := CompareRuns(runOf("a", 8, 1, plain, "ovs"), other); !errors.Is(err, ErrNothingCommon) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("failed requests", func(t *testing.T) {
		// One of a thousand in every trial: all of them count. Ten, and none does.
		for errs, want := range map[int]Verdict{1: Pass, 10: Inconclusive} {
			a, b := runOf("a", 15, 1, plain, "direct", "ovs"), runOf("b", 16, 1, plain, "direct", "ovs")
			for i := range b.Duets[0].Trials {
				side := &b.Duets[0].Trials[i].Sides[1]
				side.Requests, side.Errors = 1000, errs
			}
			duets, err := CompareRuns(a, b)
			if err != nil {
				t.Fatal(err)
			}
			c := duets[0].Comparisons[0]
			if told := strings.Contains(c.Reason, "requests that failed: 300 of 30000 (1 %) under ovs in the second run; latencies do not compare"); c.Verdict != want || told != (want == Inconclusive) || c.Metrics[0].Pairs != 30 {
				t.Errorf("%d of 1000 failed: %s over %d pairs (%s)", errs, c.Verdict, c.Metrics[0].Pairs, c.Reason)
			}
		}
		cells := func(id string, errs int) *Result {
			r := &Result{ID: id}
			for _, m := range []string{"direct", "ovs"} {
				c := Cell{Request: "api", Pods: MultipleNodes, Connections: 8, Mesh: m}
				for range 4 {
					c.Attempts = append(c.Attempts, Attempt{Requests: 10, Errors: errs, P50: 1, P99: 2})
				}
				r.Cells = append(r.Cells, c)
			}
			return r
		}
		if _, err := CompareRuns(cells("a", 0), cells("b", 1)); !errors.Is(err, ErrNothingCommon) || !strings.Contains(err.Error(), "in which no request failed") {
			t.Errorf("closed loops: %v", err)
		}
	})
	t.Run("another rate is told", func(t *testing.T) {
		a, b := runOf("a", 11, 1, plain, "direct", "ovs"), runOf("b", 12, 1, plain, "direct", "ovs")
		a.Duets[0].Load.Rate, b.Duets[0].Load.Rate = 61, 180
		duets, err := CompareRuns(a, b)
		if want := "61 requests/s of each mesh in the first run and 180 in the second"; err != nil || !strings.Contains(duets[0].Comparisons[0].Reason, want) {
			t.Errorf("got %+v, %v, want %q", duets, err, want)
		}
	})
	t.Run("other arrivals are another load", func(t *testing.T) {
		a, b := runOf("a", 13, 1, plain, "direct", "ovs"), runOf("b", 14, 1, plain, "direct", "ovs")
		a.Duets[0].Load.Arrivals, b.Duets[0].Load.Arrivals = Poisson, Constant
		if _, err := CompareRuns(a, b); !errors.Is(err, ErrNothingCommon) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("two attempts are too few to pass", func(t *testing.T) {
		cells := func(id string) *Result {
			r := &Result{ID: id}
			for _, m := range []string{"direct", "ovs"} {
				c := Cell{Request: "api", Pods: MultipleNodes, Connections: 8, Mesh: m}
				for i := range 3 {
					c.Attempts = append(c.Attempts, Attempt{Requests: 10, P50: 1 + float64(i)/100, P99: 2})
				}
				r.Cells = append(r.Cells, c)
			}
			return r
		}
		a, b := cells("a"), cells("b")
		a.Labs, b.Labs = []LabInfo{{Name: "hashicups", Pods: MultipleNodes}}, []LabInfo{{Name: "mine", Pods: MultipleNodes}}
		if _, err := CompareRuns(a, b); !errors.Is(err, ErrNothingCommon) {
			t.Errorf("two labs: got %v", err)
		}
		duets, err := CompareRuns(cells("a"), cells("b"))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range duets {
			if v := d.Comparisons[0].Verdict; v != Inconclusive {
				t.Errorf("%s: %s from two pairs", d.Variants[0].Mesh, v)
			}
		}
	})
}

func TestReplicate(t *testing.T) {
	f := func(ratio, low, high float64) Finding {
		return Finding{Cell: "frontend, MN", Figure: "p50", Base: "consul-connect", New: "ovs", Ratio: ratio, Low: low, High: high}
	}
	for i, tc := range []struct {
		original, here Finding
		want           Outcome
	}{
		{f(0.6, 0.58, 0.62), f(0.61, 0.59, 0.63), Replicated},
		{f(0.6, 0.58, 0.62), f(0.7, 0.69, 0.71), SameDirection},
		{f(0.6, 0.58, 0.62), f(1.1, 1.05, 1.15), NotReplicated},
		{f(0.6, 0.58, 0.62), f(0.99, 0.96, 1.02), NotReplicated}, // it might as well be 1
		{f(2, 0, 0), f(1.9, 1.7, 2.1), Replicated},               // no interval: inside that found here
		{f(2, 0, 0), f(1.2, 1.1, 1.3), SameDirection},
		{f(2, 0, 0), f(1.2, 0, 0), NotMeasured},
		{f(2, 0, 0), f(math.NaN(), 1, 2), NotMeasured},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			got := Replicate([]Finding{tc.original}, []Finding{tc.here})
			if len(got) != 1 || got[0].Outcome != tc.want {
				t.Errorf("%+v against %+v: got %+v, want %s", tc.here, tc.original, got, tc.want)
			}
		})
	}
	other := f(0.6, 0.58, 0.62)
	other.New = "direct"
	if got := Replicate([]Finding{other}, []Finding{f(0.6, 0.58, 0.62)}); got[0].Outcome != NotMeasured || got[0].Here != nil {
		t.Errorf("another mesh: got %+v", got)
	}
}

// Of one request there may be paired trials in several scenarios and labs: each
// is held against its own.
func TestReplicateTellsScenariosAndLabsApart(t *testing.T) {
	duet := func(scenario, lab string, ratio float64) Duet {
		return Duet{Scenario: scenario, Request: "web", Lab: lab, Pods: MultipleNodes, Variants: []Variant{{Name: "direct"}, {Name: "ovs"}}, Load: OpenLoad{Connections: 16}, Comparisons: []Comparison{{
			Base: "direct", New: "ovs", Metrics: []MetricDecision{{Metric: "p50", Ratio: ratio, Low: ratio * 0.99, High: ratio * 1.01}}}}}
	}
	r := &Result{Duets: []Duet{duet("open", "one", 1), duet("constant", "one", 1.2), duet("open", "two", 1.5)}}
	for i, one := range Replicate(r.Findings(), r.Findings()) {
		if one.Outcome != Replicated || one.Here.Ratio != one.Original.Ratio {
			t.Errorf("finding %d: %s, %v held against %v", i, one.Outcome, one.Here.Ratio, one.Original.Ratio)
		}
	}
	failing := duet("open", "one", 1)
	failing.Trials = pairTrials([]float64{1}, []float64{1})
	failing.Trials[0].Sides[1].Errors = 2
	if got := (&Result{Duets: []Duet{failing}}).Findings(); len(got) > 0 {
		t.Errorf("2 of 1000 requests failed, and there is a ratio: %+v", got)
	}
	if got, want := r.Findings()[1].Point.Request, "web (constant)"; got != want {
		t.Errorf("called %q, want %q", got, want)
	}
}
