package stats

import (
	"fmt"
	"math"
	"slices"
)

// LogRatios returns ln(changed[i] / base[i]) of each pair: what a change does
// to a latency is a factor, and the logarithm makes +x % and its reverse
// equally far from nothing. It returns an error that names the pair when the
// lengths differ or a value is not a positive, finite number.
func LogRatios(changed, base []float64) ([]float64, error) {
	if len(changed) != len(base) {
		return nil, fmt.Errorf("pair %d values with %d: lengths differ", len(changed), len(base))
	}
	logs := make([]float64, len(base))
	for i := range base {
		for _, v := range []float64{changed[i], base[i]} {
			if math.IsNaN(v) || math.IsInf(v, 0) || v <= 0 {
				return nil, fmt.Errorf("pair %d of %d: %v has no logarithm", i+1, len(base), v)
			}
		}
		// Not of the quotient, which may overflow.
		logs[i] = math.Log(changed[i]) - math.Log(base[i])
	}
	return logs, nil
}

// HodgesLehmann returns the median of all Walsh averages (x[i] + x[j]) / 2,
// i <= j: the estimate of location that belongs to the signed-rank test
// (Hodges and Lehmann, "Estimates of Location Based on Rank Tests", Annals of
// Mathematical Statistics 34:2, 1963). It leaves x as it is, and returns NaN
// when there are no values or one is NaN or infinite.
//
// It takes O(n log n) time, without writing the averages down.
func HodgesLehmann(x []float64) float64 {
	if len(x) == 0 || !finite(x) {
		return math.NaN()
	}
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	return walsh(sorted).median()
}

// walsh is the Walsh averages of values in ascending order.
type walsh []float64

func (w walsh) len() int { return len(w) * (len(w) + 1) / 2 }

func (w walsh) ends() (least, greatest float64) { return w[0], w[len(w)-1] }

// upTo returns how many averages are at most v, and the smallest that is
// above it (+Inf if there is none).
func (w walsh) upTo(v float64) (count int, next float64) {
	next = math.Inf(1)
	j := len(w) - 1
	for i := range w {
		// As x[i] grows, fewer partners keep the average at or below v.
		for j >= i && mean(w[i], w[j]) > v {
			j--
		}
		if k := max(j+1, i); k < len(w) {
			next = min(next, mean(w[i], w[k]))
		}
		count += max(j-i+1, 0)
	}
	return count, next
}

func (w walsh) median() float64 { return medianOf(w) }

// differences is all x[i] - y[j] of two lists of values in ascending order.
type differences struct{ x, y []float64 }

func (d differences) len() int { return len(d.x) * len(d.y) }

func (d differences) ends() (least, greatest float64) {
	return d.x[0] - d.y[len(d.y)-1], d.x[len(d.x)-1] - d.y[0]
}

func (d differences) upTo(v float64) (count int, next float64) {
	next = math.Inf(1)
	j := 0 // the first y that is large enough
	for i := range d.x {
		for j < len(d.y) && d.x[i]-d.y[j] > v {
			j++
		}
		if j > 0 {
			next = min(next, d.x[i]-d.y[j-1])
		}
		count += len(d.y) - j
	}
	return count, next
}

// manyValues is a multiset too large to be written down.
type manyValues interface {
	len() int
	ends() (least, greatest float64)
	upTo(v float64) (count int, next float64)
}

// nth returns the k-th smallest value (1 <= k <= m.len()), exactly, by
// halving the range of floating-point numbers between the ends: at most 64
// counts.
func nth(m manyValues, k int) float64 {
	least, greatest := m.ends()
	lo, hi := ordered(least), ordered(greatest)
	for lo < hi {
		mid := lo + int64(uint64(hi-lo)/2)
		if count, _ := m.upTo(unordered(mid)); count >= k {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return unordered(lo)
}

// medianOf returns the middle value, or the mean of the two middle ones.
func medianOf(m manyValues) float64 {
	n := m.len()
	lower := nth(m, (n+1)/2)
	if n%2 == 1 {
		return lower
	}
	count, next := m.upTo(lower)
	if count > n/2 {
		return lower
	}
	return mean(lower, next)
}

// ordered maps a number to an integer so that both are in the same order
// (IEEE 754: the bits of positive numbers are, those of negative ones are
// reversed). -0 and 0 are the same integer.
func ordered(v float64) int64 {
	bits := int64(math.Float64bits(math.Abs(v)))
	if v < 0 {
		return -bits
	}
	return bits
}

func unordered(i int64) float64 {
	if i < 0 {
		return -math.Float64frombits(uint64(-i))
	}
	return math.Float64frombits(uint64(i))
}

// mean returns (a + b) / 2 without an overflow.
func mean(a, b float64) float64 { return a/2 + b/2 }

// finite tells whether no value is NaN or infinite.
func finite(x []float64) bool {
	return !slices.ContainsFunc(x, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}
