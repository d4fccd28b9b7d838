package main

import (
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// Who interrupts a study is told what is left of it.
func TestWhatIsKept(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	study := &scenarios.Calibration{Fingerprint: "0123456789ab", Made: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), LabStarts: 5}
	if err := scenarios.StoreCalibration(calibrationDir(), study); err != nil {
		t.Fatal(err)
	}
	later := *study
	later.Made = later.Made.Add(time.Hour)
	for want, got := range map[string]string{
		"5 pairs are kept: the same command goes on":                 whatIsKept(study, false),
		"5 pairs are kept: the same command without --fresh goes on": whatIsKept(study, true),
		"not kept: the calibration of before stays":                  whatIsKept(&later, true),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}
