package scenarios

import (
	"errors"
	"testing"
)

// A study that ended early goes on from what was kept, and makes nothing twice.
func TestCalibrateGoesOn(t *testing.T) {
	cfg := simulatedCalibration()
	cfg.Effects, cfg.LabStarts = []float64{0.3}, 20
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
	for i, c := range kept[:4] {
		if err := c.validate(); c.LabStarts != i+1 || len(c.Ratios["p50"]) != i+1 || len(c.Effects[0].Ratios["p99"]) != i+1 || err != nil {
			t.Errorf("after pair %d: %+v, %v", i+1, c, err)
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
	if c.LabStarts != 20 || c.Verdicts != cfg.Verdicts || len(c.Ratios["p50"]) != 20 || len(c.Effects[0].Ratios["p50"]) != 20 {
		t.Errorf("got %+v", c)
	}
	if got := len(second.pairs); got != 2*16 {
		t.Errorf("%d trials for the sixteen pairs of labs that were left", got)
	}
	if second.knees != 0 {
		t.Errorf("the rate was chosen again: %d knees", second.knees)
	}
	if kept[3].LabStarts != 4 || len(kept[3].Ratios["p50"]) != 4 {
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
	cfg.Mesh = "ovs"
	damaged := *c
	damaged.Ratios = map[string][]float64{"p50": {1}}
	cfg.Earlier = &damaged
	if _, err := Calibrate(t.Context(), cfg, third.hooks(), nil); !errors.Is(err, ErrOtherStudy) {
		t.Errorf("ratios that are missing: %v", err)
	}
}
