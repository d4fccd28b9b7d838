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

// MeanDifference returns the difference of the means of two independent
// samples, x minus y, and Welch's two-sided confidence interval for it at the
// given level, which does not take the variances to be equal: the degrees of
// freedom are those of Welch and Satterthwaite (Welch, "The generalization of
// 'Student's' problem when several different population variances are
// involved", Biometrika 34:1-2, 1947). With fewer than two values on a side
// the bounds are NaN.
func MeanDifference(x, y []float64, level float64) (difference, low, high float64) {
	mx, sx := stat.MeanStdDev(x, nil)
	my, sy := stat.MeanStdDev(y, nil)
	nx, ny := float64(len(x)), float64(len(y))
	difference = mx - my
	if nx < 2 || ny < 2 {
		return difference, math.NaN(), math.NaN()
	}
	vx, vy := sx*sx/nx, sy*sy/ny
	if vx+vy == 0 {
		return difference, difference, difference
	}
	freedom := (vx + vy) * (vx + vy) / (vx*vx/(nx-1) + vy*vy/(ny-1))
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(0.5+level/2) * math.Sqrt(vx+vy)
	return difference, difference - half, difference + half
}
