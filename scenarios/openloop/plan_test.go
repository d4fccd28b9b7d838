package openloop

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

func trialSpec() scenarios.TrialSpec {
	return scenarios.TrialSpec{
		Requests: 100, Rate: 1000, Arrivals: scenarios.Poisson, Seed: 7, Limit: 20 * time.Second,
	}
}

func TestSlots(t *testing.T) {
	spec := trialSpec()
	spec.Requests = 12_000
	sides := []int{0, 1, 3}
	weights := []int{1, 2, 5}
	plan := draw(spec, sides, weights)
	if len(plan) != 36_000 {
		t.Fatalf("%d arrivals", len(plan))
	}
	orders := make(map[[3]int]int)
	steps := make([]int, len(weights))
	together := 0
	for i := 0; i < len(plan); i += 3 {
		slot := plan[i : i+3]
		order := [3]int{slot[0].side, slot[1].side, slot[2].side}
		orders[order]++
		if sorted := slices.Sorted(slices.Values(order[:])); !slices.Equal(sorted, sides) {
			t.Fatalf("slot %d has sides %v", i/3, order)
		}
		if slot[0].step != slot[1].step || slot[0].step != slot[2].step {
			t.Fatalf("slot %d has different steps", i/3)
		}
		steps[slot[0].step]++
		if i > 0 && slot[0].side == plan[i-1].side {
			together++
		}
	}
	// 6 orders of 2,000 each: chi-squared with 5 degrees of freedom is above
	// 30.9 once in 100,000.
	chi := 0.0
	for _, n := range orders {
		chi += float64(n-2000) * float64(n-2000) / 2000
	}
	if len(orders) != 6 || chi > 30.9 {
		t.Errorf("orders %v are not alike: chi-squared %.1f", orders, chi)
	}
	// A slot begins with the side that the last one ended with in a third of
	// all cases, if the orders do not depend on each other.
	if math.Abs(float64(together)-4000) > 5*math.Sqrt(12_000*2/9.0) {
		t.Errorf("%d of 12,000 slots begin as the last one ended, want about 4,000", together)
	}
	for i, n := range steps {
		p := float64(weights[i]) / 8
		if math.Abs(float64(n)-12_000*p) > 5*math.Sqrt(12_000*p*(1-p)) {
			t.Errorf("step %d was drawn %d times of 12,000, its weight is %d of 8", i, n, weights[i])
		}
	}
}

func TestPoissonGaps(t *testing.T) {
	spec := trialSpec()
	spec.Requests = 10_000
	plan := draw(spec, []int{0, 1}, []int{1})
	const mean = 1.0 / 2000 // seconds: 1,000 per second and side
	var gaps []float64
	for i := 1; i < len(plan); i++ {
		gaps = append(gaps, (plan[i].at-plan[i-1].at).Seconds()/mean)
	}
	n := float64(len(gaps))
	var sum, squares float64
	for _, g := range gaps {
		sum += g
		squares += g * g
	}
	m := sum / n
	variance := squares/n - m*m
	// In units of the mean, an exponential distribution has mean and variance
	// 1; their standard errors are 1/sqrt(n) and sqrt(8/n).
	if math.Abs(m-1) > 5/math.Sqrt(n) || math.Abs(variance-1) > 5*math.Sqrt(8/n) {
		t.Errorf("mean %.4f and variance %.4f of the gaps, want 1 and 1", m, variance)
	}
	// Kolmogorov-Smirnov; the bound is passed once in 100,000 (Massey, "The
	// Kolmogorov-Smirnov Test for Goodness of Fit", JASA 46:253, 1951, for the
	// form of the asymptotic bound).
	slices.Sort(gaps)
	d := 0.0
	for i, g := range gaps {
		f := 1 - math.Exp(-g)
		d = max(d, f-float64(i)/n, float64(i+1)/n-f)
	}
	if bound := math.Sqrt(-0.5*math.Log(0.5e-5)) / math.Sqrt(n); d > bound {
		t.Errorf("the gaps are not exponential: KS %.4f, at most %.4f", d, bound)
	}
	// Gaps that follow each other have nothing in common.
	var lag float64
	for i := 2; i < len(plan); i++ {
		a := (plan[i].at-plan[i-1].at).Seconds()/mean - 1
		b := (plan[i-1].at-plan[i-2].at).Seconds()/mean - 1
		lag += a * b
	}
	if r := lag / n; math.Abs(r) > 5/math.Sqrt(n) {
		t.Errorf("gaps depend on the one before: correlation %.4f", r)
	}
}

func TestConstantGaps(t *testing.T) {
	spec := trialSpec()
	spec.Arrivals, spec.Rate, spec.Requests = scenarios.Constant, 300, 90_000
	plan := draw(spec, []int{0, 1}, []int{1})
	for i, a := range plan {
		want := time.Duration(i) * time.Second / 600
		if d := a.at - want; d < -time.Microsecond || d > time.Microsecond {
			t.Fatalf("arrival %d at %v, want %v", i, a.at, want)
		}
	}
}

func TestSeedMakesThePlan(t *testing.T) {
	spec := trialSpec()
	one := draw(spec, []int{0, 1}, []int{1, 1})
	if !slices.Equal(one, draw(spec, []int{0, 1}, []int{1, 1})) {
		t.Error("the same seed gives another plan")
	}
	spec.Seed++
	if slices.Equal(one, draw(spec, []int{0, 1}, []int{1, 1})) {
		t.Error("another seed gives the same plan")
	}
}

func TestCheckTrial(t *testing.T) {
	tests := []struct {
		name   string
		change func(*scenarios.TrialSpec)
		want   string
	}{
		{"good", func(*scenarios.TrialSpec) {}, ""},
		{"one side", func(s *scenarios.TrialSpec) { s.Only = []int{1} }, ""},
		{"as many as go", func(s *scenarios.TrialSpec) { s.Requests = maxArrivals / 2 }, ""},
		{"no requests", func(s *scenarios.TrialSpec) { s.Requests = 0 }, "requests 0"},
		{"too many", func(s *scenarios.TrialSpec) { s.Requests = maxArrivals/2 + 1 }, "requests 1000001: want 1 to 1000000 for 2 sides"},
		{"no rate", func(s *scenarios.TrialSpec) { s.Rate = 0 }, "rate 0"},
		{"no number", func(s *scenarios.TrialSpec) { s.Rate = math.NaN() }, "rate NaN"},
		{"endless rate", func(s *scenarios.TrialSpec) { s.Rate = math.Inf(1) }, "rate +Inf"},
		{"arrivals", func(s *scenarios.TrialSpec) { s.Arrivals = "" }, `arrivals ""`},
		{"no such side", func(s *scenarios.TrialSpec) { s.Only = []int{2} }, "side 2: there are 0 to 1"},
		{"negative side", func(s *scenarios.TrialSpec) { s.Only = []int{-1} }, "side -1"},
		{"side twice", func(s *scenarios.TrialSpec) { s.Only = []int{1, 1} }, "side 1 is there twice"},
		{"no limit", func(s *scenarios.TrialSpec) { s.Limit = 0 }, "limit 0s"},
		{"long limit", func(s *scenarios.TrialSpec) { s.Limit = 25 * time.Hour }, "limit 25h"},
		{"window", func(s *scenarios.TrialSpec) { s.Window = -1 }, "window -1ns"},
		{"too many windows", func(s *scenarios.TrialSpec) { s.Window = time.Nanosecond }, "window 1ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec := trialSpec()
			tt.change(&spec)
			err := CheckTrial(spec, 2)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
