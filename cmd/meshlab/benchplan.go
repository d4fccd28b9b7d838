package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/spf13/cobra"

	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

// benchPlan is a run of bench: scenarios in labs under meshes.
type benchPlan struct {
	seed       uint64
	meshes     []string
	labs       []loadedLab
	closed     *closedPlan // nil: no closed loop
	open       []loadedScenario
	only       []string // requests of the lab file, for all but the closed loop; empty: all
	oneAtATime bool
	ramp       string // what the highest rate is searched for; empty: nothing is
	waterfall  bool
	log        bool
}

// closedPlan is a closed loop: what its file says, and the matrix without Pods,
// Requests and Seed.
type closedPlan struct {
	script loadedScenario
	matrix scenarios.Config
	only   []string // requests of the lab file; empty: all
}

// plan checks everything that can be known before a lab is up.
func (f benchFlags) plan(c *cobra.Command, args []string) (benchPlan, error) {
	p := benchPlan{seed: f.seed, only: f.only, oneAtATime: f.oneAtATime, waterfall: f.waterfall, log: f.log, ramp: f.ramp}
	if !c.Flags().Changed("seed") {
		p.seed = rand.Uint64()
	}
	for _, m := range f.meshes {
		mesh, err := orchestrate.ParseMesh(m)
		if err != nil {
			return p, usageError{err}
		}
		if slices.Contains(p.meshes, string(mesh)) {
			return p, usageError{fmt.Errorf("mesh %q is given twice", m)}
		}
		p.meshes = append(p.meshes, string(mesh))
	}
	if err := f.scripts(c, &p); err != nil {
		return p, err
	}
	for _, name := range args {
		lab, err := loadLab(name)
		if err != nil {
			return p, err
		}
		if _, err := runtimeOf(lab.Lab, f.runtime); err != nil {
			return p, err
		}
		for _, other := range p.labs {
			if spread(other.Lab) == spread(lab.Lab) && p.closed != nil {
				return p, usageError{fmt.Errorf("labs %s and %s are both %s: one run takes one lab on a single node and one on several", other.Name, lab.Name, spread(lab.Lab))}
			}
		}
		p.labs = append(p.labs, lab)
	}
	for _, lab := range p.labs {
		if p.closed != nil {
			if _, _, err := p.matrix(lab); err != nil {
				return p, err
			}
		}
		for _, s := range p.open {
			if p.ramp != "" {
				if _, err := p.objective(s); err != nil {
					return p, err
				}
			}
			if _, _, err := duetPlans(s, meshSides(lab, p.meshes), p.only); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// scripts reads the scenarios, and lets flags that were given overrule them.
func (f benchFlags) scripts(c *cobra.Command, p *benchPlan) error {
	names := slices.Clone(f.scenarios)
	if f.quick && !slices.Contains(names, quickScenario) {
		names = append(names, quickScenario)
	}
	if f.duet && !slices.Contains(names, openScenario) || f.ramp != "" && len(names) == 0 {
		names = append(names, openScenario)
	}
	if len(names) == 0 && !p.waterfall {
		names = []string{thesisScenario}
	}
	from := map[string]string{}
	for _, name := range names {
		s, err := loadScenario(name)
		if err != nil {
			return err
		}
		if other, twice := from[s.Name]; twice {
			return usageError{fmt.Errorf("%s and %s are both scenario %s, and their figures would not be told apart: change the name in one", other, name, s.Name)}
		}
		from[s.Name] = name
		if s.Model == scenarios.OpenLoop {
			p.open = append(p.open, s)
			continue
		}
		cfg := s.Closed
		cfg.Meshes = p.meshes
		if c.Flags().Changed("connections") {
			cfg.Connections = f.connections
		}
		if c.Flags().Changed("requests") {
			cfg.Count = f.requests
		}
		if c.Flags().Changed("repeats") {
			cfg.Repeats = f.repeats
		}
		if p.closed != nil {
			return usageError{errors.New("a run takes one closed-loop scenario: their cells would not be told apart")}
		}
		p.closed = &closedPlan{s, cfg, p.only}
	}
	switch {
	case p.oneAtATime && len(p.open) == 0:
		return usageError{errors.New("--one-at-a-time is for paired trials: add --duet or an open-loop --scenario")}
	case p.log && len(p.open) == 0:
		return usageError{errors.New("--log is for paired trials: add --duet or an open-loop --scenario")}
	case p.ramp != "" && p.closed != nil:
		return usageError{errors.New("--ramp is a search with open loops: leave the closed-loop scenario out")}
	case p.ramp != "" && (p.oneAtATime || p.log):
		return usageError{errors.New("--ramp makes no paired trials: leave --one-at-a-time and --log out")}
	case len(p.open) > 0 && p.ramp == "" && len(p.meshes) < 2:
		return usageError{errors.New("paired trials compare two meshes or more: give them with --mesh; 'meshlab compare' compares builds and labs")}
	}
	return nil
}

// objective is what --ramp says, or the file of a scenario.
func (p benchPlan) objective(s loadedScenario) (scenarios.Objective, error) {
	if len(s.Faults) > 0 {
		return scenarios.Objective{}, usageError{fmt.Errorf("--ramp: scenario %s has faults, which are of paired trials: take one without, or leave --ramp out", s.Name)}
	}
	if p.ramp != "scenario" {
		o, err := scenarios.ParseObjective(p.ramp)
		if err != nil {
			return o, usageError{fmt.Errorf("--ramp: %w", err)}
		}
		return o, nil
	}
	if s.Objective == nil {
		return scenarios.Objective{}, usageError{fmt.Errorf("--ramp scenario: scenario %s has no objective", s.Name)}
	}
	return *s.Objective, nil
}

// matrix is the closed loop in a lab. Requests that a mesh cannot carry are
// left out, and told; the steps of the scenario's own file are all sent.
func (p benchPlan) matrix(lab loadedLab) (scenarios.Config, []string, error) {
	cfg := p.closed.matrix
	cfg.Pods, cfg.Seed = []scenarios.Pods{spread(lab.Lab)}, p.seed
	var skipped []string
	if len(cfg.Requests) == 0 {
		var err error
		if cfg.Requests, skipped, err = p.requests(lab, p.closed.only); err != nil {
			return cfg, nil, err
		}
	} else if len(p.closed.only) > 0 {
		return cfg, nil, usageError{fmt.Errorf("--only chooses requests of the lab file; scenario %s has steps of its own", p.closed.script.Name)}
	}
	if err := cfg.Validate(); err != nil {
		return cfg, nil, usageError{err}
	}
	return cfg, skipped, nil
}

// requests are the names of the lab's requests that all meshes carry, of those in
// only if it names any.
func (p benchPlan) requests(lab loadedLab, only []string) (names, skipped []string, err error) {
	plans, skipped, err := duetPlans(loadedScenario{Scenario: &scenarios.Scenario{}}, meshSides(lab, p.meshes), only)
	for _, one := range plans {
		names = append(names, one.request)
	}
	return names, skipped, err
}

// run measures everything, lab by lab.
func (p benchPlan) run(ctx context.Context, r *measurement, log *requestLog) (err error) {
	if p.closed != nil {
		r.addScenario(p.closed.script)
		if r.res.Ceiling, err = ceiling(ctx, r.p, p.closed.matrix); err != nil {
			return err
		}
	}
	for _, lab := range p.labs {
		if err := p.runLab(ctx, r, lab, log); err != nil {
			return err
		}
	}
	return nil
}

func (p benchPlan) runLab(ctx context.Context, r *measurement, lab loadedLab, log *requestLog) error {
	sides := meshSides(lab, p.meshes)
	var steps []func(context.Context, []raised) error
	if p.closed != nil {
		cfg, skipped, err := p.matrix(lab)
		if err != nil {
			return err
		}
		for _, s := range skipped {
			r.p.line("  left out: %s", s)
		}
		steps = append(steps, func(ctx context.Context, up []raised) error { return r.closed(ctx, up, p.closed.script, cfg) })
	}
	plans, skipped, err := p.duets(lab)
	if err != nil {
		return err
	}
	for _, s := range skipped {
		r.p.line("  left out: %s", s)
	}
	if p.ramp != "" {
		for _, plan := range plans {
			objective, err := p.objective(plan.script)
			if err != nil {
				return err
			}
			steps = append(steps, func(ctx context.Context, up []raised) error { return r.ramp(ctx, plan, up, objective) })
		}
		plans = nil
	}
	if p.waterfall {
		names, _, err := p.requests(lab, p.only)
		if err != nil {
			return err
		}
		steps = append(steps, func(ctx context.Context, up []raised) error { return r.waterfalls(ctx, up, names) })
	}
	if len(steps) > 0 {
		if err := r.measure(ctx, sides, steps...); err != nil {
			return err
		}
	}
	if len(plans) == 0 {
		return nil
	}
	return r.measure(ctx, nil, func(ctx context.Context, _ []raised) error {
		r.addMeshes(sides)
		r.addLabs(sides)
		for i, plan := range plans {
			plan.oneAtATime, plan.log = p.oneAtATime, log
			plan.traffic = !p.oneAtATime && i == 0 && len(steps) == 0
			if err := r.duet(ctx, plan); err != nil {
				return err
			}
			r.publish()
		}
		return nil
	})
}

// duets are the paired trials of one lab, and what is left out of it. The number
// of hypotheses is that of the whole run.
func (p benchPlan) duets(lab loadedLab) (all []duetPlan, skipped []string, err error) {
	duets := 0
	for _, other := range p.labs {
		for _, s := range p.open {
			plans, left, err := duetPlans(s, meshSides(other, p.meshes), p.only)
			if err != nil {
				return nil, nil, err
			}
			duets += len(plans)
			if other.Name == lab.Name && string(other.source) == string(lab.source) {
				all, skipped = append(all, plans...), append(skipped, left...)
			}
		}
	}
	for i := range all {
		all[i].hypotheses = hypotheses(all[i].sides, duets)
	}
	return all, skipped, nil
}
