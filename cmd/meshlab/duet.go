package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"meshlab.dev/meshlab/labs/builtin/service"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/openloop"
)

// duetPlan is one duet to be measured.
type duetPlan struct {
	script     loadedScenario
	request    string // of the lab file; empty: the steps of script
	sides      []side
	hypotheses int // of the whole run
	oneAtATime bool
	confirm    bool // measure a FAIL again with fresh labs
	log        *requestLog
}

// generateCommand starts the open-loop generator: this program again.
func generateCommand() []string { return []string{"/proc/self/exe", "generate"} }

// duet measures a plan with the labs that are up already, if any, or with
// labs of its own, and adds it to the document.
func (r *measurement) duet(ctx context.Context, plan duetPlan, up []raised) error {
	c := scenarios.DuetConfig{
		Scenario: plan.script.Name, Request: plan.request, Lab: plan.sides[0].lab.Name, Pods: spread(plan.sides[0].lab.Lab),
		Method: scenarios.Alive, Load: plan.script.Open, Rounds: 1, Seed: r.res.Seed, Log: plan.log != nil,
	}
	if plan.confirm {
		c.Rounds = 2
	}
	if plan.oneAtATime {
		c.Method = scenarios.ABBA
	}
	c.Rule = scenarios.DefaultRule(c.Method, plan.hypotheses)
	for _, s := range plan.sides {
		c.Variants = append(c.Variants, s.variant(plan))
	}
	r.addScenario(plan.script)
	for _, s := range plan.sides {
		r.addScenario(s.script)
	}
	labs := &duetLabs{measurement: r, plan: plan, up: up, current: -1}
	defer labs.close()
	hooks := scenarios.DuetHooks{Open: labs.open, Knee: labs.knee, Costs: labs.costs}
	if plan.oneAtATime {
		hooks.Open, hooks.Use = nil, labs.use
	}
	if plan.log != nil {
		hooks.Requests = func(round, trial int, o scenarios.TrialOutcome) error {
			return plan.log.write(c, round, trial, o)
		}
	}
	view := &duetView{measurement: r, title: plan.title()}
	view.begin()
	d, err := scenarios.RunDuet(ctx, c, hooks, func(e scenarios.DuetEvent) {
		view.show(e)
	})
	if d != nil {
		for _, t := range d.Trials {
			for _, u := range labs.up {
				*u.seconds += t.Seconds
			}
		}
		if err == nil {
			r.res.Duets = append(r.res.Duets, *d)
		}
	}
	if err != nil {
		return err
	}
	view.end(d)
	return nil
}

// title names what a duet measures, for people.
func (p duetPlan) title() string {
	if p.request != "" {
		return p.request + " in " + p.sides[0].lab.Name
	}
	return p.script.Name + " in " + p.sides[0].lab.Name
}

func (s side) variant(plan duetPlan) scenarios.Variant {
	v := scenarios.Variant{Name: s.label, Mesh: string(s.mesh), Build: s.build}
	if s.lab.Name != plan.sides[0].lab.Name || string(s.lab.source) != string(plan.sides[0].lab.source) {
		v.Lab = s.lab.Name
	}
	if s.script.Scenario != nil {
		v.Script = s.script.Name
	}
	return v
}

// duetLabs gives a duet its labs and its generator.
type duetLabs struct {
	*measurement
	plan  duetPlan
	up    []raised      // by variant; ABBA: the one that is up
	delay time.Duration // that the last variant's service adds

	current   int // ABBA: the variant that is up; -1: none
	generator scenarios.Generator
}

// open brings up labs of a round, unless the first round has got its labs,
// and connects the generator to all of them.
func (l *duetLabs) open(ctx context.Context, round int) (scenarios.Generator, error) {
	if round > 1 || len(l.up) == 0 {
		if len(l.up) > 0 {
			if err := l.fleet.remove(ctx, l.up...); err != nil {
				return nil, err
			}
			l.up = nil
		}
		up, err := l.fleet.raise(ctx, l.plan.sides...)
		if err != nil {
			return nil, err
		}
		l.up = up
	}
	return l.connect(ctx, l.up)
}

