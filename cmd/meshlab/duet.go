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
	traffic    bool // what the switches carry goes into the document
	log        *requestLog
}

// generateCommand starts the open-loop generator: this program again.
func generateCommand() []string { return []string{"/proc/self/exe", "generate"} }

// duet measures a plan and adds it to the document. Its labs come up pair by
// pair; none is left.
func (r *measurement) duet(ctx context.Context, plan duetPlan) (err error) {
	c := scenarios.DuetConfig{
		Scenario: plan.script.Name, Request: plan.request, Lab: plan.sides[0].lab.Name, Pods: spread(plan.sides[0].lab.Lab),
		Method: scenarios.Alive, Load: plan.script.Open, Seed: r.res.Seed, Log: plan.log != nil,
		Faults: plan.script.Faults,
	}
	if plan.oneAtATime {
		c.Method = scenarios.ABBA
	}
	c.Rule = scenarios.DefaultRule(c.Method, plan.hypotheses)
	if len(plan.script.Looks) > 0 {
		c.Rule.Looks = plan.script.Looks
	}
	for _, s := range plan.sides {
		c.Variants = append(c.Variants, s.variant(plan))
	}
	r.addScenario(plan.script)
	for _, s := range plan.sides {
		r.addScenario(s.script)
	}
	labs := &duetLabs{measurement: r, plan: plan, current: -1}
	defer func() {
		labs.close()
		err = errors.Join(err, labs.leave(ctx))
	}()
	hooks := scenarios.DuetHooks{Open: labs.open, Knee: labs.knee, Costs: labs.costs, Fault: labs.fault}
	if plan.oneAtATime {
		hooks.Open, hooks.Use = nil, labs.use
	}
	if plan.log != nil {
		hooks.Requests = func(trial int, o scenarios.TrialOutcome) error {
			return plan.log.write(c, trial, o)
		}
	}
	view := &duetView{measurement: r, title: plan.title()}
	view.begin()
	d, err := scenarios.RunDuet(ctx, c, hooks, func(e scenarios.DuetEvent) {
		view.show(e)
	})
	if err != nil {
		return err
	}
	r.res.Duets = append(r.res.Duets, *d)
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

	opened  int                   // how often labs came up
	counted func(context.Context) // ends the counting of what the switches carry; nil: nothing counts

	current   int // ABBA: the variant that is up; -1: none
	generator scenarios.Generator
}

// countedLabs are the ones whose switches count: the first also carry what
// finds the knee.
const countedLabs = 2

// open brings up labs in place of those that are up, and connects the
// generator to all of them.
func (l *duetLabs) open(ctx context.Context) (scenarios.Generator, error) {
	if err := l.leave(ctx); err != nil {
		return nil, err
	}
	up, err := l.fleet.raise(ctx, l.plan.sides...)
	if err != nil {
		return nil, err
	}
	l.up = up
	l.opened++
	if l.plan.traffic && l.opened == countedLabs {
		counted, begin := l.counting(ctx, up), time.Now()
		l.counted = func(ctx context.Context) {
			for _, u := range up {
				*u.seconds = time.Since(begin).Seconds()
			}
			counted(ctx)
		}
	}
	return l.connect(ctx, l.up)
}

// leave removes the labs that are up.
func (l *duetLabs) leave(ctx context.Context) error {
	if len(l.up) == 0 {
		return nil
	}
	if l.counted != nil && ctx.Err() == nil {
		l.counted(ctx)
	}
	up := l.up
	l.up, l.counted = nil, nil
	return l.fleet.remove(ctx, up...)
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
				addDelay(headers, l.delay)
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

// addDelay makes a service wait that much longer than the scenario has it wait.
func addDelay(headers map[string]string, delay time.Duration) {
	for name, text := range headers {
		if own, err := time.ParseDuration(text); err == nil && strings.EqualFold(name, service.DelayHeader) {
			delay += own
			delete(headers, name)
		}
	}
	headers[service.DelayHeader] = delay.String()
}

// use brings up the lab of one variant alone.
func (l *duetLabs) use(ctx context.Context, variant int) (scenarios.ActiveSide, error) {
	if l.current == variant {
		return scenarios.ActiveSide{Generator: l.generator}, nil
	}
	l.close()
	l.current = -1
	if err := l.leave(ctx); err != nil {
		return scenarios.ActiveSide{}, err
	}
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

// fault begins a fault in the lab of a variant.
func (l *duetLabs) fault(ctx context.Context, variant int, f scenarios.Fault) (scenarios.EndFault, error) {
	ctl := l.of(variant).ctl
	e, err := ctl.BeginFault(ctx, f)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (scenarios.FaultTimes, error) {
		e, err := ctl.EndFault(ctx, e.ID)
		return e.FaultTimes, err
	}, nil
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
