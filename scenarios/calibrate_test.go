package scenarios

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// simulatedLabs calibrate: a delay of the service makes the answer that much
// later, times slope, and two labs of one kind differ for as long as they are
// up.
type simulatedLabs struct {
	slope  float64
	apart  float64 // standard deviation of the log ratio of two labs
	pairs  []int
	delays []time.Duration
	knees  int
	factor map[int]float64 // by pair of labs
}

func (l *simulatedLabs) hooks() CalibrateHooks {
	random := rand.New(rand.NewPCG(5, 5))
	l.factor = map[int]float64{}
	return CalibrateHooks{Duet: func(_ context.Context, pair int, delay time.Duration) (DuetHooks, error) {
		l.pairs, l.delays = append(l.pairs, pair), append(l.delays, delay)
		if l.factor[pair] == 0 {
			l.factor[pair] = math.Exp(l.apart * random.NormFloat64())
		}
		seed := uint64(len(l.pairs))
		ms := float64(delay) / float64(time.Millisecond)
		slower := (1 + ms*l.slope) * l.factor[pair]
		g := simulation(seed, same, simulatedSide{p50: slower, p99: slower})
		g.own99 = 0.03 // so that verdicts need few pairs: the test is of the counting
		return DuetHooks{
			Open:    func(context.Context) (Generator, error) { return g, nil },
			Knee:    func(context.Context, int) (float64, error) { l.knees++; return 900, nil },
			machine: quietMachine(),
		}, nil
	}}
}

func simulatedCalibration() CalibrateConfig {
	return CalibrateConfig{
		Lab: "hashicups", Scenario: "open", Request: "api", Pods: MultipleNodes, Mesh: "ovs", Environment: Host(),
		Load:      OpenLoad{Arrivals: Poisson, Connections: 8, Requests: 100},
		LabStarts: 40, Verdicts: 60, Effects: []float64{0.02, 0.2, 0.3}, Seed: 1, resamples: 100,
	}
}

func TestCalibrate(t *testing.T) {
	// A delay counts 1.4 times; two labs differ by some 4 %.
	labs := &simulatedLabs{slope: 1.4, apart: 0.04}
	var events []CalibrateEvent
	c, err := Calibrate(t.Context(), simulatedCalibration(), labs.hooks(), func(e CalibrateEvent) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.validate(); err != nil {
		t.Error(err)
	}
	if c.Verdicts != 60 || c.LabStarts != 40 || c.FalseFails["p50"] > 1 || c.FalseFails["p99"] > 1 || c.Pairs < 10 || len(c.Ratios["p99"]) != 40 {
		t.Errorf("got %+v", c)
	}
	if c.Load.Rate != 150 || labs.knees != 2 { // a third of 900, for two
		t.Errorf("rate %v, %d knees measured", c.Load.Rate, labs.knees)
	}
	if len(c.Effects) != 3 {
		t.Fatalf("effects %+v", c.Effects)
	}
	small, large := c.Effects[0], c.Effects[1]
	if small.Found["p50"] > 6 || small.Verdicts != 60 || small.Injected != 0.02 {
		t.Errorf("2 %%: %+v", small)
	}
	if large.Found["p50"] != 60 || math.Abs(large.Reached-0.2) > 0.03 || c.Smallest != 0.2 {
		t.Errorf("20 %%: %+v, smallest %v", large, c.Smallest)
	}
	// 0.2 of the base's p50 would reach 0.28: one correction at least.
	if math.Abs(large.Delay.Seconds()*1000-0.2/1.4) > 0.02 {
		t.Errorf("delay %v", large.Delay)
	}
	// Pair 0 tunes; the others are measured once with each delay and once without.
	count := map[int]map[time.Duration]int{}
	for i, pair := range labs.pairs {
		if count[pair] == nil {
			count[pair] = map[time.Duration]int{}
		}
		count[pair][labs.delays[i]]++
	}
	for pair := 1; pair <= 40; pair++ {
		if len(count[pair]) != 4 || count[pair][0] != 1 || count[pair][large.Delay] != 1 {
			t.Errorf("pair %d of labs: %v", pair, count[pair])
		}
	}
	tuning, left := false, false
	for _, e := range events {
		tuning = tuning || e.Tuning
		left = left || e.Left > 0
	}
	if first, last := events[0], events[len(events)-1]; !tuning || !left || first.Of != 40 || !reflect.DeepEqual(last.Calibration, *c) {
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

// Labs that differ by more than the margin make false alarms if a verdict
// rests on one pair of them, and none if each pair of trials has its own.
func TestDrawVerdicts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	rule := CalibrateConfig{}.rule()
	own, one := zeroRatios(), zeroRatios()
	for range 60 {
		for m := range own {
			own[m] = append(own[m], math.Exp(0.06*random.NormFloat64()))
			one[m] = append(one[m], 1.08*math.Exp(0.02*random.NormFloat64()))
		}
	}
	if d := drawVerdicts(rule, own, 100, 1, 100); d.fails["p50"] > 2 || d.fails["p99"] > 1 || d.pairs < 10 || d.pairs > 30 {
		t.Errorf("labs of their own: %+v", d)
	}
	if d := drawVerdicts(rule, one, 100, 1, 100); d.fails["p50"] != 100 {
		t.Errorf("the same labs: %+v", d)
	}
	if a, b := drawVerdicts(rule, own, 20, 1, 100), drawVerdicts(rule, own, 20, 1, 100); !reflect.DeepEqual(a, b) {
		t.Errorf("the same seed drew %+v and %+v", a, b)
	}
}

func TestCalibrateEndsEarly(t *testing.T) {
	labs := &simulatedLabs{slope: 1}
	h := labs.hooks()
	inner := h.Duet
	h.Duet = func(ctx context.Context, pair int, delay time.Duration) (DuetHooks, error) {
		if pair == 3 {
			return DuetHooks{}, errors.New("no memory")
		}
		return inner(ctx, pair, delay)
	}
	c, err := Calibrate(t.Context(), simulatedCalibration(), h, nil)
	if err == nil || !strings.Contains(err.Error(), "pair 3 of 40: prepare labs: no memory") || c.LabStarts != 2 || c.Verdicts != 0 || c.validate() != nil {
		t.Errorf("got %v, %+v", err, c)
	}
}

// Verdicts that must end before the last look are not those of the rule.
func TestDrawNeedsTheLastLook(t *testing.T) {
	for pairs, want := range map[int]int{19: 0, 20: 5} {
		r := calibration{c: CalibrateConfig{Verdicts: 5, resamples: 100}, result: Calibration{LabStarts: pairs, Ratios: zeroRatios()}}
		for m := range r.result.Ratios {
			r.result.Ratios[m] = spread(pairs, 1)
		}
		if r.draw(); r.result.Verdicts != want {
			t.Errorf("%d verdicts drawn from %d pairs, want %d", r.result.Verdicts, pairs, want)
		}
	}
}

func TestCalibrateRefuses(t *testing.T) {
	for want, change := range map[string]func(*CalibrateConfig){
		"0 verdicts:":          func(c *CalibrateConfig) { c.Verdicts = 0 },
		"19 pairs of labs":     func(c *CalibrateConfig) { c.LabStarts = 19 },
		"effects [0.2 0.1]":    func(c *CalibrateConfig) { c.Effects = []float64{0.2, 0.1} },
		"effects [NaN]":        func(c *CalibrateConfig) { c.Effects = []float64{math.NaN()} },
		"lab or mesh is empty": func(c *CalibrateConfig) { c.Mesh = "" },
		`arrivals "none"`:      func(c *CalibrateConfig) { c.Load.Arrivals = "none" },
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
