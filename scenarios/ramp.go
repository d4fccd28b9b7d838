package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// RampConfig says how the highest load that keeps an objective is searched.
type RampConfig struct {
	Meshes    []string // by the index of the generator's sides
	Objective Objective
	Arrivals  Arrivals
	Start     float64 // first rate that is tried, per second; 0: 100
	Most      float64 // no rate above it is tried, per second; 0: MaxRate
	Seed      uint64  // of the turns of the meshes and of all trials
}

// How a ramp searches.
const (
	rampStart      = 100.0           // per second
	rampGrowth     = 2.0             // from one rate to the next, while the objective is kept
	rampDrop       = 10.0            // below the start, when that breaks it
	rampResolution = 1.05            // the search ends when broken and kept rates are this near
	rampHold       = 3 * time.Second // length of a trial,
	rampHoldMost   = 20 * time.Second
	rampTries      = 2 // a rate is broken when this many trials broke
)

// Validate returns all errors of the configuration, joined.
func (c RampConfig) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	checkNames(bad, "mesh", c.Meshes)
	if err := c.Objective.Validate(); err != nil {
		bad("objective: %w", err)
	}
	if c.Arrivals != Poisson && c.Arrivals != Constant {
		bad("arrivals %q: want %s or %s", c.Arrivals, Poisson, Constant)
	}
	for what, rate := range map[string]float64{"first": c.Start, "highest": c.Most} {
		if rate != 0 && !(rate >= 1 && rate <= MaxRate) {
			bad("%s rate %g: want 1 to %d per second", what, rate, MaxRate)
		}
	}
	if c.Start > 0 && c.Most > 0 && c.Start > c.Most {
		bad("the first rate %g is above the highest, %g", c.Start, c.Most)
	}
	return errors.Join(errs...)
}

// RampEvent tells how far a ramp is. One is sent after each step.
type RampEvent struct {
	Mesh string
	Step RampStep
	Low  float64 // the highest rate that was kept so far; 0: none yet
	High float64 // the lowest rate that was broken so far; 0: none yet
	Done bool    // the search under this mesh has ended
}

// RunRamp searches the highest rate of each mesh that keeps the objective:
// from the start it doubles the rate until it breaks the objective, then it
// halves the distance, on a logarithmic scale, between kept and broken until
// they are within 5 %. A start that is broken is followed by a tenth of it. A
// rate that broke the objective is tried once more before it counts as broken.
//
// The meshes take turns, trial by trial, in random order, so that a slow
// minute of the machine strikes all of them. A trial takes 3 s, or up to 20 s
// where the percentile needs more requests. Scenario, Lab and Pods of the
// ramps are left to the caller; progress may be nil.
//
// It returns an error when the configuration is invalid, a trial cannot be
// made or is nonsense, and when ctx is done; with it come the ramps as far as
// they got.
func RunRamp(ctx context.Context, c RampConfig, g Generator, progress func(RampEvent)) ([]Ramp, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("check the ramp: %w", err)
	}
	if c.Start == 0 {
		c.Start = rampStart
	}
	if c.Most == 0 {
		c.Most = MaxRate
	}
	c.Start = min(c.Start, c.Most)

	// The second word of the generator's state is arbitrary and fixed.
	rng := rand.New(rand.NewPCG(c.Seed, 0x72616d70))
	searches := make([]*rampSearch, len(c.Meshes))
	for i, mesh := range c.Meshes {
		searches[i] = &rampSearch{config: c, ramp: Ramp{Mesh: mesh, Objective: c.Objective}, rate: c.Start}
	}
	for slices.ContainsFunc(searches, func(s *rampSearch) bool { return !s.done }) {
		for _, i := range rng.Perm(len(searches)) {
			s := searches[i]
			if s.done {
				continue
			}
			step, err := s.trial(ctx, g, i, rng.Uint64())
			if err != nil {
				return ramps(searches), fmt.Errorf("ramp under %s at %.0f requests per second: %w", s.ramp.Mesh, s.rate, err)
			}
			s.note(step)
			if progress != nil {
				progress(RampEvent{Mesh: s.ramp.Mesh, Step: step, Low: s.low, High: s.high, Done: s.done})
			}
		}
	}
	return ramps(searches), nil
}

func ramps(searches []*rampSearch) []Ramp {
	all := make([]Ramp, len(searches))
	for i, s := range searches {
		all[i] = s.ramp
	}
	return all
}

// rampSearch is the search under one mesh.
type rampSearch struct {
	config RampConfig
	ramp   Ramp

	rate  float64 // of the next trial
	tries int     // trials at rate that broke the objective
	low   float64 // highest rate that was kept; 0: none
	high  float64 // lowest rate that was broken; 0: none
	late  bool    // at high, the generator was too late to tell
	done  bool
}

// trial makes one trial at the present rate.
func (s *rampSearch) trial(ctx context.Context, g Generator, side int, seed uint64) (RampStep, error) {
	requests := s.config.requests(s.rate)
	// What arrived in time is answered in time, or the objective is broken:
	// waiting longer would only empty the queue.
	length := time.Duration(float64(requests) / s.rate * float64(time.Second))
	limit := length + length/2 + 10*s.config.Objective.Below + time.Second
	ctx, cancel := context.WithTimeout(ctx, limit+MaxTimeout+spare)
	defer cancel()
	out, err := g.Trial(ctx, TrialSpec{
		Requests: requests, Rate: s.rate, Arrivals: s.config.Arrivals, Seed: seed, Only: []int{side}, Limit: limit,
	})
	if err != nil {
		return RampStep{}, err
	}
	if side >= len(out.Sides) {
		return RampStep{}, fmt.Errorf("the generator answered for %d sides, not for %s", len(out.Sides), s.ramp.Mesh)
	}
	step := RampStep{Rate: s.rate, Outcome: out.Sides[side], Late: out.Generator.Lateness.P99}
	if out.Seconds > 0 {
		step.Achieved = float64(step.Outcome.Requests-step.Outcome.Errors) / out.Seconds
	}
	step.Kept, err = s.config.Objective.Kept(step.Outcome)
	return step, err
}

// requests is the size of a trial at a rate.
func (c RampConfig) requests(rate float64) int {
	n := max(rate*rampHold.Seconds(), float64(c.Objective.sample()))
	return max(1, int(math.Ceil(min(n, rate*rampHoldMost.Seconds()))))
}

// note takes a trial in, and decides what comes next.
func (s *rampSearch) note(step RampStep) {
	s.ramp.Steps = append(s.ramp.Steps, step)
	if !step.Kept {
		if s.tries++; s.tries < rampTries {
			return
		}
	}
	s.tries = 0
	if step.Kept {
		s.low = step.Rate
		s.ramp.Highest = step.Rate
	} else {
		s.high = step.Rate
		s.late = step.Late*2 > s.config.Objective.Below.Seconds()*1e3
	}

	switch {
	case s.high == 0 && s.low >= s.config.Most:
		s.end(EndMaximum)
	case s.high == 0:
		s.rate = min(s.low*rampGrowth, s.config.Most)
	case s.low == 0 && s.high < s.config.Start, s.low > 0 && s.high/s.low <= rampResolution:
		if s.late {
			s.end(EndGenerator)
		} else {
			s.end(EndObjective)
		}
	case s.low == 0:
		s.rate = s.config.Start / rampDrop
	default:
		s.rate = math.Sqrt(s.low * s.high)
	}
}

func (s *rampSearch) end(why RampEnd) { s.ramp.End, s.done = why, true }