// connect starts a generator with a side for each lab.
func (l *duetLabs) connect(ctx context.Context, up []raised) (scenarios.Generator, error) {
	spec := scenarios.GeneratorSpec{Connections: l.plan.script.Open.Connections, Timeout: requestTimeout}
	for i, u := range up {
		steps, err := u.steps(l.plan)
		if err != nil {
			return nil, err
		}
		if l.delay > 0 && i == len(up)-1 {
			for s := range steps {
				headers := maps.Clone(steps[s].Headers)
				if headers == nil {
					headers = map[string]string{}
				}
				headers[service.DelayHeader] = l.delay.String()
				steps[s].Headers = headers
			}
		}
		spec.Sides = append(spec.Sides, scenarios.SideSpec{Name: u.label, Lab: u.exec, Node: u.lab.Client.Node, Steps: steps})
	}
	g, err := openloop.Start(ctx, generateCommand(), spec)
	if err != nil {
		return nil, fmt.Errorf("start the load generator: %w", err)
	}
	return g, nil
}

// use brings up the lab of one variant alone.
func (l *duetLabs) use(ctx context.Context, _, variant int) (scenarios.ActiveSide, error) {
	if l.current == variant {
		return scenarios.ActiveSide{Generator: l.generator}, nil
	}
	l.close()
	if len(l.up) > 0 {
		if err := l.fleet.remove(ctx, l.up...); err != nil {
			return scenarios.ActiveSide{}, err
		}
	}
	l.up, l.current = nil, -1
	up, err := l.fleet.raise(ctx, l.plan.sides[variant])
	if err != nil {
		return scenarios.ActiveSide{}, err
	}
	l.up = up
	if l.generator, err = l.connect(ctx, up); err != nil {
		return scenarios.ActiveSide{}, err
	}
	l.current = variant
	return scenarios.ActiveSide{Generator: l.generator, Fresh: true}, nil
}

// close ends the generator of ABBA; that of a duet is its runner's.
func (l *duetLabs) close() {
	if l.generator != nil {
		_ = l.generator.Close() // its trials have been read; what it says now concerns nobody
		l.generator = nil
	}
}

func (l *duetLabs) of(variant int) raised {
	if l.plan.oneAtATime {
		return l.up[0]
	}
	return l.up[variant]
}

// requestTimeout bounds one request of an open loop.
const requestTimeout = 15 * time.Second

// kneeRequests bounds the closed loop that finds the knee of one step.
const kneeRequests = 3000

// knee measures a variant alone in a closed loop over the connections of the
// trials. Of a mix it is the rate at which its steps together would pass.
func (l *duetLabs) knee(ctx context.Context, variant int) (float64, error) {
	u := l.of(variant)
	steps, err := u.steps(l.plan)
	if err != nil {
		return 0, err
	}
	weights, seconds := 0.0, 0.0 // per weight
	for _, s := range steps {
		a, err := u.Load(ctx, scenarios.LoadSpec{RequestSpec: s.RequestSpec, Connections: l.plan.script.Open.Connections,
			Requests: kneeRequests, Timeout: requestTimeout, Limit: 20 * time.Second})
		if err != nil {
			return 0, err
		}
		if a.RequestsPerSecond <= 0 {
			return 0, fmt.Errorf("find the knee of %s: all of %d requests failed: %v", u.label, a.Requests, a.ErrorKind)
		}
		weights += float64(s.Weight)
		seconds += float64(s.Weight) / a.RequestsPerSecond
	}
	return weights / seconds, nil
}

func (l *duetLabs) costs(ctx context.Context, variant int) ([]scenarios.Cost, error) {
	return l.of(variant).ctl.Cost(ctx)
}

// steps are what a side sends.
func (r raised) steps(plan duetPlan) ([]scenarios.WeightedStep, error) {
	script := plan.script
	if r.script.Scenario != nil {
		script = r.script
	}
	if plan.request != "" {
		spec, err := r.Spec(plan.request)
		if err != nil {
			return nil, err
		}
		return []scenarios.WeightedStep{{RequestSpec: spec, Weight: 1}}, nil
	}
	if len(script.Steps) == 0 {
		return nil, errors.New("the scenario has no steps")
	}
	return script.Requests(r.Spec, r.address)
}

// address is where the client finds an upstream under the side's mesh.
func (r raised) address(to string) (string, error) {
	var have []string
	for _, u := range r.lab.Client.Upstreams {
		if u.Service == to {
			return r.mesh.Address(r.lab.Lab, u)
		}
		have = append(have, u.Service)
	}
	return "", fmt.Errorf("the client of lab %s has no upstream %q: it has %s", r.lab.Name, to, strings.Join(have, ", "))
}
