package scenarios

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// simulatedLabs calibrate: a delay of the service makes the answer that much
// later, times slope.
type simulatedLabs struct {
	slope  float64
	pairs  []int
	delays []time.Duration
	rounds []int
	knees  int
	broken map[int]float64 // by the number of the duet: what its first labs are slower by
}

func (l *simulatedLabs) hooks() CalibrateHooks {
	return CalibrateHooks{Duet: func(_ context.Context, pair int, delay time.Duration) (DuetHooks, error) {
		l.pairs, l.delays = append(l.pairs, pair), append(l.delays, delay)
		n := len(l.pairs)
		ms := float64(delay) / float64(time.Millisecond)
		return DuetHooks{
			Open: func(_ context.Context, round int) (Generator, error) {
				l.rounds = append(l.rounds, round)
				slower := 1 + ms*l.slope
				if round == 1 {
					slower += l.broken[n]
				}
				g := simulation(uint64(n), same, simulatedSide{p50: slower, p99: slower})
				g.own99 = 0.03 // so that verdicts need few pairs: the test is of the counting
				return g, nil
			},
			Knee:    func(context.Context, int) (float64, error) { l.knees++; return 900, nil },
			machine: quietMachine(),
		}, nil
	}}
}

func simulatedCalibration() CalibrateConfig {
	return CalibrateConfig{
		Lab: "hashicups", Scenario: "open", Request: "api", Pods: MultipleNodes, Mesh: "ovs", Environment: Host(),
		Load:     OpenLoad{Arrivals: Poisson, Connections: 8, Requests: 100},
		Verdicts: 6, LabStarts: 2, Effects: []float64{0.02, 0.2, 0.3}, VerdictsPerEffect: 2, Seed: 1, resamples: 500,
	}
}

