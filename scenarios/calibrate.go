package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// CalibrateConfig says how the verdicts of a machine are tried out.
type CalibrateConfig struct {
	Lab         string
	Scenario    string
	Request     string
	Pods        Pods
	Mesh        string
	Environment Environment // whose Sum the calibration is known by
	Load        OpenLoad    // Rate 0: chosen by the knee, once

	Verdicts          int       // of the mesh against itself
	LabStarts         int       // pairs of labs that these are spread over; 0: one for 10 verdicts
	Effects           []float64 // shares of the p50 that are added on purpose; ascending
	VerdictsPerEffect int
	Seed              uint64

	Earlier *Calibration // a study of the same that ended early, to go on with; nil: none

	resamples int // as in DuetConfig
}

// CalibrateHooks are the labs as Calibrate sees them.
type CalibrateHooks struct {
	// Duet returns the hooks of one duet of two labs of the mesh. The services
	// of the second add delay to each request; 0 is none. pair counts pairs of
	// labs from 0: when it is another one than at the last call, the labs must
	// be fresh. Round 2 of a duet needs fresh ones too, as ever.
	Duet func(ctx context.Context, pair int, delay time.Duration) (DuetHooks, error)
	// Store keeps what the study has come to after each verdict, so that it can
	// go on from there; nil: nothing is kept.
	Store func(*Calibration) error
}

// ErrOtherStudy tells that an earlier calibration is of something else.
var ErrOtherStudy = errors.New("the earlier calibration is of another load, lab, mesh or machine")

// CalibrateEvent tells how far a calibration is. One is sent for each event of
// a duet, and one at the end.
type CalibrateEvent struct {
	Effect  float64 // added on purpose; 0: the mesh against itself
	Tuning  bool    // the delay that makes the effect is searched
	Verdict int     // that is being made, of this effect, from 1
	Of      int     // verdicts of this effect

	Duet        DuetEvent
	Calibration Calibration // so far

	Elapsed time.Duration
	Left    time.Duration // estimate; 0 before the first verdict
}

// The constants of the search for a delay.
const (
	tunePairs     = 10
	tuneSteps     = 2    // corrections at most
	tuneTolerance = 0.01 // of the ratio; a tenth of the effect if that is more
	tuneFactor    = 2.0  // one correction changes the delay by this at most
)

// errorsMetric stands among the metrics of a calibration for FAILs that failed
// requests made.
const errorsMetric = "errors"

// foundShare is the share of verdicts that must FAIL for an effect to count as
// found.
const foundShare = 0.95

// Calibrate makes verdicts of a mesh against itself, and of the mesh against
// itself with a known delay, in the same way as any other verdict (RunDuet),
// and counts how often they are wrong. The delay that adds a given share to
// the p50 is tuned first, because behind queues and a proxy a delay of the
// service is not the delay of the answer.
//
// It returns an error when the configuration is invalid, a duet cannot be
// measured, or ctx is done; the calibration of the verdicts that were
// completed is returned with it. observe may be nil.
func Calibrate(ctx context.Context, c CalibrateConfig, h CalibrateHooks, observe func(CalibrateEvent)) (*Calibration, error) {
	c, err := c.complete(h)
	if err != nil {
		return nil, fmt.Errorf("check the calibration: %w", err)
	}
	r := &calibration{c: c, h: h, observe: observe, started: time.Now()}
	r.result = Calibration{
		Fingerprint: c.Environment.Sum(), Made: r.started.UTC().Truncate(time.Second), Meshlab: c.Environment.Meshlab,
		Lab: c.Lab, Scenario: c.Scenario, Request: c.Request, Mesh: c.Mesh, Load: c.Load,
		FalseFails: zeroCounts(), Confirmed: zeroCounts(), Undecided: zeroCounts(), Effects: []Effect{}, Ratios: make(map[string][]float64),
	}
	if c.Earlier != nil {
		if err := r.goOn(*c.Earlier); err != nil {
			return nil, err
		}
	}
	err = r.run(ctx)
	if observe != nil {
		observe(CalibrateEvent{Calibration: r.sofar(), Elapsed: time.Since(r.started)})
	}
	if err != nil {
		return &r.result, fmt.Errorf("calibrate with %s of %s: %w", c.Mesh, c.Lab, err)
	}
	return &r.result, nil
}

