package stats

import (
	"math"
	"slices"
)

// SignedRankUpper returns the one-sided upper confidence bound that belongs to
// the signed-rank test: the smallest centre of symmetry that the test does not
// reject as too large at the given level, for example 0.99. It is a Walsh
// average counted from the top (Hollander, Wolfe and Chicken, "Nonparametric
// Statistical Methods", 3rd ed. 2014, section 3.3), and holds its level for
// every symmetric distribution and every number of values, which a bootstrap
// does not. reached is the level that it really has. With too few values for
// the level (fewer than 7 for 0.99) it is the greatest value, and reached is
// below the level. It returns NaN when there are no values or one is NaN or
// infinite.
func SignedRankUpper(x []float64, level float64) (bound, reached float64) {
	n := len(x)
	if n == 0 || !finite(x) {
		return math.NaN(), math.NaN()
	}
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	all := walsh(sorted)
	chance := signedSums(ranks, all.len()) // of each sum of the ranks of positive values
	// The k-th greatest average lies below the centre when the sum is below k.
	k, below := 1, chance[0]
	for k < all.len() && 1-(below+chance[k]) >= level {
		below += chance[k]
		k++
	}
	return nth(all, all.len()+1-k), 1 - below
}
