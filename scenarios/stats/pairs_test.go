package stats

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// depression is the Hamilton depression scale factor IV of nine patients at
// the first and the second visit: Hollander and Wolfe, "Nonparametric
// Statistical Methods", 2nd edition 1999, table 3.1 (Salsburg 1970).
func depression() (first, second []float64) {
	return []float64{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30},
		[]float64{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}
}

func subtract(a, b []float64) []float64 {
	d := make([]float64, len(a))
	for i := range a {
		d[i] = a[i] - b[i]
	}
	return d
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %v, want %v +- %v", what, got, want, tolerance)
	}
}

func TestLogRatios(t *testing.T) {
	got, err := LogRatios([]float64{2, 1, 3}, []float64{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{math.Ln2, -math.Ln2, 0} {
		near(t, "ratio", got[i], want, 1e-15)
	}
	if got, err := LogRatios([]float64{math.MaxFloat64}, []float64{math.SmallestNonzeroFloat64}); err != nil || math.IsInf(got[0], 0) {
		t.Errorf("largest by smallest: %v, %v", got, err)
	}
	tests := []struct {
		name          string
		changed, base []float64
		want          string
	}{
		{"lengths", []float64{1, 2}, []float64{1}, "lengths differ"},
		{"zero", []float64{1, 0}, []float64{1, 1}, "pair 2 of 2: 0 has no logarithm"},
		{"negative", []float64{1}, []float64{-1}, "pair 1 of 1: -1"},
		{"NaN", []float64{1}, []float64{math.NaN()}, "NaN"},
		{"infinite", []float64{math.Inf(1)}, []float64{1}, "+Inf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := LogRatios(tt.changed, tt.base)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestHodgesLehmann(t *testing.T) {
	first, second := depression()
	tests := []struct {
		name string
		x    []float64
		want float64
	}{
		{"one", []float64{3}, 3},
		{"two", []float64{4, 1}, 2.5},
		{"averages 0 1 2 5 6 10", []float64{0, 2, 10}, 3.5},
		{"all equal", []float64{0.1, 0.1, 0.1, 0.1}, 0.1},
		{"negative", []float64{-3, -1, -2}, -2},
		// Hollander and Wolfe, example 3.3.
		{"depression", subtract(second, first), -0.46},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near(t, "estimate", HodgesLehmann(tt.x), tt.want, 1e-12)
		})
	}
	for _, x := range [][]float64{nil, {1, math.NaN()}, {math.Inf(-1)}} {
		if got := HodgesLehmann(x); !math.IsNaN(got) {
			t.Errorf("HodgesLehmann(%v) = %v, want NaN", x, got)
		}
	}
}

// values draws finite values, often equal ones.
func values(least, most int) *rapid.Generator[[]float64] {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.Float64Range(-1e9, 1e9),
		rapid.Map(rapid.IntRange(-4, 4), func(i int) float64 { return float64(i) / 2 }),
	), least, most)
}

// walshAverages is the definition.
func walshAverages(x []float64) []float64 {
	var all []float64
	for i := range x {
		for j := i; j < len(x); j++ {
			all = append(all, x[i]/2+x[j]/2)
		}
	}
	return all
}

func TestHodgesLehmannIsTheMedianOfWalshAverages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := values(1, 25).Draw(t, "x")
		before := slices.Clone(x)
		got := HodgesLehmann(x)
		all := slices.Sorted(slices.Values(walshAverages(x)))
		if want := mean(all[(len(all)-1)/2], all[len(all)/2]); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
		if !slices.Equal(x, before) {
			t.Fatal("the values were reordered")
		}
	})
}

func TestHodgesLehmannFollowsShiftAndSign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-10, 10), 1, 30).Draw(t, "x")
		c := rapid.Float64Range(-5, 5).Draw(t, "shift")
		moved, flipped := make([]float64, len(x)), make([]float64, len(x))
		for i, v := range x {
			moved[i], flipped[i] = v+c, -v
		}
		h := HodgesLehmann(x)
		if d := HodgesLehmann(moved) - h - c; math.Abs(d) > 1e-12 {
			t.Fatalf("shifted by %v: off by %v", c, d)
		}
		if got := HodgesLehmann(flipped); math.Abs(got+h) > 1e-12 {
			t.Fatalf("flipped: %v, want %v", got, -h)
		}
	})
}

func TestNthOfExtremes(t *testing.T) {
	w := walsh{-math.MaxFloat64, -math.SmallestNonzeroFloat64, 0, 1, math.MaxFloat64}
	all := slices.Sorted(slices.Values(walshAverages(w)))
	for k := range all {
		if got := nth(w, k+1); got != all[k] {
			t.Errorf("nth(%d) = %v, want %v", k+1, got, all[k])
		}
	}
}
