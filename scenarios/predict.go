package scenarios

import (
	"math"

	"meshlab.dev/meshlab/scenarios/stats"
)

// Prediction tells how well the ratios of one environment told those of
// another: of one figure of two meshes, over the cells that both have. It is
// about ratios, so it does not depend on how fast the machines are.
type Prediction struct {
	Cells int

	// Which mesh is faster. A ratio whose interval reaches over 1 names neither.
	Same     int // cells in which both environments name the same mesh
	Opposite int // in which each names another one
	Open     int // in which either names none
	Sides    int // in which both ratios are on one side of 1, whatever their intervals say
	Constant int // in which the predicted environment names the mesh that it names most often: what naming that one everywhere would get right
	Favours  int // that mesh: 1 for Base, -1 for New, 0 for none

	// By how much. Both are factors of 1 or more: the ratio of one environment
	// is so many times that of the other, or the reverse.
	Median    float64
	Largest   float64
	LargestAt Point

	TauB float64 // Kendall's rank correlation of the ratios; NaN: there is none

	// Of the cells in which an environment has an interval, those whose ratios
	// differ by no more than the two leave open; see Replicate.
	Bounded int
	Within  int
}

// Predict holds the findings of one environment against those of another. Both
// must be of one figure and one pair of meshes; findings without a partner of
// the same cell are left out.
func Predict(from, to []Finding) Prediction {
	there := map[string]Finding{}
	for _, f := range to {
		there[f.Cell] = f
	}
	var p Prediction
	var x, y, off []float64
	ahead := map[int]int{}
	for _, f := range from {
		t, ok := there[f.Cell]
		if !ok || !(f.Ratio > 0) || !(t.Ratio > 0) {
			continue
		}
		p.Cells++
		a, b := f.Ahead(), t.Ahead()
		ahead[b]++
		switch {
		case a == 0 || b == 0:
			p.Open++
		case a == b:
			p.Same++
		default:
			p.Opposite++
		}
		if (f.Ratio-1)*(t.Ratio-1) > 0 || f.Ratio == t.Ratio {
			p.Sides++
		}
		x, y = append(x, math.Log(f.Ratio)), append(y, math.Log(t.Ratio))
		distance := math.Abs(math.Log(f.Ratio) - math.Log(t.Ratio))
		off = append(off, distance)
		if factor := math.Exp(distance); factor > p.Largest {
			p.Largest, p.LargestAt = factor, f.Point
		}
		if f.Bounded() || t.Bounded() {
			p.Bounded++
			if alike(f, t) {
				p.Within++
			}
		}
	}
	p.Constant = max(ahead[1], ahead[-1])
	switch {
	case p.Constant == 0:
	case ahead[1] == p.Constant:
		p.Favours = 1
	default:
		p.Favours = -1
	}
	p.Median = math.Exp(stats.Median(off))
	p.TauB, _ = stats.KendallTauB(x, y) // as long as each other
	return p
}

// Ahead tells which mesh is faster: 1 for Base, -1 for New, and 0 when the
// finding does not say, for its interval reaches over 1.
func (f Finding) Ahead() int {
	switch {
	case f.Bounded() && f.Low <= 1 && f.High >= 1, f.Ratio == 1:
		return 0
	case f.Ratio > 1:
		return 1
	}
	return -1
}

// Reversed is the same finding the other way around: Base to New.
func (f Finding) Reversed() Finding {
	f.Base, f.New, f.Ratio = f.New, f.Base, 1/f.Ratio
	if f.Bounded() {
		f.Low, f.High = 1/f.High, 1/f.Low
	}
	return f
}
