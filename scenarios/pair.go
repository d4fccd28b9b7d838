package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// DuetConfig says what RunDuet measures.
type DuetConfig struct {
	Scenario string
	Request  string // of the lab file, when it is measured by itself
	Lab      string
	Pods     Pods
	Method   Method    // empty: Alive
	Load     OpenLoad  // Rate 0: chosen by the knee
	Variants []Variant // two or more, the first is the base; Starts is counted here
	Rule     Rule      // without looks: DefaultRule of the method, with its Hypotheses
	Seed     uint64    // of the run: those of the trials are derived from it and from what is measured
	Log      bool      // each request is kept, and handed to DuetHooks.Requests
	Faults   []Fault   // what is broken in each trial, by At

	resamples int // of bootstraps; 0: as many as there should be
}

// DuetHooks are the labs as RunDuet sees them. All but Fault are called one at
// a time.
type DuetHooks struct {
	// Open returns a generator for Alive, whose sides are the variants in their
	// order. Each call is for labs that have just come up: two labs of one kind
	// differ for as long as they are up, so each pair has its own. RunDuet
	// closes the generator before it opens the next.
	Open func(ctx context.Context) (Generator, error)
	// Use returns where the variant can be measured that ABBA needs next. Who
	// provides it closes its generators.
	Use func(ctx context.Context, variant int) (ActiveSide, error)
	// Knee measures how many requests per second the variant answers in a
	// closed loop, alone. Nil: the rate is given, and nobody knows how near it
	// is to the knee.
	Knee func(ctx context.Context, variant int) (requestsPerSecond float64, err error)
	// Costs reads what each part of the variant's lab has used since a moment
	// that stays the same. An error leaves the costs of a trial out. May be nil.
	Costs func(ctx context.Context, variant int) ([]Cost, error)
	// Fault begins a fault in the variant's lab, and returns what ends it. Unlike
	// the others it is called for several variants at once. It may be nil
	// without DuetConfig.Faults.
	Fault func(ctx context.Context, variant int, f Fault) (EndFault, error)
	// Requests takes the log of a trial, which the Duet does not keep. It may be
	// nil without DuetConfig.Log.
	Requests func(trial int, outcome TrialOutcome) error

	machine func() (cpuTimes, error) // nil: /proc/stat
}

// ActiveSide is where the generator meets a variant.
type ActiveSide struct {
	Generator Generator
	Side      int  // its index among the generator's sides
	Fresh     bool // its lab has just come up, so it is warmed up first
}

// What bounds a duet: more is a mistake.
const (
	maxVariants   = 8
	maxTrials     = 10_000
	maxHypotheses = 10_000
)

// complete checks the configuration, and fills in what it leaves open.
func (c DuetConfig) complete(h DuetHooks) (DuetConfig, error) {
	if c.Method == "" {
		c.Method = Alive
	}
	c.Variants = slices.Clone(c.Variants)
	var err error
	switch {
	case c.Method != Alive && c.Method != ABBA:
		err = fmt.Errorf("method %q: want %s or %s", c.Method, Alive, ABBA)
	case c.Method == Alive && h.Open == nil, c.Method == ABBA && h.Use == nil:
		err = fmt.Errorf("nothing provides labs for %s", c.Method)
	case c.Load.Rate == 0 && h.Knee == nil:
		err = errors.New("no rate, and nothing to choose it by")
	case len(c.Faults) > 0 && h.Fault == nil:
		err = errors.New("nothing provides faults")
	case c.Load.Rate < 0 || math.IsNaN(c.Load.Rate) || math.IsInf(c.Load.Rate, 0):
		err = fmt.Errorf("rate %v: want a number of requests per second", c.Load.Rate)
	case c.Load.Requests < 1:
		err = fmt.Errorf("%d requests a trial: want 1 or more", c.Load.Requests)
	case c.Load.Connections < 1:
		err = fmt.Errorf("%d connections: want 1 or more", c.Load.Connections)
	case c.Load.Arrivals != Constant && c.Load.Arrivals != Poisson:
		err = fmt.Errorf("arrivals %q: want %s or %s", c.Load.Arrivals, Constant, Poisson)
	default:
		err = errors.Join(validateVariants(c.Variants), c.Rule.validate())
	}
	if err != nil {
		return c, err
	}
	if len(c.Rule.Looks) == 0 {
		c.Rule = DefaultRule(c.Method, c.Rule.Hypotheses)
	}
	c.Rule = c.Rule.complete(c.Method, len(c.Variants))
	if c.resamples == 0 {
		c.resamples = stats.DefaultResamples
	}
	return c, nil
}

