package main

import (
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

func TestRatios(t *testing.T) {
	one := scenarios.MetricDecision{Metric: "p50", Ratio: 1.04}
	many := scenarios.MetricDecision{Metric: "p99", Ratio: 1.2, Low: 0.9, High: 1.456}
	for _, tt := range []struct {
		name    string
		metrics []scenarios.MetricDecision
		want    string
	}{
		{"nothing", nil, ""},
		{"no ratio", []scenarios.MetricDecision{{Metric: "p50"}}, ""},
		{"one pair has no interval", []scenarios.MetricDecision{one}, ": b p50 1.04x"},
		{"more pairs", []scenarios.MetricDecision{one, many}, ": b p50 1.04x, b p99 1.20x (0.90 to 1.46)"},
	} {
		if got := ratios([]scenarios.Comparison{{New: "b", Metrics: tt.metrics}}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
