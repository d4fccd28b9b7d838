package cells_test

import (
	"math"
	"testing"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

func TestPool(t *testing.T) {
	slow := sample.Result(sample.Small, sample.OnlyCells).Cells
	fast := sample.Result(sample.OnlyCells).Cells
	// 1000 requests over one connection, and 200 of the slowest mesh over 8.
	a, b := fast[0].Attempts[1], slow[len(slow)-1].Attempts[1]
	n, m8 := float64(a.Requests), float64(b.Requests)
	if n < 3*m8 || b.Min < a.P50 {
		t.Fatalf("the sample does not fit: %d and %d requests, p50 %v and minimum %v", a.Requests, b.Requests, a.P50, b.Min)
	}
	m, err := cells.Pool([]scenarios.Attempt{a, b})
	if err != nil {
		t.Fatal(err)
	}
	if want := (n*a.Avg + m8*b.Avg) / (n + m8); math.Abs(m.Avg-want) > 1e-9 {
		t.Errorf("average %v, want the weighted %v", m.Avg, want)
	}
	if m.Min != min(a.Min, b.Min) || m.Max != max(a.Max, b.Max) {
		t.Errorf("extremes %v and %v", m.Min, m.Max)
	}
	if want := (n + m8) / (a.Seconds + b.Seconds); math.Abs(m.PerSecond-want) > 1e-6 {
		t.Errorf("%v requests/s, want %v", m.PerSecond, want)
	}
	// Most values come from a, so the median lies in its upper part, and p90
	// among b's.
	if m.P50 <= a.P50 || m.P50 >= a.P90 || m.P90 < b.Min {
		t.Errorf("p50 %v and p90 %v; a has p50 %v, b begins at %v", m.P50, m.P90, a.P50, b.Min)
	}
	if got := m.HDR.TotalCount(); float64(got) != n+m8 {
		t.Errorf("%d values, want %v", got, n+m8)
	}
	if m, err := cells.Pool(nil); err != nil || m.OK() {
		t.Errorf("pool of nothing: %+v, %v", m, err)
	}
}

func TestRatioOf(t *testing.T) {
	a := &cells.Measure{Requests: 1, P50: 6, PerAttempt: []float64{6, 5, 9}}
	b := &cells.Measure{Requests: 1, P50: 2, PerAttempt: []float64{2, 2.5, 2}}
	if r := cells.RatioOf(a, b); r != (cells.Ratio{Value: 3, Low: 2, High: 4.5, OK: true}) {
		t.Errorf("got %+v", r)
	}
	for _, broken := range []*cells.Measure{nil, {}, {Requests: 3, Errors: 1, P50: 2}} {
		if cells.RatioOf(a, broken).OK || cells.RatioOf(broken, a).OK {
			t.Errorf("a ratio with %+v", broken)
		}
	}
}

func TestRatioString(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{cells.Ratio{Value: 2.94, Low: 1.7, High: 4.1, OK: true}.String(), "2.9 (1.7–4.1)"},
		{cells.Ratio{Value: 2.94, Low: 2.93, High: 2.94, OK: true}.String(), "2.9"},
		{cells.Ratio{}.String(), format.Missing},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
