package stats

import (
	"fmt"
	"math"
)

// KendallTauB returns Kendall's rank correlation tau-b of paired values: how
// many more of all pairs of pairs are in the same order on both sides than in
// opposite orders, over the geometric mean of the numbers of those that are not
// tied on one side and on the other (Kendall, "The treatment of ties in ranking
// problems", Biometrika 33:3, 1945). 1 is the same order, -1 the reverse.
//
// It is NaN when there are fewer than two pairs, when all values of a side are
// equal, and when one is NaN; it returns an error when the lengths differ. It
// takes O(n²) time.
func KendallTauB(x, y []float64) (float64, error) {
	if len(x) != len(y) {
		return 0, fmt.Errorf("correlate %d values with %d: lengths differ", len(x), len(y))
	}
	var sum, untiedX, untiedY float64
	for i := range x {
		if math.IsNaN(x[i]) || math.IsNaN(y[i]) {
			return math.NaN(), nil
		}
		for j := range i {
			dx, dy := order(x[i], x[j]), order(y[i], y[j])
			sum += dx * dy
			untiedX += dx * dx
			untiedY += dy * dy
		}
	}
	return sum / math.Sqrt(untiedX*untiedY), nil // 0/0 is NaN
}

// order is 1, 0 or -1 as a is above, at or below b.
func order(a, b float64) float64 {
	switch {
	case a > b:
		return 1
	case a < b:
		return -1
	}
	return 0
}
