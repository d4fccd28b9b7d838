package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// timed is a simulated generator whose announced trials take their time.
type timed struct {
	*simulated
	lasts time.Duration
	fails error
}

func (g timed) Trial(ctx context.Context, spec TrialSpec) (TrialOutcome, error) {
	if spec.Announce {
		spec.Begun(time.Now())
		select {
		case <-time.After(g.lasts):
		case <-ctx.Done():
			return TrialOutcome{}, ctx.Err()
		}
		if g.fails != nil {
			return TrialOutcome{}, g.fails
		}
	}
	return g.simulated.Trial(ctx, spec)
}

// broken notes which faults are on, in labs that end them by themselves.
type broken struct {
	mu    sync.Mutex
	begun int
	on    int
	fails error
}

func (b *broken) begin(_ context.Context, _ int, f Fault) (EndFault, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil {
		return nil, b.fails
	}
	b.begun++
	b.on++
	began := time.Now()
	return func(context.Context) (FaultTimes, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.on--
		ended := time.Now()
		if at := began.Add(f.For); f.For > 0 && at.Before(ended) {
			ended = at
		}
		return FaultTimes{Began: began, Ended: ended}, nil
	}, nil
}

func faultyConfig() DuetConfig {
	c := simulatedConfig("direct", "ovs")
	c.Rule = Rule{Looks: []int{2}, Margins: []Margin{{"p50", 0.05}}}
	c.Faults = []Fault{
		{Kind: Kill, Target: "payments", At: 100 * time.Millisecond, For: 200 * time.Millisecond},
		{Kind: Partition, Groups: [][]string{{"s1"}, {"s2"}}, At: 300 * time.Millisecond},
	}
	return c
}

func TestFaultsOfTrials(t *testing.T) {
	for _, method := range []Method{Alive, ABBA} {
		t.Run(string(method), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, b := timed{simulation(1, same, same), 500 * time.Millisecond, nil}, &broken{}
				h := alive(t, g.simulated)
				open := h.Open
				h.Open = func(ctx context.Context) (Generator, error) { _, err := open(ctx); return g, err }
				h.Use = func(context.Context, int) (ActiveSide, error) { return ActiveSide{Generator: g}, nil }
				if method == ABBA {
					h.Use = func(_ context.Context, v int) (ActiveSide, error) { return ActiveSide{Generator: g, Side: v}, nil }
				}
				h.Fault = b.begin
				c := faultyConfig()
				c.Method = method
				d, err := RunDuet(t.Context(), c, h, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(d.Trials) != 2 || len(d.Faults) != 2 || b.begun != 8 || b.on != 0 {
					t.Fatalf("%d trials, %d faults, %d began, %d are on", len(d.Trials), len(d.Faults), b.begun, b.on)
				}
				for i, trial := range d.Trials {
					if len(trial.Faults) != 4 {
						t.Fatalf("trial %d: %+v", i, trial.Faults)
					}
					for j, f := range trial.Faults {
						began, ended := 0.1, 0.3
						if j >= 2 {
							began, ended = 0.3, 0.5 // the end of the trial
						}
						if f.Fault != j/2 || math.Abs(f.Began-began) > 1e-9 || math.Abs(f.Ended-ended) > 1e-9 {
							t.Errorf("trial %d, %d: %+v, want %v to %v s", i, j, f, began, ended)
						}
					}
					if trial.Faults[0].Variant+trial.Faults[1].Variant != 1 {
						t.Errorf("trial %d: one variant twice: %+v", i, trial.Faults)
					}
				}
				// A document keeps them.
				r := pairedResult(t)
				r.Duets[0].Faults, r.Duets[0].Trials[0].Faults = d.Faults, d.Trials[0].Faults
				text, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				read, err := Read(bytes.NewReader(text))
				if err != nil || len(read.Duets[0].Trials[0].Faults) != 4 {
					t.Fatalf("%v", err)
				}
				r.Duets[0].Trials[0].Faults[0].Fault = 2
				if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "fault 2 of 2") {
					t.Errorf("a fault that is not there: %v", err)
				}
			})
		})
	}
}

func TestTrialsThatCannotHaveTheirFaults(t *testing.T) {
	gone := errors.New("the lab is gone")
	for name, tc := range map[string]struct {
		change func(*DuetConfig, *timed, *broken)
		want   string
		took   time.Duration
	}{
		"no such process": {func(_ *DuetConfig, _ *timed, b *broken) { b.fails = errors.New("no process payments") },
			"kill payments under direct: no process payments", 100 * time.Millisecond},
		"the generator fails": {func(_ *DuetConfig, g *timed, _ *broken) { g.fails = gone }, "the lab is gone", 500 * time.Millisecond},
		"begins after the end": {func(c *DuetConfig, _ *timed, _ *broken) { c.Faults[1].At = 500 * time.Millisecond },
			"partition s1 s2 begins at 500ms, and a trial of 100 requests at 200 per second lasts 500ms", 0},
		"over before it began": {func(_ *DuetConfig, g *timed, _ *broken) { g.lasts = 200 * time.Millisecond },
			"the trial was over before 2 of its faults began", 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, b := timed{simulation(1, same, same), 500 * time.Millisecond, nil}, &broken{}
				c, h := faultyConfig(), alive(t, g.simulated)
				tc.change(&c, &g, b)
				h.Fault = b.begin
				h.Open = func(context.Context) (Generator, error) { return g, nil }
				begin := time.Now()
				_, err := RunDuet(t.Context(), c, h, nil)
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%v, want %q", err, tc.want)
				}
				if b.on != 0 {
					t.Errorf("%d faults are on", b.on)
				}
				if took := time.Since(begin); took != tc.took {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

func TestFaultsEndWithTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, b := timed{simulation(1, same, same), 500 * time.Millisecond, nil}, &broken{}
		c, h := faultyConfig(), alive(t, g.simulated)
		h.Fault = b.begin
		h.Open = func(context.Context) (Generator, error) { return g, nil }
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		if _, err := RunDuet(ctx, c, h, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if b.begun != 2 || b.on != 0 {
			t.Errorf("%d began, %d are on", b.begun, b.on)
		}
	})
}
