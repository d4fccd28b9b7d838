package stats

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// DefaultResamples is how often a bootstrap resamples: enough for the ends of
// a 99 % interval to stay put in the second significant digit of its width.
const DefaultResamples = 10_000

// fewestValues is the number of values that a bootstrap asks for. Fewer say
// nothing of how much they scatter.
const fewestValues = 3

// ErrTooFew tells that there were too few values for an interval.
var ErrTooFew = errors.New("too few values for an interval")

// Bootstrap resamples values, the same way for the same Seed.
type Bootstrap struct {
	Resamples int // 0: DefaultResamples
	Seed      uint64
}

// BCa is the bootstrap distribution of a statistic, with what Efron's
// bias-corrected and accelerated intervals need. It may be used concurrently.
type BCa struct {
	Estimate float64 // the statistic of the values themselves

	resampled    []float64 // ascending
	bias         float64   // z0
	acceleration float64   // a
}

// BCa draws as many values as x has, with replacement, and takes their
// statistic, b.Resamples times (Efron, "Better Bootstrap Confidence
// Intervals", JASA 82:397, 1987; the formulas are (14.9) to (14.15) of Efron
// and Tibshirani, "An Introduction to the Bootstrap", 1993). The statistic
// must not keep its argument and may reorder it; it is called from one
// goroutine.
//
// Few values reach less than the level says: of 10, 20 and 30 normal ones with
// HodgesLehmann the 95 % interval held the truth in 93, 93 and 95 % of 1,500
// simulations, the 99 % bound in 98, 98 and 98.5 %; of Student's t with three
// degrees of freedom, a per cent less at worst.
//
// It returns ErrTooFew for fewer than three values, and another error when a
// value or the statistic is not a finite number. Where all resamples agree,
// because all values do, every bound is the estimate: that is no proof of
// precision. Resamples that equal the estimate count half in the bias, as the
// statistic of few values takes few values itself.
func (b Bootstrap) BCa(x []float64, statistic func([]float64) float64) (*BCa, error) {
	if len(x) < fewestValues {
		return nil, fmt.Errorf("%w: %d, need %d", ErrTooFew, len(x), fewestValues)
	}
	if !finite(x) {
		return nil, errors.New("bootstrap: a value is not a finite number")
	}
	resamples := b.Resamples
	if resamples <= 0 {
		resamples = DefaultResamples
	}

	draw := slices.Clone(x)
	c := &BCa{Estimate: statistic(draw), resampled: make([]float64, resamples)}
	random := rand.New(rand.NewPCG(b.Seed, 0))
	below := 0.0
	for i := range c.resampled {
		for j := range draw {
			draw[j] = x[random.IntN(len(x))]
		}
		v := statistic(draw)
		c.resampled[i] = v
		switch {
		case v < c.Estimate:
			below++
		case v == c.Estimate:
			below += 0.5
		}
	}
	leftOut := make([]float64, len(x))
	for i := range x {
		draw = append(append(draw[:0], x[:i]...), x[i+1:]...)
		leftOut[i] = statistic(draw)
	}
	if math.IsNaN(c.Estimate) || math.IsInf(c.Estimate, 0) || !finite(c.resampled) || !finite(leftOut) {
		return nil, errors.New("bootstrap: the statistic is not a finite number")
	}
	slices.Sort(c.resampled)
	// No further out than half a resample from the ends, where the quantile
	// would be infinite.
	share := below / float64(resamples)
	least := 0.5 / float64(resamples)
	c.bias = normalQuantile(min(max(share, least), 1-least))
	c.acceleration = acceleration(leftOut)
	return c, nil
}

// acceleration returns a of the jackknife values: a sixth of their skewness.
// It is 0 when they are all equal.
func acceleration(leftOut []float64) float64 {
	sum := 0.0
	for _, v := range leftOut {
		sum += v
	}
	center := sum / float64(len(leftOut))
	squares, cubes := 0.0, 0.0
	for _, v := range leftOut {
		d := center - v
		squares += d * d
		cubes += d * d * d
	}
	if squares == 0 {
		return 0
	}
	return cubes / (6 * math.Pow(squares, 1.5))
}

// Interval returns the two-sided interval of a level, for example 0.95.
func (c *BCa) Interval(level float64) (low, high float64) {
	return c.bound((1 - level) / 2), c.bound((1 + level) / 2)
}

// Upper returns the one-sided upper bound of a level, for example 0.99.
func (c *BCa) Upper(level float64) float64 { return c.bound(level) }

// bound returns the end below which the statistic lies with the probability.
func (c *BCa) bound(probability float64) float64 {
	if c.resampled[0] == c.resampled[len(c.resampled)-1] {
		return c.Estimate
	}
	shifted := c.bias + normalQuantile(probability)
	corrected := 1.0 // beyond the pole of the formula lies the end
	if d := 1 - c.acceleration*shifted; d > 0 {
		corrected = normalCDF(c.bias + shifted/d)
	} else if shifted < 0 {
		corrected = 0
	}
	// The (B+1)p-th of the values in order, between two of them by weight.
	at := corrected*float64(len(c.resampled)+1) - 1
	at = min(max(at, 0), float64(len(c.resampled)-1))
	i := int(at)
	if i+1 == len(c.resampled) {
		return c.resampled[i]
	}
	// Written so that rounding never takes it past the upper one.
	below, above := c.resampled[i], c.resampled[i+1]
	return min(below+(above-below)*(at-float64(i)), above)
}
