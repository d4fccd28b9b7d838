package stats

import (
	"math"
	"testing"
)

// Student's own example (Biometrika 6:1, 1908, section IX): the gains of
// sleep by a drug in ten patients, in hours: mean 1.58. The bounds are those
// of R 4: t.test(extra2 - extra1) on its data set "sleep".
func TestMeanInterval(t *testing.T) {
	gains := []float64{1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4}
	mean, low, high := MeanInterval(gains, 0.95)
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"mean", mean, 1.58}, {"low", low, 0.7001142}, {"high", high, 2.4598858}} {
		if math.Abs(c.got-c.want) > 1e-6 {
			t.Errorf("%s: got %.7f, want %.7f", c.name, c.got, c.want)
		}
	}
	if _, low, high := MeanInterval([]float64{1}, 0.95); !math.IsNaN(low) || !math.IsNaN(high) {
		t.Errorf("one value: bounds %v and %v, want none", low, high)
	}
}

// The example of R's t.test: t.test(extra ~ group, data = sleep), Welch's test,
// 95 percent confidence interval: -3.3654832 0.2054832.
func TestMeanDifference(t *testing.T) {
	one := []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}
	two := []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	difference, low, high := MeanDifference(one, two, 0.95)
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"difference", difference, -1.58}, {"low", low, -3.3654832}, {"high", high, 0.2054832}} {
		if math.Abs(c.got-c.want) > 1e-6 {
			t.Errorf("%s: got %.7f, want %.7f", c.name, c.got, c.want)
		}
	}
	if d, low, high := MeanDifference([]float64{3}, two, 0.95); math.IsNaN(d) || !math.IsNaN(low) || !math.IsNaN(high) {
		t.Errorf("one value: %v, bounds %v and %v, want none", d, low, high)
	}
	if d, low, high := MeanDifference([]float64{3, 3}, []float64{1, 1}, 0.95); d != 2 || low != 2 || high != 2 {
		t.Errorf("no spread: %v, %v to %v", d, low, high)
	}
}
