package stats

import (
	"errors"
	"math"
	"slices"
	"testing"

	perf "github.com/aclements/go-moremath/stats"
	"pgregory.net/rapid"
)

// permeability is the permeability of the human chorioamnion at term and at
// 12 to 26 weeks: Hollander and Wolfe, "Nonparametric Statistical Methods",
// 2nd edition 1999, table 4.1.
func permeability() (term, early []float64) {
	return []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46},
		[]float64{1.15, 0.88, 0.90, 0.74, 1.21}
}

func TestMannWhitneyOfPermeability(t *testing.T) {
	got := MannWhitney(permeability())
	// R's wilcox.test documents W = 35, p-value = 0.1272 for the same data.
	if got.U != 35 || !got.Exact {
		t.Errorf("%+v, want U 35, exactly", got)
	}
	near(t, "greater", got.Greater, 0.1272061272061272, 1e-12)
}

// TestMannWhitneyAgrees holds the exact p-values, with and without ties,
// against the module that benchstat uses.
func TestMannWhitneyAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := values(1, 12).Draw(t, "x"), values(1, 12).Draw(t, "y")
		got := MannWhitney(x, y)
		// Its "greater" is off with ties (it steps by whole pairs, where U then
		// moves by half ones), so that is asked the other way round.
		for _, side := range []struct {
			low, high []float64
			p         float64
		}{{x, y, got.Less}, {y, x, got.Greater}} {
			want, err := perf.MannWhitneyUTest(side.low, side.high, perf.LocationLess)
			if errors.Is(err, perf.ErrSamplesEqual) {
				if side.p != 1 {
					t.Fatalf("all equal: %+v", got)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(side.p-want.P) > 1e-9 {
				t.Fatalf("%+v, want p %v", got, want.P)
			}
		}
		if want := min(1, 2*min(got.Greater, got.Less)); math.Abs(got.TwoSided-want) > 1e-12 {
			t.Fatalf("%+v: two-sided, want %v", got, want)
		}
	})
}

func manyWithTies() (x, y []float64) {
	for i := range 40 {
		x = append(x, float64(i*17%23))
	}
	for i := range 35 {
		y = append(y, float64(i*11%29)-1)
	}
	return x, y
}

func TestMannWhitneyOfMany(t *testing.T) {
	got := MannWhitney(manyWithTies())
	if got.Exact || got.U != 624 {
		t.Errorf("%+v, want U 624, not exact", got)
	}
	// scipy 1.10.1: stats.mannwhitneyu(x, y, method="asymptotic")
	near(t, "greater", got.Greater, 0.791890866296936, 1e-12)
	near(t, "less", got.Less, 0.21116884781597406, 1e-12)
	near(t, "two-sided", got.TwoSided, 0.4223376956319481, 1e-12)
}

func TestMannWhitneyOfNothing(t *testing.T) {
	for _, got := range []MannWhitneyTest{
		MannWhitney(nil, []float64{1}), MannWhitney([]float64{1}, nil), MannWhitney(nil, nil),
		MannWhitney([]float64{2, 2}, []float64{2, 2, 2}), MannWhitney(make([]float64, 30), make([]float64, 30)),
	} {
		if got.Greater != 1 || got.Less != 1 || got.TwoSided != 1 {
			t.Errorf("%+v, want 1 throughout", got)
		}
	}
	if got := MannWhitney([]float64{math.NaN()}, []float64{1}); !math.IsNaN(got.U) || !math.IsNaN(got.TwoSided) {
		t.Errorf("with NaN: %+v", got)
	}
}

func TestShiftOfPermeability(t *testing.T) {
	x, y := permeability()
	got := Shift(x, y, 0.95)
	// Hollander and Wolfe, examples 4.3 and 4.4: 0.305, and the 96 % interval
	// from -0.15 to 0.76.
	near(t, "estimate", got.Estimate, 0.305, 1e-12)
	near(t, "low", got.Low, -0.15, 1e-12)
	near(t, "high", got.High, 0.76, 1e-12)
	near(t, "level", got.Level, 0.96, 0.001)
}

func allDifferences(x, y []float64) []float64 {
	var d []float64
	for _, a := range x {
		for _, b := range y {
			d = append(d, a-b)
		}
	}
	slices.Sort(d)
	return d
}

func TestShiftIsMadeOfDifferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := values(1, 40).Draw(t, "x"), values(1, 40).Draw(t, "y")
		level := rapid.SampledFrom([]float64{0.8, 0.95, 0.99}).Draw(t, "level")
		got := Shift(x, y, level)
		d := allDifferences(x, y)
		if want := mean(d[(len(d)-1)/2], d[len(d)/2]); got.Estimate != want {
			t.Fatalf("estimate %v, want %v", got.Estimate, want)
		}
		if got.Low > got.Estimate || got.High < got.Estimate {
			t.Fatalf("%+v: not inside its interval", got)
		}
		if got.Level < level-1e-6 && (got.Low != d[0] || got.High != d[len(d)-1]) {
			t.Fatalf("%+v: below the level, though there is more", got)
		}
		// Greater x, greater shift; and the interval mirrors.
		mirror := Shift(y, x, level)
		if mirror.Low != -got.High || mirror.High != -got.Low || math.Abs(mirror.Level-got.Level) > 1e-12 {
			t.Fatalf("%+v, mirrored %+v", got, mirror)
		}
	})
}

// TestShiftAgreesWithTheTest uses that an interval is what its test does not
// reject: moved just inside, a sample is not told from the other, moved just
// outside, it is.
func TestShiftAgreesWithTheTest(t *testing.T) {
	x := []float64{1.1, 2.7, 3.2, 4.9, 5.3, 7.7, 8.1}
	y := []float64{0.4, 1.6, 2.2, 3.05, 6.15, 9.4}
	got := Shift(x, y, 0.9)
	for _, tt := range []struct {
		move     float64
		rejected bool
	}{{got.Low - 1e-6, true}, {got.Low + 1e-6, false}, {got.High - 1e-6, false}, {got.High + 1e-6, true}} {
		moved := slices.Clone(x)
		for i := range moved {
			moved[i] -= tt.move
		}
		if p := MannWhitney(moved, y).TwoSided; (p <= 0.1) != tt.rejected {
			t.Errorf("moved by %v: p = %v, want rejected %v", tt.move, p, tt.rejected)
		}
	}
}

func TestShiftOfFew(t *testing.T) {
	got := Shift([]float64{3, 5, 4}, []float64{1, 2}, 0.95)
	if want := (ShiftEstimate{Estimate: 2.5, Low: 1, High: 4, Level: 0.8}); math.Abs(got.Level-want.Level) > 1e-12 ||
		got.Estimate != want.Estimate || got.Low != want.Low || got.High != want.High {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Shift(nil, []float64{1}, 0.95); !math.IsNaN(got.Estimate) || !math.IsNaN(got.Level) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestShiftTakesALevelThatIsReachedExactly(t *testing.T) {
	x := make([]float64, 19)
	for i := range x {
		x[i] = float64(i)
	}
	y := []float64{0}
	for _, got := range []ShiftEstimate{Shift(x, y, 0.8), Shift(y, x, 0.8)} {
		if math.Abs(got.Level-0.8) > 1e-9 || math.Abs(got.High-got.Low) != 16 {
			t.Errorf("%+v, want the second and the last but one of 19 at 80 %%", got)
		}
	}
}
