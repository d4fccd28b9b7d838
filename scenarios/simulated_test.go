package scenarios

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// simulated is a generator that sends nothing: its latencies are drawn from
// log-normal distributions. Each trial has noise that all sides share, as the
// moments of a machine are, and a little of each side's own.
type simulated struct {
	random *rand.Rand
	sides  []simulatedSide
	common float64 // standard deviation of the shared noise, in log
	own50  float64 // of each side's own, at p50
	own99  float64 // at p99
	drift  float64 // of log latency per trial: what one-at-a-time pairs must survive

	specs    []TrialSpec
	opened   int // labs
	closed   int
	trials   int
	warming  bool                           // the last trial was part of a warm-up
	measured int                            // trials that are no warm-up
	late     float64                        // p99 of lateness, ms
	after    func(n int, out *TrialOutcome) // may change the n-th outcome, from 1
}

type simulatedSide struct {
	p50, p99 float64 // factors on 1 ms and 4 ms
	errors   float64 // share of requests that fail
}

func (s *simulated) Close() error { s.closed++; return nil }

func (s *simulated) Trial(ctx context.Context, spec TrialSpec) (TrialOutcome, error) {
	if err := ctx.Err(); err != nil {
		return TrialOutcome{}, err
	}
	s.trials++
	s.specs = append(s.specs, spec)
	out := TrialOutcome{
		Started: time.Unix(int64(s.trials), 0).UTC(), Seconds: float64(spec.Requests) / spec.Rate, Sides: make([]SideOutcome, len(s.sides)),
	}
	if s.late > 0 {
		out.Generator.Lateness = simulatedDistribution(s.late/2, s.late, 10)
	}
	active := spec.Only
	if len(active) == 0 {
		for i := range s.sides {
			active = append(active, i)
		}
	}
	shared := 0.0
	s.warming = spec.Window == 0
	if !s.warming {
		shared = s.random.NormFloat64()*s.common + s.drift*float64(s.measured)
		s.measured++
	}
	for _, i := range active {
		side := s.sides[i]
		o := &out.Sides[i]
		o.Requests = spec.Requests
		for range spec.Requests {
			if side.errors > 0 && s.random.Float64() < side.errors {
				o.Errors++
			}
		}
		if o.Errors > 0 {
			o.ErrorKind = map[string]int{"simulated": o.Errors}
		}
		p50 := side.p50 * math.Exp(shared+s.random.NormFloat64()*s.own50)
		p99 := max(4*side.p99*math.Exp(shared+s.random.NormFloat64()*s.own99), p50)
		if o.Errors < o.Requests {
			o.Latency = simulatedDistribution(p50, p99, o.Requests-o.Errors)
			o.Service = o.Latency
		}
	}
	if s.after != nil {
		s.after(s.trials, &out)
	}
	return out, nil
}

// simulatedDistribution returns a consistent distribution with these
// percentiles. Its histogram has the right count and end.
func simulatedDistribution(p50, p99 float64, n int) Distribution {
	h := stats.NewHDR()
	err := h.RecordValues(int64(p50*1000), int64(n))
	if n > 1 {
		h = stats.NewHDR()
		err = h.RecordValues(int64(p50*1000), int64(n-1))
	}
	p99 = float64(int64(p99*1000)) / 1000
	if n == 1 {
		p99 = p50
	}
	if n > 1 && err == nil {
		err = h.RecordValue(int64(p99 * 1000))
	}
	if err != nil {
		panic(err)
	}
	hdr, err := stats.EncodeHDR(h)
	if err != nil {
		panic(err)
	}
	return Distribution{Min: p50, Avg: p50, P50: p50, P90: p50, P99: p99, Max: p99, HDR: hdr}
}

// simulation returns a generator with the spreads that were measured for two
// variants live together: 0.019 for the log ratio of p50, 0.23 for p99 (both
// of two sides, so each side has one part in the square root of two).
func simulation(seed uint64, sides ...simulatedSide) *simulated {
	return &simulated{
		random: rand.New(rand.NewPCG(seed, 7)), sides: sides,
		common: 0.3, own50: 0.019 / math.Sqrt2, own99: 0.23 / math.Sqrt2,
	}
}

var same = simulatedSide{p50: 1, p99: 1}

// quietMachine never has anything stolen.
func quietMachine() func() (cpuTimes, error) {
	n := 0.0
	return func() (cpuTimes, error) {
		n++
		return cpuTimes{total: n, idle: n / 2}, nil
	}
}

func simulatedConfig(names ...string) DuetConfig {
	c := DuetConfig{
		Scenario: "open", Request: "api", Lab: "hashicups", Pods: MultipleNodes,
		Load: OpenLoad{Arrivals: Poisson, Rate: 200, Connections: 8, Requests: 100}, Seed: 1, resamples: 500,
	}
	for _, n := range names {
		c.Variants = append(c.Variants, Variant{Name: n, Mesh: "ovs"})
	}
	return c
}

// alive are the hooks of labs that all have the same generator.
func alive(t testing.TB, g *simulated) DuetHooks {
	return DuetHooks{
		Open: func(context.Context) (Generator, error) {
			if g.closed != g.opened {
				t.Error("labs were opened while the generator of those before was open")
			}
			g.opened++
			return g, nil
		},
		machine: quietMachine(),
	}
}
