// Package stats does the arithmetic on latencies: exact percentiles of raw
// values, HDR histograms and their merging, medians and ratios; and the tests,
// estimates and intervals of pairs of trials and of unpaired samples. It knows
// nothing of cells, meshes or documents, and decides nothing.
package stats

import (
	"math"
	"slices"
)

// Percentile returns the p-th percentile (0 < p <= 100) of values in
// ascending order, by nearest rank: the smallest value that at least p % of
// all values do not exceed. It is always a value that was measured, never one
// between two (definition 1 of Hyndman and Fan, "Sample Quantiles in
// Statistical Packages", The American Statistician 50:4, 1996). HDR histograms
// round the rank to the nearest where this takes the next whole one: the same
// where p % of the number of values is whole, else one rank less at most. It
// returns NaN when there are no values.
func Percentile(sorted []float64, p float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	// Multiplied before it is divided: 7 / 100 * 100 is 7.000000000000001,
	// which would name a rank too high.
	rank := int(math.Ceil(p * float64(n) / 100))
	return sorted[min(max(rank, 1), n)-1]
}

// Median returns the middle value, or the mean of the two middle ones, of
// values in any order, which it leaves as they are. It returns NaN when there
// are no values.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// RatioOfMedians returns Median(a) / Median(b), and NaN when either has no
// values or b's median is zero.
func RatioOfMedians(a, b []float64) float64 {
	m := Median(b)
	if m == 0 {
		return math.NaN()
	}
	return Median(a) / m
}

// Summary holds the figures of a set of latencies, in the unit of the values.
type Summary struct {
	Min, Avg, P50, P90, P99, Max float64
}

// Summarize returns the exact figures of the values, which it sorts in place.
// It returns the zero Summary when there are none.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	slices.Sort(values)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return Summary{
		Min: values[0],
		Avg: sum / float64(len(values)),
		P50: Percentile(values, 50),
		P90: Percentile(values, 90),
		P99: Percentile(values, 99),
		Max: values[len(values)-1],
	}
}
