package stats

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

func TestNormalDistribution(t *testing.T) {
	for _, p := range []float64{1e-9, 0.00005, 0.005, 0.01, 0.3, 0.5, 0.975, 0.99, 0.99995} {
		near(t, "quantile", normalQuantile(p), distuv.UnitNormal.Quantile(p), 1e-8)
		near(t, "back", normalCDF(normalQuantile(p)), p, 1e-12)
	}
	for z := -6.0; z <= 6; z += 0.25 {
		near(t, "cdf", normalCDF(z), distuv.UnitNormal.CDF(z), 1e-14)
	}
}

// TestBCaOfSpatialTest repeats section 14.3 of Efron and Tibshirani, "An
// Introduction to the Bootstrap", 1993: the variance of test A of 26 children
// (table 14.1) is 171.5, its 90 % interval 115.8 to 259.6, z0 0.146 and a
// 0.061, of 2,000 resamples of theirs. scipy 1.10.1's stats.bootstrap with
// 40,000 says 115.8 to 261.0 and 116.0 to 261.5.
func TestBCaOfSpatialTest(t *testing.T) {
	a := []float64{48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6,
		0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41}
	variance := func(x []float64) float64 { return stat.PopVariance(x, nil) }
	c, err := Bootstrap{Resamples: 40_000, Seed: 1}.BCa(a, variance)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "estimate", c.Estimate, 171.5, 0.05)
	near(t, "acceleration", c.acceleration, 0.061, 0.0005)
	near(t, "bias", c.bias, 0.146, 0.05)
	low, high := c.Interval(0.9)
	near(t, "low", low, 115.9, 1)
	near(t, "high", high, 261.2, 2)
	if up := c.Upper(0.95); up != high {
		t.Errorf("one-sided 95 %% bound %v, want the end of the 90 %% interval, %v", up, high)
	}
}

// TestBCaOfLawSchool uses two-dimensional data: the correlation of LSAT and
// GPA at 15 law schools is 0.776, the bias correction about -0.08 and the
// acceleration -0.076 (Efron 1987, and Efron and Tibshirani, table 3.1).
func TestBCaOfLawSchool(t *testing.T) {
	lsat := []float64{576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594}
	gpa := []float64{3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96}
	schools := make([]float64, len(lsat))
	for i := range schools {
		schools[i] = float64(i)
	}
	correlation := func(x []float64) float64 {
		a, b := make([]float64, len(x)), make([]float64, len(x))
		for i, s := range x {
			a[i], b[i] = lsat[int(s)], gpa[int(s)]
		}
		return stat.Correlation(a, b, nil)
	}
	c, err := Bootstrap{Resamples: 20_000, Seed: 2}.BCa(schools, correlation)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "estimate", c.Estimate, 0.776, 0.0005)
	near(t, "acceleration", c.acceleration, -0.076, 0.001)
	near(t, "bias", c.bias, -0.08, 0.04)
}

func TestBCaOfHodgesLehmann(t *testing.T) {
	logs := []float64{0.031, 0.012, -0.008, 0.045, 0.022, 0.019, 0.063, -0.015, 0.027, 0.034,
		0.011, 0.052, 0.008, 0.017, 0.041, 0.120, 0.025, 0.003, 0.029, 0.038}
	c, err := Bootstrap{Seed: 7}.BCa(logs, HodgesLehmann)
	if err != nil {
		t.Fatal(err)
	}
	// scipy 1.10.1: stats.bootstrap(method="BCa", n_resamples=40000), three seeds.
	near(t, "estimate", c.Estimate, 0.026, 1e-12)
	low, high := c.Interval(0.95)
	near(t, "low", low, 0.0165, 0.0005)
	near(t, "high", high, 0.0365, 0.0006)
	near(t, "upper 99 %", c.Upper(0.99), 0.039, 0.001)
}

func TestBCaIsRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := values(fewestValues, 20).Draw(t, "x")
		before := slices.Clone(x)
		b := Bootstrap{Resamples: 200, Seed: rapid.Uint64().Draw(t, "seed")}
		one, err := b.BCa(x, HodgesLehmann)
		if err != nil {
			t.Fatal(err)
		}
		two, err := b.BCa(x, HodgesLehmann)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x, before) {
			t.Fatal("the values were changed")
		}
		last := math.Inf(-1)
		for _, p := range []float64{0.001, 0.025, 0.5, 0.975, 0.999} {
			if one.Upper(p) != two.Upper(p) {
				t.Fatalf("bound at %v: %v and %v", p, one.Upper(p), two.Upper(p))
			}
			if one.Upper(p) < last || math.IsNaN(one.Upper(p)) {
				t.Fatalf("bound at %v: %v, below %v", p, one.Upper(p), last)
			}
			last = one.Upper(p)
		}
		if low, high := one.Interval(0.99); low < slices.Min(x) || high > slices.Max(x) {
			t.Fatalf("%v to %v: outside of the values", low, high)
		}
	})
}

func TestBoundsOfCloseValuesAreInOrder(t *testing.T) {
	c, err := Bootstrap{Resamples: 200}.BCa([]float64{0.5, 97.00000000000001, 1}, HodgesLehmann)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := c.Upper(0.975), c.Upper(0.999); a > b || b > 97.00000000000001 {
		t.Errorf("bounds %v and %v", a, b)
	}
}

func TestBCaDependsOnTheSeed(t *testing.T) {
	x := []float64{1, 2.5, 3.25, 4.75, 6.5, 7, 9.125}
	one, _ := Bootstrap{Resamples: 500, Seed: 1}.BCa(x, HodgesLehmann)
	two, _ := Bootstrap{Resamples: 500, Seed: 2}.BCa(x, HodgesLehmann)
	if slices.Equal(one.resampled, two.resampled) {
		t.Error("two seeds, the same resamples")
	}
}

// TestBCaCovers draws pairs whose ratio is log-normal, and counts how often
// the true ratio lies in the interval, and below the bound.
func TestBCaCovers(t *testing.T) {
	const rounds, pairs, truth = 400, 20, 0.05
	random := rand.New(rand.NewPCG(4, 2))
	inside, under := 0, 0
	for i := range rounds {
		base, changed := make([]float64, pairs), make([]float64, pairs)
		for j := range base {
			base[j] = math.Exp(random.NormFloat64() * 0.4)
			changed[j] = base[j] * math.Exp(truth+random.NormFloat64()*0.1)
		}
		logs, err := LogRatios(changed, base)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Bootstrap{Resamples: 500, Seed: uint64(i)}.BCa(logs, HodgesLehmann)
		if err != nil {
			t.Fatal(err)
		}
		if low, high := c.Interval(0.95); low <= truth && truth <= high {
			inside++
		}
		if truth <= c.Upper(0.99) {
			under++
		}
	}
	// Twenty pairs reach a little less than they promise; a binomial of 400
	// scatters by 1.1 % and 0.6 %.
	near(t, "share inside the 95 % interval", float64(inside)/rounds, 0.935, 0.03)
	near(t, "share below the 99 % bound", float64(under)/rounds, 0.98, 0.018)
}

func TestBCaOfEqualValues(t *testing.T) {
	c, err := Bootstrap{Resamples: 100}.BCa([]float64{0.3, 0.3, 0.3}, HodgesLehmann)
	if err != nil {
		t.Fatal(err)
	}
	if low, high := c.Interval(0.95); low != 0.3 || high != 0.3 || c.Upper(0.99) != 0.3 || c.Estimate != 0.3 {
		t.Errorf("%v to %v, bound %v, want 0.3 throughout", low, high, c.Upper(0.99))
	}
}

func TestBCaRefuses(t *testing.T) {
	for _, x := range [][]float64{nil, {1}, {1, 2}} {
		if _, err := (Bootstrap{}).BCa(x, HodgesLehmann); !errors.Is(err, ErrTooFew) {
			t.Errorf("%v: %v, want ErrTooFew", x, err)
		}
	}
	if _, err := (Bootstrap{}).BCa([]float64{1, 2, math.NaN()}, HodgesLehmann); err == nil {
		t.Error("NaN among the values: no error")
	}
	if _, err := (Bootstrap{}).BCa([]float64{1, 2, 3}, func([]float64) float64 { return math.Inf(1) }); err == nil {
		t.Error("infinite statistic: no error")
	}
}

func BenchmarkBCaOfHodgesLehmann(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, 30)
	for i := range x {
		x[i] = random.NormFloat64()
	}
	for b.Loop() {
		if _, err := (Bootstrap{}).BCa(x, HodgesLehmann); err != nil {
			b.Fatal(err)
		}
	}
}
