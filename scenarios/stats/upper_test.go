package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The bound is where the test changes its mind.
func TestSignedRankUpperIsTheTestTurnedRound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{7, 10, 20, 30} {
		x := make([]float64, n)
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		bound, reached := SignedRankUpper(x, 0.99)
		if reached < 0.99 || reached > 0.9999 {
			t.Errorf("%d values: level %v", n, reached)
		}
		less := func(centre float64) float64 {
			moved := make([]float64, n)
			for i := range x {
				moved[i] = x[i] - centre
			}
			return SignedRank(moved).Less
		}
		if p := less(bound + 1e-9); p > 0.01 {
			t.Errorf("%d values: a centre just above %v is not rejected, p = %v", n, bound, p)
		}
		if p := less(bound - 1e-9); p <= 0.01 {
			t.Errorf("%d values: a centre just below %v is rejected, p = %v", n, bound, p)
		}
	}
}

// Hollander and Wolfe's critical value: with 10 values, P(T+ <= 5) is
// 10/1024, so the bound of 99 % is the 6th greatest Walsh average.
func TestSignedRankUpperByHand(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	// Greatest first: 10, 9.5, 9, 9, 8.5, 8.5, 8, ...
	bound, reached := SignedRankUpper(x, 0.99)
	if bound != 8.5 || math.Abs(reached-(1-10.0/1024)) > 1e-12 {
		t.Errorf("got %v at level %v, want 8.5 at %v", bound, reached, 1-10.0/1024)
	}
	if bound, reached := SignedRankUpper(x[:3], 0.99); bound != 3 || reached != 1-1.0/8 {
		t.Errorf("three values: got %v at level %v, want 3 at 0.875", bound, reached)
	}
	if bound, _ := SignedRankUpper(nil, 0.99); !math.IsNaN(bound) {
		t.Errorf("no values: got %v", bound)
	}
}

// With 10 values the BCa bound of 99 % covers some 98 %; this one 99.
func TestSignedRankUpperCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const rounds = 20_000
	missed := 0
	for range rounds {
		x := make([]float64, 10)
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		if bound, _ := SignedRankUpper(x, 0.99); bound < 0 {
			missed++
		}
	}
	if share := float64(missed) / rounds; share > 0.0125 || share < 0.007 {
		t.Errorf("the centre was above the bound in %.2f %% of samples, want 0.98", 100*share)
	}
}