func (c CalibrateConfig) complete(h CalibrateHooks) (CalibrateConfig, error) {
	if c.LabStarts == 0 {
		c.LabStarts = max(1, c.Verdicts/10)
	}
	switch {
	case h.Duet == nil:
		return c, errors.New("nothing provides labs")
	case c.Lab == "" || c.Mesh == "":
		return c, errors.New("lab or mesh is empty")
	case c.Verdicts < 1:
		return c, fmt.Errorf("%d verdicts: want 1 or more", c.Verdicts)
	case c.LabStarts < 1 || c.LabStarts > c.Verdicts:
		return c, fmt.Errorf("%d pairs of labs for %d verdicts", c.LabStarts, c.Verdicts)
	case len(c.Effects) > 0 && c.VerdictsPerEffect < 1:
		return c, fmt.Errorf("%d verdicts per effect: want 1 or more", c.VerdictsPerEffect)
	}
	for i, e := range c.Effects {
		if !(e > 0 && e <= 10) || i > 0 && e <= c.Effects[i-1] {
			return c, fmt.Errorf("effects %v: want shares above 0, ascending", c.Effects)
		}
	}
	return c, nil
}

func zeroCounts() map[string]int {
	counts := make(map[string]int)
	for _, m := range DefaultRule(Alive, 0).Margins {
		counts[m.Metric] = 0
	}
	return counts
}

// calibration is one being made.
type calibration struct {
	c       CalibrateConfig
	h       CalibrateHooks
	observe func(CalibrateEvent)
	result  Calibration

	started time.Time
	done    int       // duets
	pairs   int       // of all verdicts of the mesh against itself
	base    []float64 // p50 of the base in them, ms
	event   CalibrateEvent
}

// goOn takes an earlier study as what has been done.
func (r *calibration) goOn(earlier Calibration) error {
	e, c := earlier, r.result
	e.Load.Rate, c.Load.Rate = 0, 0
	if e.Fingerprint != c.Fingerprint || e.Lab != c.Lab || e.Scenario != c.Scenario || e.Request != c.Request || e.Mesh != c.Mesh || e.Load != c.Load ||
		r.c.Load.Rate != 0 && r.c.Load.Rate != earlier.Load.Rate {
		return ErrOtherStudy
	}
	made, meshlab := r.result.Made, r.result.Meshlab
	r.result = earlier
	r.result = r.sofar() // of its own
	r.result.Made, r.result.Meshlab = made, meshlab
	r.done = earlier.Verdicts
	r.pairs = int(math.Round(earlier.Pairs * float64(earlier.Verdicts)))
	if earlier.P50 > 0 {
		r.base = []float64{earlier.P50}
	}
	for _, e := range earlier.Effects {
		r.done += e.Verdicts
	}
	return nil
}

// keep hands out what has been done.
func (r *calibration) keep() error {
	if r.h.Store == nil {
		return nil
	}
	c := r.sofar()
	if err := r.h.Store(&c); err != nil {
		return fmt.Errorf("keep the calibration: %w", err)
	}
	return nil
}

func (r *calibration) run(ctx context.Context) error {
	for i := r.result.Verdicts; i < r.c.Verdicts; i++ {
		pair := i * r.c.LabStarts / r.c.Verdicts
		r.event = CalibrateEvent{Verdict: i + 1, Of: r.c.Verdicts}
		d, err := r.duet(ctx, pair, 0, DuetConfig{})
		if err != nil {
			return fmt.Errorf("verdict %d of %d: %w", i+1, r.c.Verdicts, err)
		}
		r.count(d)
		r.result.LabStarts = pair + 1
		if err := r.keep(); err != nil {
			return err
		}
	}
	for i, effect := range r.c.Effects {
		if err := r.effect(ctx, r.c.LabStarts+i, effect); err != nil {
			return fmt.Errorf("effect of %.3g %%: %w", 100*effect, err)
		}
	}
	return nil
}

