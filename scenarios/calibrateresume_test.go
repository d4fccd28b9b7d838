package scenarios

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"
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

// A study that ends before its first pair keeps nothing: it must not stand for
// one of this load when the next is of another.
func TestCalibrateKeepsNothingUnmeasured(t *testing.T) {
	labs := &simulatedLabs{slope: 1.4}
	hooks := labs.hooks()
	inner := hooks.Duet
	hooks.Duet = func(ctx context.Context, pair int, delay time.Duration) (DuetHooks, error) {
		if pair == 1 { // 0 is of the search for delays
			return DuetHooks{}, errors.New("no memory")
		}
		return inner(ctx, pair, delay)
	}
	hooks.Store = func(c *Calibration) error { t.Errorf("kept: %+v", c); return nil }
	c, err := Calibrate(t.Context(), simulatedCalibration(), hooks, nil)
	if err == nil || c.LabStarts != 0 {
		t.Fatalf("got %v, %+v", err, c)
	}

	// Earlier versions kept such studies.
	cfg := simulatedCalibration()
	cfg.Request, cfg.Effects, cfg.Earlier = "frontend", nil, c
	if c, err := Calibrate(t.Context(), cfg, (&simulatedLabs{slope: 1.4}).hooks(), nil); err != nil || c.Request != "frontend" || c.LabStarts != 40 {
		t.Errorf("after an empty study of another request: %v, %+v", err, c)
	}
}

// Verdicts that are there stay until the new study has some: --fresh may be
// interrupted.
func TestStoreCalibrationLeavesVerdicts(t *testing.T) {
	dir := t.TempDir()
	store := func(pairs, verdicts int) error {
		return StoreCalibration(dir, &Calibration{Fingerprint: "0123456789ab", LabStarts: pairs, Verdicts: verdicts})
	}
	for _, step := range []struct {
		pairs, verdicts int
		want            error
	}{{3, 0, nil}, {4, 0, nil}, {20, 200, nil}, {1, 0, ErrHasVerdicts}, {21, 200, nil}} {
		before, _ := LoadCalibration(dir, "0123456789ab")
		if err := store(step.pairs, step.verdicts); !errors.Is(err, step.want) {
			t.Fatalf("%+v: %v", step, err)
		}
		after, err := LoadCalibration(dir, "0123456789ab")
		if err != nil {
			t.Fatal(err)
		}
		if step.want != nil && !reflect.DeepEqual(after, before) || step.want == nil && after.LabStarts != step.pairs {
			t.Errorf("%+v: there is %+v", step, after)
		}
	}
}

// A study has verdicts from the first pair on that allows them, so that what is
// kept from then on can replace an earlier one.
func TestCalibrateDrawsAsItGoes(t *testing.T) {
	cfg := simulatedCalibration()
	cfg.Effects, cfg.LabStarts, cfg.Verdicts = nil, 21, 5
	hooks := (&simulatedLabs{slope: 1.4}).hooks()
	hooks.Store = func(c *Calibration) error {
		if want := map[bool]int{true: 5}[c.LabStarts >= 20]; c.Verdicts != want {
			t.Errorf("%d verdicts of %d pairs, want %d", c.Verdicts, c.LabStarts, want)
		}
		return nil
	}
	if _, err := Calibrate(t.Context(), cfg, hooks, nil); err != nil {
		t.Fatal(err)
	}
}
