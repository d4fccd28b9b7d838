package stats

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// MeanInterval returns the mean of x and Student's two-sided confidence
// interval for it at the given level, for example 0.95: mean ± t s/sqrt(n),
// with n-1 degrees of freedom (Student, "The probable error of a mean",
// Biometrika 6:1, 1908). With fewer than two values the bounds are NaN.
func MeanInterval(x []float64, level float64) (mean, low, high float64) {
	mean, s := stat.MeanStdDev(x, nil)
	n := float64(len(x))
	if n < 2 {
		return mean, math.NaN(), math.NaN()
	}
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.5+level/2) * s / math.Sqrt(n)
	return mean, mean - half, mean + half
}