func validateVariants(variants []Variant) error {
	if len(variants) < 2 || len(variants) > maxVariants {
		return fmt.Errorf("%d variants: want 2 to %d", len(variants), maxVariants)
	}
	seen := make(map[string]bool)
	for i, v := range variants {
		if v.Name == "" || v.Mesh == "" {
			return fmt.Errorf("variants[%d]: name or mesh is empty", i)
		}
		if seen[v.Name] {
			return fmt.Errorf("variants[%d]: %s is there twice", i, v.Name)
		}
		seen[v.Name] = true
	}
	return nil
}

// RunDuet measures variants against each other in trials of an open loop, as
// docs/method.md describes: it finds the rate, warms up, and makes trials until
// all metrics are decided (see Decide) or the last look has been made. observe
// may be nil.
//
// It returns an error when the configuration is invalid, when labs, generator
// or a reading of the machine fail, and when ctx is done. The Duet with all
// trials that were completed is returned with the error, unless there was
// nothing to measure yet; requests that fail are no error, they are data.
func RunDuet(ctx context.Context, c DuetConfig, h DuetHooks, observe func(DuetEvent)) (*Duet, error) {
	c, err := c.complete(h)
	if err != nil {
		return nil, fmt.Errorf("check the duet: %w", err)
	}
	if h.machine == nil {
		h.machine = readCPUTimes
	}
	r := &duetRun{
		c: c, h: h,
		duet: &Duet{
			Scenario: c.Scenario, Request: c.Request, Lab: c.Lab, Pods: c.Pods, Method: c.Method,
			Load: c.Load, Variants: c.Variants, Rule: c.Rule, Faults: c.Faults,
		},
		judge:    &judge{variants: c.Variants, rule: c.Rule, resamples: c.resamples, cheap: true},
		progress: progress{observe: observe, started: time.Now()},
	}
	err = r.trials(ctx)
	// The document must say what Decide says of it.
	r.judge.cheap = false
	r.judge.known = nil
	r.duet.Comparisons = r.judge.comparisons(r.duet.Trials)
	r.report(PhaseDone, 0)
	if err != nil {
		return r.duet, fmt.Errorf("measure %s of %s in pairs: %w", r.what(), c.Lab, err)
	}
	return r.duet, nil
}

// duetRun is a duet being measured.
type duetRun struct {
	c        DuetConfig
	h        DuetHooks
	duet     *Duet
	judge    *judge
	progress progress
	load     float64 // offered, as a share of the knee; 0: nobody knows
}

func (r *duetRun) what() string {
	if r.c.Request != "" {
		return r.c.Request
	}
	return r.c.Scenario
}

// trials chooses the rate, and makes trials until a look decides all.
func (r *duetRun) trials(ctx context.Context) (err error) {
	p := r.labs()
	defer func() { err = errors.Join(err, p.close()) }()
	if err := r.preflight(ctx, p); err != nil {
		return err
	}
	if err := r.checkFaults(); err != nil {
		return err
	}
	for i, variants := range r.order() {
		t, err := r.trial(ctx, p, i+1, variants)
		if err != nil {
			return fmt.Errorf("trial %d: %w", i+1, err)
		}
		r.duet.Trials = append(r.duet.Trials, t)
		if r.atLook(i+1) && r.settled() {
			break
		}
		if err := p.spent(); err != nil {
			return err
		}
	}
	return nil
}

// perPair is how many trials make one more pair for each comparison.
func (r *duetRun) perPair() int {
	if r.c.Method == ABBA {
		return len(r.c.Variants) - 1
	}
	return 1
}

// atLook tells whether n trials are those of a look.
func (r *duetRun) atLook(n int) bool {
	return n%r.perPair() == 0 && slices.Contains(r.c.Rule.Looks, n/r.perPair())
}

// settled tells whether more trials are of no use to any comparison.
func (r *duetRun) settled() bool {
	return !slices.ContainsFunc(r.judge.findings(r.duet.Trials), func(f finding) bool { return !f.settled() })
}
