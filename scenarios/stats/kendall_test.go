package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"
)

func TestKendallTauB(t *testing.T) {
	nan := math.NaN()
	for _, tt := range []struct {
		name string
		x, y []float64
		want float64
	}{
		// Hollander and Wolfe, "Nonparametric Statistical Methods", 1973, example
		// 8.1: canned tuna, Hunter L values and panel scores; T = 26 of 36 pairs
		// agree, as R's cor.test has it: 0.4444444.
		{"tuna", []float64{44.4, 45.9, 41.9, 53.3, 44.7, 44.1, 50.7, 45.2, 60.1},
			[]float64{2.6, 3.1, 2.5, 5.0, 3.6, 4.0, 5.2, 2.8, 3.8}, 0.4444444444},
		// The example of SciPy's documentation of scipy.stats.kendalltau.
		{"ties on both sides", []float64{12, 2, 1, 12, 2}, []float64{1, 4, 7, 1, 0}, -0.47140452079103173},
		{"the same order", []float64{1, 2, 3}, []float64{-5, 0, 100}, 1},
		{"the reverse", []float64{1, 2, 3}, []float64{3, 2, 1}, -1},
		{"one side has one value", []float64{1, 1, 1}, []float64{1, 2, 3}, nan},
		{"one pair", []float64{1}, []float64{1}, nan},
		{"none", nil, nil, nan},
		{"no number", []float64{1, nan}, []float64{1, 2}, nan},
	} {
		got, err := KendallTauB(tt.x, tt.y)
		if err != nil || math.Abs(got-tt.want) > 1e-9 || math.IsNaN(got) != math.IsNaN(tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	if _, err := KendallTauB([]float64{1, 2}, []float64{1}); err == nil {
		t.Error("different lengths were accepted")
	}
	// Without ties it is tau-a, which gonum has.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		x, y := make([]float64, 20), make([]float64, 20)
		for i := range x {
			x[i] = rng.NormFloat64()
			y[i] = x[i] + rng.NormFloat64()
		}
		got, _ := KendallTauB(x, y)
		if want := stat.Kendall(x, y, nil); math.Abs(got-want) > 1e-12 {
			t.Fatalf("got %v, gonum has %v", got, want)
		}
	}
}
