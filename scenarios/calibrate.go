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

	Looks     []int     // as in Rule; empty: the default
	LabStarts int       // pairs of labs to measure, each once
	Verdicts  int       // that are drawn from them
	Effects   []float64 // shares of the p50 that are added on purpose; ascending
	Seed      uint64

	Earlier *Calibration // a study of the same, to go on with; nil: none

	resamples int // as in DuetConfig
}

// CalibrateHooks are the labs as Calibrate sees them.
type CalibrateHooks struct {
	// Duet returns the hooks of a duet of two labs of the mesh. The services of
	// the second add delay to each request; 0 is none. pair counts pairs of
	// labs from 0: when it is another one than at the last call, the labs must
	// be fresh; else they must be the same ones.
	Duet func(ctx context.Context, pair int, delay time.Duration) (DuetHooks, error)
	// Store keeps what the study has come to after each pair of labs, so that
	// it can go on from there; nil: nothing is kept. It is not called before the
	// first pair is complete.
	Store func(*Calibration) error
}

// ErrOtherStudy tells that an earlier calibration is of something else.
var ErrOtherStudy = errors.New("the earlier calibration is of another load, lab, mesh or machine, or of other effects")

// CalibrateEvent tells how far a calibration is. One is sent for each event of
// a duet, and one at the end.
type CalibrateEvent struct {
	Tuning bool    // the delay that makes Effect is searched
	Effect float64 // added on purpose; 0: the mesh against itself
	Pair   int     // of labs, that is being measured, from 1
	Of     int     // pairs of labs

	Duet        DuetEvent
	Calibration Calibration // so far

	Elapsed time.Duration
	Left    time.Duration // estimate; 0 before the first pair
}

// The constants of the search for a delay.
const (
	tuneTrials = 4   // in the same labs, with and without the delay
	tuneSteps  = 2   // corrections at most
	tuneFactor = 2.0 // one correction changes the delay by this at most
	// tuneTolerance is of the ratio; a tenth of the effect if that is more.
	tuneTolerance = 0.01
)

// foundShare is the share of verdicts that must FAIL for an effect to count as
// found.
const foundShare = 0.95

// Calibrate finds out how often verdicts are wrong. It measures pairs of labs
// of one mesh, each pair once as it is and once with each of the known delays
// in one of them, and draws verdicts from them: each takes pairs at random,
// without putting them back, in the order in which it looks at them, as a
// comparison takes pairs as they come. The share of verdicts that FAIL is a
// U-statistic (W. Hoeffding, "A class of statistics with asymptotically normal
// distribution", Annals of Mathematical Statistics 19, 1948): unbiased, and of
// all unbiased estimates from these pairs the one that varies least when all
// verdicts that could be drawn are; it is made of the pairs that there are,
// though, and verdicts share them.
//
// The delay that adds a given share to the p50 is tuned first, because behind
// queues and a proxy a delay of the service is not the delay of the answer.
//
// It returns an error when the configuration is invalid, a pair cannot be
// measured, or ctx is done; the calibration of the pairs that were completed is
// returned with it, without verdicts if they are fewer than the last look takes.
// observe may be nil.
func Calibrate(ctx context.Context, c CalibrateConfig, h CalibrateHooks, observe func(CalibrateEvent)) (*Calibration, error) {
	if err := c.validate(h); err != nil {
		return nil, fmt.Errorf("check the calibration: %w", err)
	}
	r := &calibration{c: c, h: h, observe: observe, started: time.Now()}
	r.result = Calibration{
		Fingerprint: c.Environment.Sum(), Made: r.started.UTC().Truncate(time.Second), Meshlab: c.Environment.Meshlab,
		Lab: c.Lab, Scenario: c.Scenario, Request: c.Request, Mesh: c.Mesh, Load: c.Load, Ratios: zeroRatios(), Effects: []Effect{},
	}
	for _, e := range c.Effects {
		r.result.Effects = append(r.result.Effects, Effect{Injected: e, Ratios: zeroRatios()})
	}
	if c.Earlier != nil {
		if err := r.goOn(*c.Earlier); err != nil {
			return nil, err
		}
	}
	err := r.run(ctx)
	r.draw()
	err = errors.Join(err, r.keep())
	if observe != nil {
		observe(CalibrateEvent{Calibration: r.sofar(), Elapsed: time.Since(r.started)})
	}
	if err != nil {
		return &r.result, fmt.Errorf("calibrate with %s of %s: %w", c.Mesh, c.Lab, err)
	}
	return &r.result, nil
}

