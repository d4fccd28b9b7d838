package stats

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestSignedRankOfDepression(t *testing.T) {
	first, second := depression()
	got := SignedRank(subtract(first, second))
	// Hollander and Wolfe, examples 3.1 and 3.2; R's wilcox.test documents
	// V = 40, p-value = 0.01953 for the same data.
	if got.W != 40 || got.N != 9 || !got.Exact {
		t.Errorf("%+v, want W 40 of 9, exactly", got)
	}
	near(t, "greater", got.Greater, 0.01953125, 1e-12)
	near(t, "two-sided", got.TwoSided, 0.0390625, 1e-12)
}

// TestSignedRankCriticalValues holds the exact distribution against the
// critical values of McCornack, "Extended Tables of the Wilcoxon Matched Pair
// Signed Rank Statistic", JASA 60:311, 1965: the largest sum of the ranks of
// one sign that is significant.
func TestSignedRankCriticalValues(t *testing.T) {
	tests := []struct {
		alpha    float64 // one-sided
		critical map[int]int
	}{
		{0.025, map[int]int{6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25,
			16: 29, 17: 34, 18: 40, 19: 46, 20: 52, 21: 58, 22: 65, 23: 73, 24: 81, 25: 89,
			26: 98, 27: 107, 28: 116, 29: 126, 30: 137}},
		{0.005, map[int]int{8: 0, 9: 1, 10: 3, 11: 5, 12: 7, 13: 9, 14: 12, 15: 15, 16: 19, 17: 23,
			18: 27, 19: 32, 20: 37, 25: 68, 30: 109}},
	}
	for _, tt := range tests {
		for n, critical := range tt.critical {
			t.Run(fmt.Sprint(tt.alpha, n), func(t *testing.T) {
				at, above := SignedRank(withSum(n, critical)), SignedRank(withSum(n, critical+1))
				if at.W != float64(critical) {
					t.Fatalf("W = %v, want %d", at.W, critical)
				}
				if at.Less > tt.alpha || above.Less <= tt.alpha {
					t.Errorf("p = %v at %d and %v at %d; want %v between",
						at.Less, critical, above.Less, critical+1, tt.alpha)
				}
			})
		}
	}
}

// withSum returns 1..n with such signs that the positive ones sum up to sum.
func withSum(n, sum int) []float64 {
	x := make([]float64, n)
	for r := n; r >= 1; r-- {
		x[r-1] = -float64(r)
		if r <= sum {
			x[r-1], sum = float64(r), sum-r
		}
	}
	return x
}

// TestSignedRankByEnumeration holds the p-values against all 2^n choices of
// signs, with ties and zeros.
func TestSignedRankByEnumeration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := values(1, 9).Draw(t, "x")
		got := SignedRank(x)
		// Ranks by the definition: how many are smaller, and half of the equal.
		var ranks []float64
		w := 0.0
		for _, v := range x {
			if v == 0 {
				continue
			}
			r := 0.5
			for _, o := range x {
				switch {
				case math.Abs(o) < math.Abs(v):
					r++
				case math.Abs(o) == math.Abs(v):
					r += 0.5
				}
			}
			ranks = append(ranks, r)
			if v > 0 {
				w += r
			}
		}
		greater, less := 0, 0
		for signs := range 1 << len(ranks) {
			s := 0.0
			for i, r := range ranks {
				if signs>>i&1 == 1 {
					s += r
				}
			}
			if s >= w {
				greater++
			}
			if s <= w {
				less++
			}
		}
		all := float64(int(1) << len(ranks))
		if got.W != w || got.N != len(ranks) {
			t.Fatalf("W %v of %d, want %v of %d", got.W, got.N, w, len(ranks))
		}
		g, l := float64(greater)/all, float64(less)/all
		for _, p := range [][2]float64{{got.Greater, g}, {got.Less, l}, {got.TwoSided, min(1, 2*min(g, l))}} {
			if math.Abs(p[0]-p[1]) > 1e-12 {
				t.Fatalf("%+v: p = %v, want %v", got, p[0], p[1])
			}
		}
	})
}

func TestSignedRankTurnsWithTheSigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := values(1, 130).Draw(t, "x")
		flipped, scaled := make([]float64, len(x)), make([]float64, len(x))
		for i, v := range x {
			flipped[i], scaled[i] = -v, 4*v
		}
		a, b := SignedRank(x), SignedRank(flipped)
		if math.Abs(a.Greater-b.Less) > 1e-12 || math.Abs(a.Less-b.Greater) > 1e-12 || math.Abs(a.TwoSided-b.TwoSided) > 1e-12 {
			t.Fatalf("%+v, and flipped %+v", a, b)
		}
		if c := SignedRank(scaled); c != a {
			t.Fatalf("%+v, and four times as large %+v", a, c)
		}
	})
}

func TestSignedRankOfMany(t *testing.T) {
	x := make([]float64, 120)
	for i := range x {
		x[i] = float64((i+1)*37%41-15) / 2
	}
	got := SignedRank(x)
	if got.Exact || got.W != 5307 || got.N != 117 {
		t.Errorf("%+v, want W 5307 of 117, not exact", got)
	}
	// scipy 1.10.1: stats.wilcoxon(x, zero_method="pratt", correction=True, mode="approx")
	near(t, "greater", got.Greater, 5.426923710338296e-06, 1e-15)
	near(t, "less", got.Less, 0.9999946382023741, 1e-12)
	near(t, "two-sided", got.TwoSided, 1.0853847420676592e-05, 1e-15)
}

func TestSignedRankApproximationMeetsTheExactOne(t *testing.T) {
	ranks := make([]int, exactSignedRank+1)
	total := 0
	for i := range ranks {
		ranks[i] = 2 * (i + 1)
		total += ranks[i]
	}
	p := signedSums(ranks, total)
	for w := 1500; w <= 3500; w += 50 {
		exact, _ := tails(p, 2*w)
		got := SignedRank(withSum(len(ranks), w))
		if got.Exact {
			t.Fatal("the approximation was not used")
		}
		near(t, fmt.Sprint("greater at ", w), got.Greater, exact, 0.001)
	}
}

func TestSignedRankOfNothing(t *testing.T) {
	for _, x := range [][]float64{nil, {0}, {0, 0, 0}, make([]float64, exactSignedRank+1)} {
		if got := SignedRank(x); got.Greater != 1 || got.Less != 1 || got.TwoSided != 1 || got.N != 0 {
			t.Errorf("of %d zeros: %+v, want 1 throughout", len(x), got)
		}
	}
	if got := SignedRank([]float64{1, math.NaN()}); !math.IsNaN(got.Greater) || !math.IsNaN(got.TwoSided) {
		t.Errorf("with NaN: %+v", got)
	}
}
