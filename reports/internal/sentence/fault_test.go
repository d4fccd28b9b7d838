package sentence

import (
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

func TestFaults(t *testing.T) {
	d := scenarios.Duet{Faults: []scenarios.Fault{{Kind: scenarios.Kill, Target: "payments"}}}
	if got := Faults(d); got != "" {
		t.Errorf("without trials: %q", got)
	}
	for _, late := range []float64{0, 0.02, 0.04} {
		d.Trials = append(d.Trials, scenarios.Trial{Faults: []scenarios.TrialFault{{Began: 2 + late, Ended: 3 + late}, {Variant: 1, Began: 2, Ended: 3}}})
	}
	const want = "In every trial payments was killed from 2.0 s to 3.0 s: the verdict compares how the variants bear that."
	if got := Faults(d); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpanOf(t *testing.T) {
	d := scenarios.Duet{Faults: make([]scenarios.Fault, 3), Trials: []scenarios.Trial{
		{Faults: []scenarios.TrialFault{{Began: 2, Ended: 3}, {Variant: 1, Began: 2.2, Ended: 3.6}, {Fault: 1, Began: 0, Ended: 9}}},
		{Faults: []scenarios.TrialFault{{Began: 1.9, Ended: 3.1}}},
	}}
	if got, ok := SpanOf(d, 0); !ok || got != (FaultSpan{Began: 2, Ended: 3.1, First: 1.9, Last: 3.6}) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if got, ok := SpanOf(d, 2); ok {
		t.Errorf("a fault that was on in no trial: %+v", got)
	}
}
