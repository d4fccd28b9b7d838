package stats

import (
	"math"
	"slices"
)

// exactMannWhitney is the number of values of both samples up to which the
// distribution of the rank sum is exact.
const exactMannWhitney = 50

// MannWhitneyTest is the outcome of the Mann-Whitney test of two unpaired
// samples.
type MannWhitneyTest struct {
	U        float64 // pairs (x, y) with x above y; equal ones count half
	Exact    bool    // false: normal approximation
	Greater  float64 // p-value against: x lies above y
	Less     float64 // p-value against: x lies below y
	TwoSided float64 // p-value against either
}

// MannWhitney tests whether two unpaired samples come from the same
// distribution (Mann and Whitney, "On a Test of Whether one of Two Random
// Variables is Stochastically Larger than the Other", Annals of Mathematical
// Statistics 18:1, 1947). Up to 50 values in all the distribution is exact,
// given the ranks, also with ties; above, it is the normal approximation with
// the corrections for ties and continuity. All p-values are 1 when a sample
// is empty, and NaN when a value is NaN or infinite.
func MannWhitney(x, y []float64) MannWhitneyTest {
	both := slices.Concat(x, y)
	if !finite(both) {
		nan := math.NaN()
		return MannWhitneyTest{U: nan, Greater: nan, Less: nan, TwoSided: nan}
	}
	m, n := len(x), len(y)
	ranks, ties := doubledRanks(both)
	sum := 0
	for _, r := range ranks[:m] {
		sum += r
	}
	t := MannWhitneyTest{U: float64(sum-m*(m+1)) / 2, Exact: m+n <= exactMannWhitney}
	switch {
	case m == 0 || n == 0:
		t.Exact, t.Greater, t.Less = true, 1, 1
	case t.Exact:
		t.Greater, t.Less = tails(chosenSums(ranks, m), sum)
	default:
		// Lehmann, "Nonparametrics" (1975), section 1.4; of twice the rank sum,
		// so with four times its variance.
		all := float64(m + n)
		variance := float64(m) * float64(n) / 3 * (all + 1 - ties/(all*(all-1)))
		t.Greater, t.Less = normalTails(float64(sum), float64(m)*(all+1), math.Sqrt(variance), 2)
	}
	t.TwoSided = bothTails(t.Greater, t.Less)
	return t
}

// chosenSums returns the probability of each sum of m of the ranks, all
// choices being equally likely.
func chosenSums(ranks []int, m int) []float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	// chosen[k][s] is the probability that k ranks have been chosen and that
	// they sum up to s. Of the ranks that are left, each is as likely as the
	// others to be among those still to be chosen.
	chosen := make([][]float64, m+1)
	for k := range chosen {
		chosen[k] = make([]float64, total+1)
	}
	chosen[0][0] = 1
	reach := 0
	for i, r := range ranks {
		left := float64(len(ranks) - i)
		reach += r
		for k := min(i+1, m); k >= 0; k-- {
			take := float64(m-k+1) / left
			leave := 1 - float64(m-k)/left
			for s := reach; s >= 0; s-- {
				p := chosen[k][s] * leave
				if k > 0 && s >= r {
					p += chosen[k-1][s-r] * take
				}
				chosen[k][s] = p
			}
		}
	}
	return chosen[m]
}

// ShiftEstimate tells how far one sample lies above another.
type ShiftEstimate struct {
	Estimate  float64
	Low, High float64
	Level     float64 // that the interval reaches
}

// Shift returns the median of all differences x[i] - y[j], the Hodges-Lehmann
// estimate of how far x lies above y, with the distribution-free interval
// that belongs to the Mann-Whitney test (Hollander and Wolfe, "Nonparametric
// Statistical Methods", 2nd edition 1999, sections 4.2 and 4.3). Small
// samples cannot reach every level: the interval is then the range of all
// differences, and Level says what that is worth. Of logarithms, the estimate
// is the logarithm of a ratio. It returns NaN throughout when a sample is
// empty, or a value is NaN or infinite.
func Shift(x, y []float64, level float64) ShiftEstimate {
	if len(x) == 0 || len(y) == 0 || !finite(x) || !finite(y) {
		nan := math.NaN()
		return ShiftEstimate{nan, nan, nan, nan}
	}
	d := differences{x: slices.Sorted(slices.Values(x)), y: slices.Sorted(slices.Values(y))}
	outside, covered := freeRank(len(x), len(y), level)
	return ShiftEstimate{
		Estimate: medianOf(d),
		Low:      nth(d, outside+1),
		High:     nth(d, d.len()-outside),
		Level:    covered,
	}
}

// freeRank returns how many differences lie outside the interval at each end,
// and the level that it reaches: 1 - 2 P(U <= outside), without ties.
func freeRank(m, n int, level float64) (outside int, reached float64) {
	tail := (1 - level) / 2
	var below func(u int) float64 // P(U <= u)
	if m+n <= exactMannWhitney {
		ranks := make([]int, m+n)
		for i := range ranks {
			ranks[i] = 2 * (i + 1)
		}
		sums := chosenSums(ranks, m)
		below = func(u int) float64 {
			_, less := tails(sums, 2*u+m*(m+1))
			return less
		}
	} else {
		deviation := math.Sqrt(float64(m) * float64(n) * float64(m+n+1) / 12)
		below = func(u int) float64 {
			_, less := normalTails(float64(u), float64(m)*float64(n)/2, deviation, 1)
			return less
		}
	}
	// The largest number whose tail is small enough, or 0.
	lo, hi := 0, (m*n-1)/2
	for lo < hi {
		if mid := (lo + hi + 1) / 2; below(mid) <= tail*(1+1e-9) { // 0.1 is not 1 - 0.9 exactly
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo, max(0, 1-2*below(lo))
}
