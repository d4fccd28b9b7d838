package main

import (
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

func TestPrintRamp(t *testing.T) {
	for want, r := range map[string]scenarios.Ramp{
		"p99 below 20ms up to 476 requests/s (2 trials; above it the mesh does not keep that)":                   {Highest: 475.7, End: scenarios.EndObjective},
		"p99 below 20ms at no rate that was tried (2 trials; at the lowest of them the mesh does not keep that)": {End: scenarios.EndObjective},
		"up to 0.71 requests/s (2 trials; above it the generator was late, so the mesh may do more)":             {Highest: 0.7071, End: scenarios.EndGenerator},
		"up to 100000 requests/s (2 trials; no higher rate is tried)":                                            {Highest: scenarios.MaxRate, End: scenarios.EndMaximum},
	} {
		r.Scenario, r.Lab, r.Mesh, r.Steps = "web", "small", "ovs", make([]scenarios.RampStep, 2)
		r.Objective = scenarios.Objective{Percentile: 99, Below: 20 * time.Millisecond}
		var b strings.Builder
		if printRamp(&b, r); !strings.HasPrefix(b.String(), "web in small under ovs: ") || !strings.Contains(b.String(), want) {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
}