func (c CalibrateConfig) validate(h CalibrateHooks) error {
	rule := c.rule()
	if err := rule.validate(); err != nil {
		return err
	}
	switch least := rule.last(); {
	case h.Duet == nil:
		return errors.New("nothing provides labs")
	case c.Lab == "" || c.Mesh == "":
		return errors.New("lab or mesh is empty")
	case c.LabStarts < least:
		return fmt.Errorf("%d pairs of labs: a verdict takes %d where it is not sure before, so ask for that many at least, and better for three times as many, for all verdicts are drawn from them", c.LabStarts, least)
	case c.Verdicts < 1:
		return fmt.Errorf("%d verdicts: want 1 or more", c.Verdicts)
	}
	for i, e := range c.Effects {
		if !(e > 0 && e <= 10) || i > 0 && e <= c.Effects[i-1] {
			return fmt.Errorf("effects %v: want shares above 0, ascending", c.Effects)
		}
	}
	return nil
}

// rule is how verdicts are made.
func (c CalibrateConfig) rule() Rule {
	rule := DefaultRule(Alive, 0)
	if len(c.Looks) > 0 {
		rule.Looks = c.Looks
	}
	return rule.complete(Alive, 2)
}

func zeroRatios() map[string][]float64 {
	ratios := make(map[string][]float64)
	for _, m := range DefaultRule(Alive, 0).Margins {
		ratios[m.Metric] = []float64{}
	}
	return ratios
}

// calibration is one being made.
type calibration struct {
	c       CalibrateConfig
	h       CalibrateHooks
	observe func(CalibrateEvent)
	result  Calibration

	started time.Time
	labs    int // pairs of labs that were brought up in this run
	duets   int
	base    []float64 // p50 of the base, ms
	event   CalibrateEvent
}

// goOn takes an earlier study as what has been done. One without a pair is none.
func (r *calibration) goOn(earlier Calibration) error {
	if earlier.LabStarts == 0 {
		return nil
	}
	e, c := earlier, r.result
	e.Load.Rate, c.Load.Rate = 0, 0
	same := slices.EqualFunc(e.Effects, c.Effects, func(a, b Effect) bool { return a.Injected == b.Injected })
	if e.Fingerprint != c.Fingerprint || e.Lab != c.Lab || e.Scenario != c.Scenario || e.Request != c.Request || e.Mesh != c.Mesh || e.Load != c.Load ||
		!same || !e.whole() || r.c.Load.Rate != 0 && r.c.Load.Rate != earlier.Load.Rate {
		return ErrOtherStudy
	}
	made, meshlab := r.result.Made, r.result.Meshlab
	r.result = earlier
	r.result = r.sofar() // of its own
	r.result.Made, r.result.Meshlab = made, meshlab
	if earlier.P50 > 0 {
		r.base = []float64{earlier.P50}
	}
	return nil
}

func (r *calibration) run(ctx context.Context) error {
	if r.result.LabStarts < r.c.LabStarts {
		if err := r.prepare(ctx); err != nil {
			return err
		}
	}
	for r.result.LabStarts < r.c.LabStarts {
		if err := r.pair(ctx); err != nil {
			return fmt.Errorf("pair %d of %d: %w", r.result.LabStarts+1, r.c.LabStarts, err)
		}
		r.draw()
		if err := r.keep(); err != nil {
			return err
		}
	}
	return nil
}

// keep hands out what has been done, if anything has.
func (r *calibration) keep() error {
	if r.h.Store == nil || r.result.LabStarts == 0 {
		return nil
	}
	c := r.sofar()
	if err := r.h.Store(&c); err != nil {
		return fmt.Errorf("keep the calibration: %w", err)
	}
	return nil
}

// prepare chooses rate and delays, unless an earlier study has, in a pair of
// labs that is not part of the study.
func (r *calibration) prepare(ctx context.Context) error {
	r.event = CalibrateEvent{Tuning: true, Of: r.c.LabStarts}
	defer func() { r.labs++ }()
	if r.result.Load.Rate == 0 || len(r.base) == 0 {
		if _, err := r.duet(ctx, 0, 1); err != nil {
			return err
		}
	}
	for i := range r.result.Effects {
		e := &r.result.Effects[i]
		if e.Delay > 0 {
			continue
		}
		r.event.Effect = e.Injected
		var err error
		if e.Delay, err = r.tune(ctx, e.Injected); err != nil {
			return fmt.Errorf("find the delay that adds %.3g %%: %w", 100*e.Injected, err)
		}
	}
	return nil
}

