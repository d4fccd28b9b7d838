package stats

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	tests := []struct {
		name   string
		values []float64
		p      float64
		want   float64
	}{
		{"median of four is the second, not a mean", []float64{1, 2, 3, 4}, 50, 2},
		{"median of five", []float64{1, 2, 3, 4, 5}, 50, 3},
		{"p99 of a hundred is the 99th", hundred, 99, 99},
		{"p90 of a hundred is the 90th", hundred, 90, 90},
		{"p99 of ten is the largest", hundred[:10], 99, 10},
		{"p100", hundred, 100, 100},
		{"tiny p is the smallest", hundred, 0.001, 1},
		{"one value", []float64{7}, 99, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Percentile(tt.values, tt.p); got != tt.want {
				t.Errorf("Percentile(%v, %v) = %v, want %v", tt.values, tt.p, got, tt.want)
			}
		})
	}
	if got := Percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("Percentile of nothing = %v, want NaN", got)
	}
}

func TestMedianAndRatio(t *testing.T) {
	in := []float64{9, 1, 5}
	if got := Median(in); got != 5 {
		t.Errorf("Median = %v, want 5", got)
	}
	if in[0] != 9 {
		t.Error("Median changed its argument")
	}
	if got := Median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("Median of four = %v, want 2.5", got)
	}
	if got := RatioOfMedians([]float64{6, 6, 100}, []float64{2, 3, 1}); got != 3 {
		t.Errorf("RatioOfMedians = %v, want 3", got)
	}
	for _, b := range [][]float64{nil, {0}} {
		if got := RatioOfMedians([]float64{1}, b); !math.IsNaN(got) {
			t.Errorf("RatioOfMedians with %v below = %v, want NaN", b, got)
		}
	}
}

func TestSummarize(t *testing.T) {
	got := Summarize([]float64{4, 1, 3, 2})
	if want := (Summary{Min: 1, Avg: 2.5, P50: 2, P90: 4, P99: 4, Max: 4}); got != want {
		t.Errorf("Summarize = %+v, want %+v", got, want)
	}
	if got := Summarize(nil); got != (Summary{}) {
		t.Errorf("Summarize(nil) = %+v, want zero", got)
	}
}

func encode(t *testing.T, micros ...int64) string {
	t.Helper()
	h := NewHDR()
	for _, v := range micros {
		if err := h.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	s, err := EncodeHDR(h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMergeHDR(t *testing.T) {
	h, err := MergeHDR(encode(t, 100, 200, 300), "", encode(t, 400, HDRHighestMicros))
	if err != nil {
		t.Fatal(err)
	}
	if h.TotalCount() != 5 {
		t.Errorf("merged %d values, want 5", h.TotalCount())
	}
	if got := h.ValueAtPercentile(50); got != 300 {
		t.Errorf("p50 = %d, want 300", got)
	}
}

func TestMergeHDRRefuses(t *testing.T) {
	if _, err := MergeHDR("", ""); !errors.Is(err, ErrNoHistogram) {
		t.Errorf("merging nothing: %v, want ErrNoHistogram", err)
	}
	if _, err := DecodeHDR(""); !errors.Is(err, ErrNoHistogram) {
		t.Errorf("decoding nothing: %v, want ErrNoHistogram", err)
	}
	good := encode(t, 1)
	_, err := MergeHDR(good, good[:len(good)/2])
	if err == nil || !strings.Contains(err.Error(), "histogram 2 of 2") {
		t.Errorf("truncated histogram: %v, want an error that names it", err)
	}
}