func TestCalibrate(t *testing.T) {
	// A delay counts 1.4 times; the fourth duet has labs of which one is slow.
	labs := &simulatedLabs{slope: 1.4, broken: map[int]float64{4: 0.5}}
	var events []CalibrateEvent
	c, err := Calibrate(t.Context(), simulatedCalibration(), labs.hooks(), func(e CalibrateEvent) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.validate(); err != nil {
		t.Error(err)
	}
	if c.Verdicts != 6 || c.LabStarts != 2 || c.FalseFails["p50"] != 1 || c.FalseFails["p99"] != 1 ||
		c.Confirmed["p50"] != 0 || c.Confirmed["p99"] != 0 || c.Undecided["p50"] != 0 || c.Pairs < 10 {
		t.Errorf("got %+v", c)
	}
	if c.Load.Rate != 150 || labs.knees != 2 { // a third of 900, for two
		t.Errorf("rate %v, %d knees measured", c.Load.Rate, labs.knees)
	}
	if len(c.Effects) != 3 {
		t.Fatalf("effects %+v", c.Effects)
	}
	small, large := c.Effects[0], c.Effects[1]
	if small.Found["p50"] != 0 || small.Verdicts != 2 || small.Injected != 0.02 {
		t.Errorf("2 %%: %+v", small)
	}
	if large.Found["p50"] != 2 || math.Abs(large.Reached-0.2) > 0.02 || c.Smallest != 0.2 {
		t.Errorf("20 %%: %+v, smallest %v", large, c.Smallest)
	}
	// 0.2 of the base's p50 would reach 0.28: one correction at least.
	if math.Abs(large.Delay.Seconds()*1000-0.2/1.4) > 0.02 {
		t.Errorf("delay %v", large.Delay)
	}
	if want := []int{0, 0, 0, 1, 1, 1}; !reflect.DeepEqual(labs.pairs[:6], want) {
		t.Errorf("pairs of labs: %v", labs.pairs)
	}
	if last := labs.pairs[len(labs.pairs)-1]; last != 4 {
		t.Errorf("the last effect has pair %d", last)
	}
	if want := []int{1, 1, 1, 1, 2, 1, 1}; !reflect.DeepEqual(labs.rounds[:7], want) {
		t.Errorf("rounds: %v", labs.rounds)
	}
	tuning, left := false, false
	for _, e := range events {
		tuning = tuning || e.Tuning
		left = left || e.Left > 0
	}
	if first, last := events[0], events[len(events)-1]; !tuning || !left || first.Verdict != 1 || first.Of != 6 ||
		first.Calibration.Verdicts != 0 || !reflect.DeepEqual(last.Calibration, *c) {
		t.Errorf("events: tuning told %v, time told %v, first %+v", tuning, left, first)
	}

	dir := filepath.Join(t.TempDir(), "calibrations")
	if _, err := LoadCalibration(dir, c.Fingerprint); !errors.Is(err, ErrNotCalibrated) {
		t.Errorf("before it is stored: %v", err)
	}
	for range 2 {
		if err := StoreCalibration(dir, c); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := LoadCalibration(dir, c.Fingerprint); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("loaded %+v, %v\nwant %+v", got, err, c)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files: %v", left)
	}
}

func TestCalibrateEndsEarly(t *testing.T) {
	labs := &simulatedLabs{slope: 1}
	h := labs.hooks()
	inner := h.Duet
	h.Duet = func(ctx context.Context, pair int, delay time.Duration) (DuetHooks, error) {
		if len(labs.pairs) == 2 {
			return DuetHooks{}, errors.New("no memory")
		}
		return inner(ctx, pair, delay)
	}
	c, err := Calibrate(t.Context(), simulatedCalibration(), h, nil)
	if err == nil || !strings.Contains(err.Error(), "verdict 3 of 6: prepare labs: no memory") || c.Verdicts != 2 || c.validate() != nil {
		t.Errorf("got %v, %+v", err, c)
	}
}

func TestCalibrateRefuses(t *testing.T) {
	for want, change := range map[string]func(*CalibrateConfig){
		"0 verdicts:":           func(c *CalibrateConfig) { c.Verdicts, c.LabStarts = 0, 1 },
		"7 pairs of labs":       func(c *CalibrateConfig) { c.LabStarts = 7 },
		"0 verdicts per effect": func(c *CalibrateConfig) { c.VerdictsPerEffect = 0 },
		"effects [0.2 0.1]":     func(c *CalibrateConfig) { c.Effects = []float64{0.2, 0.1} },
		"effects [NaN]":         func(c *CalibrateConfig) { c.Effects = []float64{math.NaN()} },
		"lab or mesh is empty":  func(c *CalibrateConfig) { c.Mesh = "" },
		`arrivals "none"`:       func(c *CalibrateConfig) { c.Load.Arrivals = "none" },
	} {
		c := simulatedCalibration()
		change(&c)
		if _, err := Calibrate(t.Context(), c, (&simulatedLabs{}).hooks(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := Calibrate(t.Context(), simulatedCalibration(), CalibrateHooks{}, nil); err == nil {
		t.Error("no labs: no error")
	}
}

func TestLoadCalibrationRefuses(t *testing.T) {
	dir := t.TempDir()
	const own, other = "0123456789ab", "ba9876543210"
	for body, want := range map[string]string{
		"":                                "unexpected end",
		"{":                               "unexpected end",
		`{"fingerprint":"` + other + `"}`: "of the machine " + other,
		`{"fingerprint":"` + own + `","verdicts":2,"false_fails":{"p50":3}}`: "false_fails of p50 is 3, of 2",
		`{"fingerprint":"x"}`: `fingerprint "x"`,
	} {
		if err := os.WriteFile(calibrationPath(dir, own), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCalibration(dir, own); err == nil || errors.Is(err, ErrNotCalibrated) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", body, err, want)
		}
	}
	for _, name := range []string{"", "../../etc/pwd", "0123456789AB", "0123456789abc"} {
		if _, err := LoadCalibration(dir, name); err == nil || errors.Is(err, ErrNotCalibrated) {
			t.Errorf("fingerprint %q: %v", name, err)
		}
	}
	if err := StoreCalibration(dir, &Calibration{Fingerprint: "../x"}); err == nil {
		t.Error("a fingerprint with a path was stored")
	}
}

func FuzzParseCalibration(f *testing.F) {
	f.Add([]byte(`{"fingerprint":"0123456789ab","verdicts":2,"false_fails":{"p50":1},"effects":[{"injected":0.1,"reached":-0.1}]}`))
	f.Add([]byte(`{"fingerprint":"0123456789ab","pairs":1e999}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseCalibration(body)
		if err == nil && (!isFingerprint(c.Fingerprint) || math.IsNaN(c.Pairs)) {
			t.Errorf("accepted %+v", c)
		}
	})
}
