package scenarios

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestDuetPreflight(t *testing.T) {
	knees := []float64{1000, 500}
	knee := func(_ context.Context, v int) (float64, error) { return knees[v], nil }
	quick := simulatedSide{p50: 0.5, p99: 0.5}

	h := alive(t, simulation(1, same, quick))
	h.Knee = knee
	c := simulatedConfig("a", "b")
	c.Load.Rate = 0
	d := runSimulated(t, c, h)
	// 1/3 / (1/1000 + 1/500) = 111.1 each.
	if d.Load.Rate != 110 || len(d.Knee) != 2 || d.Knee[1] != (Knee{"b", 500}) {
		t.Errorf("rate %v, knees %v", d.Load.Rate, d.Knee)
	}
	if len(d.Trials[0].Flags) > 0 {
		t.Errorf("flags %v", d.Trials[0].Flags)
	}

	h = alive(t, simulation(1, same, quick))
	h.Knee = knee
	c.Load.Rate = 200 // 200/1000 + 200/500 = 0.6
	for i, trial := range runSimulated(t, c, h).Trials {
		if want := []Flag{{FlagOverload, "60 % of the knee were offered"}}; !reflect.DeepEqual(trial.Flags, want) {
			t.Errorf("trial %d: flags %v", i, trial.Flags)
		}
	}

	h = alive(t, simulation(1, same, quick))
	h.Knee = func(context.Context, int) (float64, error) { return 0, nil }
	if d, err := RunDuet(t.Context(), c, h, nil); err == nil || !strings.Contains(err.Error(), "knee of a: no request was answered") || d == nil {
		t.Errorf("a dead variant: %v", err)
	}
	// Nobody waits for hours because the machine is slow.
	h = alive(t, simulation(1, same, quick))
	h.Knee = func(context.Context, int) (float64, error) { return 0.6, nil }
	slow := c
	slow.Load.Rate = 0
	if _, err := RunDuet(t.Context(), slow, h, nil); err == nil || !strings.Contains(err.Error(), "100 requests at 0.1 per second, a third of what this machine can do, take 1000 s") {
		t.Errorf("a slow machine: %v", err)
	}
}

func TestChooseRate(t *testing.T) {
	tests := []struct {
		name   string
		method Method
		knees  []float64
		want   float64
	}{
		{"two of a kind", Alive, []float64{800, 800}, 130},
		{"the most", Alive, []float64{1e6, 1e6}, 500},
		{"the most of three", Alive, []float64{1e6, 1e6, 1e6}, 330},
		{"one at a time", ABBA, []float64{900, 500}, 160},
		{"one at a time, the most", ABBA, []float64{1e6, 1e6}, 1000},
		{"slow", Alive, []float64{4.44, 4.44}, 0.74},
		{"dead", Alive, []float64{100, 0}, 0},
		{"no knee", Alive, nil, 0},
		{"no number", Alive, []float64{math.NaN(), 1}, 0},
	}
	for _, tt := range tests {
		if got := ChooseRate(tt.method, tt.knees); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMachineTimes(t *testing.T) {
	now, err := readCPUTimes()
	if err != nil || now.total <= 0 || now.idle <= 0 || now.idle > now.total {
		t.Errorf("%+v, %v", now, err)
	}
	for _, tt := range []struct {
		used        cpuTimes
		steal, busy float64
	}{
		{cpuTimes{total: 100, idle: 60, steal: 10}, 0.1, 0.3},
		{cpuTimes{total: 100, idle: 101}, 0, 0}, // counters that ran back
		{cpuTimes{}, 0, 0},
	} {
		if steal, busy := tt.used.ratios(); math.Abs(steal-tt.steal) > 1e-9 || math.Abs(busy-tt.busy) > 1e-9 {
			t.Errorf("%+v: steal %v, busy %v", tt.used, steal, busy)
		}
	}
}

func ExampleChooseRate() {
	// ovs answers 2,000 requests per second alone, consul-connect 400.
	fmt.Println(ChooseRate(Alive, []float64{2000, 400}))
	// Output: 110
}
