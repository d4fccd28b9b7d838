package stats

import "math"

// exactSignedRank is the number of values up to which the distribution of the
// signed-rank sum is exact. It takes about 2 ms there, and the normal
// approximation is off by less than 0.001 beyond.
const exactSignedRank = 100

// SignedRankTest is the outcome of Wilcoxon's signed-rank test of values that
// scatter symmetrically about 0.
type SignedRankTest struct {
	W        float64 // sum of the ranks of positive values
	N        int     // values that are not zero
	Exact    bool    // false: normal approximation
	Greater  float64 // p-value against: they lie above 0
	Less     float64 // p-value against: they lie below 0
	TwoSided float64 // p-value against either
}

// SignedRank tests whether values scatter symmetrically about 0 (Wilcoxon,
// "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1:6, 1945).
// All p-values are 1 when no value differs from 0, and NaN when one is NaN or
// infinite.
//
// Zeros are ranked with the others, and then taken out with their ranks
// (Pratt, "Remarks on Zeros and Ties in the Wilcoxon Signed Rank Procedures",
// JASA 54:287, 1959). Wilcoxon took them out before ranking, which can make
// values that moved upwards look less so; a zero here is a pair that saw no
// difference, and counts as such.
//
// Up to 100 values the distribution is exact, given the ranks, also with
// ties; above, it is the normal approximation with the corrections for ties,
// zeros and continuity.
func SignedRank(x []float64) SignedRankTest {
	if !finite(x) {
		nan := math.NaN()
		return SignedRankTest{W: nan, Greater: nan, Less: nan, TwoSided: nan}
	}
	sizes := make([]float64, len(x))
	for i, v := range x {
		sizes[i] = math.Abs(v)
	}
	all, _ := doubledRanks(sizes)
	var ranks []int
	sum, above := 0, 0
	squares := 0.0
	for i, r := range all {
		if x[i] == 0 {
			continue
		}
		ranks = append(ranks, r)
		sum += r
		squares += float64(r) * float64(r)
		if x[i] > 0 {
			above += r
		}
	}
	t := SignedRankTest{W: float64(above) / 2, N: len(ranks), Exact: len(x) <= exactSignedRank}
	if t.Exact {
		t.Greater, t.Less = tails(signedSums(ranks, sum), above)
	} else {
		// Each rank counts or not, by a fair coin: its variance is a quarter of
		// its square. With the ranks as they are, that has the corrections in it.
		t.Greater, t.Less = normalTails(float64(above), float64(sum)/2, math.Sqrt(squares)/2, 2)
	}
	t.TwoSided = bothTails(t.Greater, t.Less)
	return t
}

// signedSums returns the probability of each sum of the ranks when each one
// counts or not by a fair coin.
func signedSums(ranks []int, total int) []float64 {
	p := make([]float64, total+1)
	p[0] = 1
	reach := 0
	for _, r := range ranks {
		reach += r
		for s := reach; s >= 0; s-- {
			with := 0.0
			if s >= r {
				with = p[s-r]
			}
			p[s] = (p[s] + with) / 2
		}
	}
	return p
}