// count adds a verdict of the mesh against itself.
func (r *calibration) count(d *Duet) {
	first, last := firstRound(d), d.Comparisons[0]
	byMetric := false
	for i, m := range first.Metrics {
		if m.Ratio > 0 {
			r.result.Ratios[m.Metric] = append(r.result.Ratios[m.Metric], m.Ratio)
		}
		switch {
		case m.Verdict == Fail && first.Verdict == Fail:
			byMetric = true
			r.result.FalseFails[m.Metric]++
			if last.Metrics[i].Verdict == Fail {
				r.result.Confirmed[m.Metric]++
			}
		case m.Verdict != Pass:
			r.result.Undecided[m.Metric]++
		}
	}
	if first.Verdict == Fail && !byMetric {
		r.result.FalseFails[errorsMetric]++
		if last.Verdict == Fail {
			r.result.Confirmed[errorsMetric]++
		}
	}
	for _, t := range d.Trials {
		if t.Round == 1 {
			r.pairs++
		}
		if p50 := t.Sides[0].Latency.P50; p50 > 0 {
			r.base = append(r.base, p50)
		}
	}
	if len(r.base) > 0 {
		r.result.P50 = stats.Median(r.base)
	}
	r.result.Verdicts++
	r.result.Pairs = float64(r.pairs) / float64(r.result.Verdicts)
	if r.result.Load.Rate == 0 {
		r.result.Load.Rate = d.Load.Rate
	}
}

// firstRound is the comparison before anything was measured again.
func firstRound(d *Duet) Comparison {
	if !slices.ContainsFunc(d.Trials, func(t Trial) bool { return t.Round == 2 }) {
		return d.Comparisons[0]
	}
	trials := slices.DeleteFunc(slices.Clone(d.Trials), func(t Trial) bool { return t.Round != 1 })
	return Decide(d.Variants, d.Rule, trials)[0]
}

// effect finds the delay of an effect, and makes its verdicts.
func (r *calibration) effect(ctx context.Context, pair int, effect float64) error {
	at := slices.IndexFunc(r.result.Effects, func(e Effect) bool { return e.Injected == effect })
	if at < 0 {
		r.event = CalibrateEvent{Effect: effect, Tuning: true, Of: r.c.VerdictsPerEffect}
		delay, err := r.tune(ctx, pair, effect)
		if err != nil {
			return fmt.Errorf("find the delay: %w", err)
		}
		at = len(r.result.Effects)
		r.result.Effects = append(r.result.Effects, Effect{Injected: effect, Delay: delay, Found: zeroCounts()})
	}
	e := &r.result.Effects[at]
	pairs := int(math.Round(e.Pairs * float64(e.Verdicts)))
	for e.Verdicts < r.c.VerdictsPerEffect {
		r.event = CalibrateEvent{Effect: effect, Verdict: e.Verdicts + 1, Of: r.c.VerdictsPerEffect}
		d, err := r.duet(ctx, pair, e.Delay, DuetConfig{Rounds: 1})
		if err != nil {
			return fmt.Errorf("verdict %d of %d: %w", e.Verdicts+1, r.c.VerdictsPerEffect, err)
		}
		for _, m := range d.Comparisons[0].Metrics {
			if m.Verdict == Fail && d.Comparisons[0].Verdict == Fail {
				e.Found[m.Metric]++
			}
			if m.Metric == "p50" && m.Ratio > 0 {
				e.Ratios = append(e.Ratios, m.Ratio)
			}
		}
		pairs += len(d.Trials)
		e.Verdicts++
		e.Pairs = float64(pairs) / float64(e.Verdicts)
		if len(e.Ratios) > 0 {
			e.Reached = stats.Median(e.Ratios) - 1
		}
		r.result.Smallest = smallestFound(r.result.Effects)
		if err := r.keep(); err != nil {
			return err
		}
	}
	return nil
}

