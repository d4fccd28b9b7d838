package main

import (
	"context"
	"fmt"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// ramp searches, under each mesh that is up, for the highest rate of a plan's
// load that keeps the objective.
func (r *measurement) ramp(ctx context.Context, plan duetPlan, up []raised, objective scenarios.Objective) (err error) {
	generator, err := (&duetLabs{measurement: r, plan: plan, up: up}).connect(ctx, up)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := generator.Close(); err == nil {
			err = cerr
		}
	}()
	c := scenarios.RampConfig{Objective: objective, Arrivals: plan.script.Open.Arrivals, Seed: r.res.Seed}
	for _, u := range up {
		c.Meshes = append(c.Meshes, string(u.mesh))
	}
	r.addScenario(plan.script)
	step := "ramp " + plan.title()
	begin := time.Now()
	r.p.start(step)
	ramps, err := scenarios.RunRamp(ctx, c, generator, func(e scenarios.RampEvent) {
		text := fmt.Sprintf("%s: kept %s up to %.0f requests/s", e.Mesh, objective, e.Low)
		if e.High > 0 {
			text += fmt.Sprintf(", broke it at %.0f", e.High)
		}
		r.report(text)
		if !r.p.tty && e.Done {
			r.p.line("  %s after %.0f s", text, time.Since(begin).Seconds())
		}
	})
	if err != nil {
		return err
	}
	load := plan.request
	if load == "" {
		load = plan.script.Name
	}
	lab := plan.sides[0].lab
	for i := range ramps {
		ramps[i].Scenario, ramps[i].Lab, ramps[i].Pods = load, lab.Name, spread(lab.Lab)
	}
	r.res.Ramps = append(r.res.Ramps, ramps...)
	for _, u := range up {
		*u.seconds += time.Since(begin).Seconds()
	}
	r.p.finish(step, objective.String(), time.Since(begin))
	return nil
}
