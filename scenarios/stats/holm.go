package stats

import (
	"math"
	"slices"
)

// Holm returns the p-values adjusted for there being several tests, in the
// order of p: a test whose adjusted value is at most alpha may be called
// significant, and the chance of calling any test so by mistake stays at most
// alpha (Holm, "A Simple Sequentially Rejective Multiple Test Procedure",
// Scandinavian Journal of Statistics 6:2, 1979). The adjusted values are in
// the same order of size as p, and at most 1. A NaN, a test that was not
// made, stays NaN and does not count.
func Holm(p []float64) []float64 {
	var order []int
	adjusted := make([]float64, len(p))
	for i, v := range p {
		if math.IsNaN(v) {
			adjusted[i] = v
			continue
		}
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	largest := 0.0
	for k, i := range order {
		largest = max(largest, p[i]*float64(len(order)-k))
		adjusted[i] = min(largest, 1)
	}
	return adjusted
}