// smallestFound is the smallest effect that was found often enough; 0: none.
func smallestFound(effects []Effect) float64 {
	smallest := 0.0
	for _, e := range effects {
		found := e.Verdicts > 0 && float64(e.Found["p50"])/float64(e.Verdicts) >= foundShare
		if found && (smallest == 0 || e.Injected < smallest) {
			smallest = e.Injected
		}
	}
	return smallest
}

// tune finds the delay that makes the p50 larger by the effect: it tries what
// that would be if nothing else happened to a delay, and corrects it by what
// it came to, twice at most.
func (r *calibration) tune(ctx context.Context, pair int, effect float64) (time.Duration, error) {
	if len(r.base) == 0 {
		return 0, errors.New("the mesh against itself answered nothing")
	}
	ms := effect * stats.Median(r.base)
	for step := 0; ; step++ {
		delay := time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond)
		if step == tuneSteps {
			return delay, nil
		}
		d, err := r.duet(ctx, pair, delay, DuetConfig{Rounds: 1, Rule: Rule{Looks: []int{tunePairs}, Margins: []Margin{{"p50", 0.05}}}})
		if err != nil {
			return 0, err
		}
		ratio := d.Comparisons[0].Metrics[0].Ratio
		if ratio == 0 {
			return 0, fmt.Errorf("no latency with a delay of %v: %s", delay, d.Comparisons[0].Reason)
		}
		reached := ratio - 1
		if math.Abs(reached-effect) <= max(tuneTolerance, effect/10) {
			return delay, nil
		}
		factor := tuneFactor
		if reached > effect/tuneFactor {
			factor = max(effect/reached, 1/tuneFactor)
		}
		ms *= factor
	}
}

// duet measures one duet with the delay on the second side; d says how many
// rounds and by which rule.
func (r *calibration) duet(ctx context.Context, pair int, delay time.Duration, d DuetConfig) (*Duet, error) {
	h, err := r.h.Duet(ctx, pair, delay)
	if err != nil {
		return nil, fmt.Errorf("prepare labs: %w", err)
	}
	if r.done > 0 {
		h.Knee = nil // the first duet has chosen the rate
	}
	d.Scenario, d.Request, d.Lab, d.Pods, d.Load = r.c.Scenario, r.c.Request, r.c.Lab, r.c.Pods, r.result.Load
	d.Variants = []Variant{{Name: "a", Mesh: r.c.Mesh}, {Name: "b", Mesh: r.c.Mesh, Delay: delay}}
	d.Seed = rand.NewPCG(r.c.Seed, uint64(r.done)).Uint64()
	d.resamples = r.c.resamples
	duet, err := RunDuet(ctx, d, h, func(e DuetEvent) { r.report(e) })
	r.done++
	return duet, err
}

func (r *calibration) report(e DuetEvent) {
	if r.observe == nil {
		return
	}
	event := r.event
	event.Duet, event.Calibration, event.Elapsed = e, r.sofar(), time.Since(r.started)
	if r.done > 0 {
		// Two duets tune an effect at most.
		all := r.c.Verdicts + len(r.c.Effects)*(r.c.VerdictsPerEffect+tuneSteps)
		event.Left = event.Elapsed / time.Duration(r.done) * time.Duration(max(all-r.done, 1))
	}
	r.observe(event)
}

// sofar returns a copy that later verdicts do not change.
func (r *calibration) sofar() Calibration {
	c := r.result
	c.FalseFails, c.Confirmed, c.Undecided = maps.Clone(c.FalseFails), maps.Clone(c.Confirmed), maps.Clone(c.Undecided)
	c.Ratios = maps.Clone(c.Ratios)
	for m := range c.Ratios {
		c.Ratios[m] = slices.Clone(c.Ratios[m])
	}
	if c.Ratios == nil { // of a study that kept none
		c.Ratios = make(map[string][]float64)
	}
	c.Effects = slices.Clone(c.Effects)
	for i := range c.Effects {
		c.Effects[i].Found = maps.Clone(c.Effects[i].Found)
		c.Effects[i].Ratios = slices.Clone(c.Effects[i].Ratios)
	}
	return c
}