// tune finds the delay that makes the p50 larger by the effect: it tries what
// that would be if nothing else happened to a delay, and corrects it by what
// it came to, twice at most. What the two labs differ by is taken out.
func (r *calibration) tune(ctx context.Context, effect float64) (time.Duration, error) {
	without, err := r.ratioOf(ctx, 0)
	if err != nil {
		return 0, err
	}
	ms := effect * stats.Median(r.base)
	for step := 0; ; step++ {
		delay := time.Duration(ms * float64(time.Millisecond)).Round(time.Microsecond)
		if step == tuneSteps {
			return delay, nil
		}
		with, err := r.ratioOf(ctx, delay)
		if err != nil {
			return 0, err
		}
		reached := with/without - 1
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

// ratioOf returns the ratio of the p50 over some trials in the present labs.
func (r *calibration) ratioOf(ctx context.Context, delay time.Duration) (float64, error) {
	d, err := r.duet(ctx, delay, tuneTrials)
	if err != nil {
		return 0, err
	}
	ratio := d.Comparisons[0].Metrics[0].Ratio
	if ratio == 0 {
		return 0, fmt.Errorf("no latency with a delay of %v: %s", delay, d.Comparisons[0].Reason)
	}
	return ratio, nil
}

// pair measures a pair of fresh labs without and with each delay, in random
// order.
func (r *calibration) pair(ctx context.Context) error {
	defer func() { r.labs++ }()
	r.event = CalibrateEvent{Pair: r.result.LabStarts + 1, Of: r.c.LabStarts}
	measured := make([]map[string]float64, 1+len(r.result.Effects))
	for _, i := range rand.New(rand.NewPCG(r.c.Seed, uint64(r.result.LabStarts))).Perm(len(measured)) {
		delay := time.Duration(0)
		r.event.Effect = 0
		if i > 0 {
			e := r.result.Effects[i-1]
			delay, r.event.Effect = e.Delay, e.Injected
		}
		d, err := r.duet(ctx, delay, 1)
		if err != nil {
			return err
		}
		measured[i] = make(map[string]float64)
		for _, m := range d.Comparisons[0].Metrics {
			if !(m.Ratio > 0) {
				return fmt.Errorf("no ratio of the %s: %s", m.Metric, d.Comparisons[0].Reason)
			}
			measured[i][m.Metric] = m.Ratio
		}
	}
	for i, ratios := range measured {
		into := r.result.Ratios
		if i > 0 {
			into = r.result.Effects[i-1].Ratios
		}
		for m, ratio := range ratios {
			into[m] = append(into[m], ratio)
		}
	}
	r.result.LabStarts++
	return nil
}

// duet makes trials in the present labs, with the delay on the second side.
func (r *calibration) duet(ctx context.Context, delay time.Duration, trials int) (*Duet, error) {
	h, err := r.h.Duet(ctx, r.labs, delay)
	if err != nil {
		return nil, fmt.Errorf("prepare labs: %w", err)
	}
	if r.result.Load.Rate != 0 {
		h.Knee = nil
	}
	d := DuetConfig{
		Scenario: r.c.Scenario, Request: r.c.Request, Lab: r.c.Lab, Pods: r.c.Pods, Load: r.result.Load,
		Variants: []Variant{{Name: "a", Mesh: r.c.Mesh}, {Name: "b", Mesh: r.c.Mesh, Delay: delay}},
		Rule:     Rule{Looks: []int{trials}, Margins: DefaultRule(Alive, 0).Margins},
		Seed:     rand.NewPCG(r.c.Seed, uint64(r.result.LabStarts)<<32|uint64(r.duets)).Uint64(), resamples: cheapResamples,
	}
	r.duets++
	duet, err := RunDuet(ctx, d, h, func(e DuetEvent) { r.report(e) })
	if err != nil {
		return nil, err
	}
	r.result.Load.Rate = duet.Load.Rate
	if delay == 0 {
		for _, t := range duet.Trials {
			if p50 := t.Sides[0].Latency.P50; p50 > 0 {
				r.base = append(r.base, p50)
			}
		}
	}
	if len(r.base) > 0 {
		r.result.P50 = stats.Median(r.base)
	}
	return duet, nil
}

func (r *calibration) report(e DuetEvent) {
	if r.observe == nil {
		return
	}
	event := r.event
	event.Duet, event.Calibration, event.Elapsed = e, r.sofar(), time.Since(r.started)
	if r.labs > 0 {
		event.Left = event.Elapsed / time.Duration(r.labs) * time.Duration(r.c.LabStarts-r.result.LabStarts)
	}
	r.observe(event)
}

// sofar returns a copy that what is measured later does not change.
func (r *calibration) sofar() Calibration {
	c := r.result
	c.FalseFails, c.Undecided = maps.Clone(c.FalseFails), maps.Clone(c.Undecided)
	c.Ratios = cloneRatios(c.Ratios)
	c.Effects = slices.Clone(c.Effects)
	for i := range c.Effects {
		c.Effects[i].Found = maps.Clone(c.Effects[i].Found)
		c.Effects[i].Ratios = cloneRatios(c.Effects[i].Ratios)
	}
	return c
}

func cloneRatios(ratios map[string][]float64) map[string][]float64 {
	all := zeroRatios()
	for m, list := range ratios {
		all[m] = slices.Clone(list)
	}
	return all
}
