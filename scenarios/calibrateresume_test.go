package scenarios

import (
	"errors"
	"testing"
)

// A study that ended early goes on from what was kept, and makes nothing twice.
func TestCalibrateGoesOn(t *testing.T) {
	cfg := simulatedCalibration()
	cfg.Effects = []float64{0.3}
	var kept []Calibration
	broken := errors.New("the machine went down")
	first := &simulatedLabs{slope: 1.4}
	hooks := first.hooks()
	hooks.Store = func(c *Calibration) error {
		kept = append(kept, *c)
		if len(kept) == 4 {
			return broken
		}
		return nil
	}
	if _, err := Calibrate(t.Context(), cfg, hooks, nil); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	for i, c := range kept {
		if err := c.validate(); c.Verdicts != i+1 || len(c.Ratios["p50"]) != i+1 || err != nil {
			t.Errorf("after verdict %d: %+v, %v", i+1, c, err)
		}
	}

	second := &simulatedLabs{slope: 1.4}
	cfg.Earlier = &kept[3]
	hooks = second.hooks()
	hooks.Store = func(c *Calibration) error { kept = append(kept, *c); return nil }
	c, err := Calibrate(t.Context(), cfg, hooks, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Verdicts != 6 || len(c.Ratios["p50"]) != 6 || c.LabStarts != 2 || c.Effects[0].Verdicts != 2 || len(c.Effects[0].Ratios) != 2 {
		t.Errorf("got %+v", c)
	}
	if got := len(second.pairs); got > 2+2+tuneSteps {
		t.Errorf("%d duets for the two verdicts and the effect that were left", got)
	}
	if second.knees != 0 {
		t.Errorf("the rate was chosen again: %d knees", second.knees)
	}
	if kept[3].Verdicts != 4 || len(kept[3].Ratios["p50"]) != 4 {
		t.Errorf("what was kept has changed: %+v", kept[3])
	}

	// All is done: nothing is measured.
	third := &simulatedLabs{slope: 1.4}
	cfg.Earlier = c
	if _, err := Calibrate(t.Context(), cfg, third.hooks(), nil); err != nil || len(third.pairs) != 0 {
		t.Errorf("%d more duets, %v", len(third.pairs), err)
	}

	cfg.Mesh = "direct"
	if _, err := Calibrate(t.Context(), cfg, third.hooks(), nil); !errors.Is(err, ErrOtherStudy) {
		t.Errorf("another mesh: %v", err)
	}
}
