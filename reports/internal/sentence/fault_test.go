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
