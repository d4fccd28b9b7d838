package stats

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestHolm(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		name    string
		p, want []float64
	}{
		{"none", nil, nil},
		{"one", []float64{0.3}, []float64{0.3}},
		// R 4: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
		{"five", []float64{0.01, 0.02, 0.03, 0.04, 0.05}, []float64{0.05, 0.08, 0.09, 0.09, 0.09}},
		// The example of the article "Holm-Bonferroni method" of Wikipedia: at
		// 0.05 the first and the last are rejected, the others are not.
		{"out of order", []float64{0.01, 0.04, 0.03, 0.005}, []float64{0.03, 0.06, 0.06, 0.02}},
		{"capped", []float64{0.9, 0.6}, []float64{1, 1}},
		{"not made", []float64{0.01, nan, 0.02}, []float64{0.02, nan, 0.02}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Holm(tt.p)
			if len(got) != len(tt.want) {
				t.Fatalf("%v, want %v", got, tt.want)
			}
			for i := range got {
				if math.IsNaN(tt.want[i]) && math.IsNaN(got[i]) {
					continue
				}
				near(t, "adjusted", got[i], tt.want[i], 1e-12)
			}
		})
	}
}

// TestHolmIsTheClosedBonferroniTest uses the other definition: a hypothesis
// is rejected when Bonferroni's test rejects each set that it is in (Marcus,
// Peritz and Gabriel, "On Closed Testing Procedures", Biometrika 63:3, 1976).
func TestHolmIsTheClosedBonferroniTest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(0, 1), rapid.Float64Range(0, 0.1), rapid.Just(0.02)), 1, 7).Draw(t, "p")
		got := Holm(p)
		for i := range p {
			want := 0.0
			for set := range 1 << len(p) {
				if set>>i&1 == 0 {
					continue
				}
				smallest, size := 1.0, 0
				for j := range p {
					if set>>j&1 == 1 {
						size++
						smallest = min(smallest, p[j])
					}
				}
				want = max(want, min(1, float64(size)*smallest))
			}
			if math.Abs(got[i]-want) > 1e-12 {
				t.Fatalf("Holm(%v)[%d] = %v, want %v", p, i, got[i], want)
			}
		}
	})
}
