package stats

import (
	"math"
	"slices"
)

// doubledRanks returns the rank of each value, smallest first, times two:
// values that are equal share the mean of their ranks, so that twice a rank
// is a whole number. ties is the sum of t^3 - t over all groups of t equal
// values, which both corrections for ties need.
func doubledRanks(values []float64) (ranks []int, ties float64) {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return 0
	})
	ranks = make([]int, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = from + 1 + to // the mean of from+1..to, times two
		}
		t := float64(to - from)
		ties += t*t*t - t
		from = to
	}
	return ranks, ties
}

// tails returns the probabilities of a sum at or above, and at or below, the
// one observed, given the probability of each sum.
func tails(probability []float64, observed int) (greater, less float64) {
	for sum, p := range probability {
		if sum >= observed {
			greater += p
		}
		if sum <= observed {
			less += p
		}
	}
	return min(greater, 1), min(less, 1)
}

// normalTails returns the same for a sum that is nearly normal and a multiple
// of step: half a step is added to each tail (continuity correction).
func normalTails(observed, mean, deviation, step float64) (greater, less float64) {
	if deviation == 0 {
		return 1, 1
	}
	return normalCDF(-(observed - step/2 - mean) / deviation), normalCDF((observed + step/2 - mean) / deviation)
}

// bothTails returns the two-sided p-value: twice the smaller tail.
func bothTails(greater, less float64) float64 { return min(1, 2*min(greater, less)) }

func normalCDF(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// normalQuantile is the inverse of normalCDF, for 0 < p < 1.
func normalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }
