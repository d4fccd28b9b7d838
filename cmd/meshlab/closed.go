package main

import (
	"context"
	"fmt"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// scripted is a lab that is up, with the requests of a scenario's own.
type scripted struct {
	raised
	script loadedScenario
}

func (s scripted) Spec(request string) (scenarios.RequestSpec, error) {
	if s.script.Scenario == nil {
		return s.raised.Spec(request)
	}
	for _, step := range s.script.Steps {
		if step.Name == request {
			return step.Spec(s.raised.Spec, s.address)
		}
	}
	return s.raised.Spec(request)
}

// closed measures a closed loop in labs that are up, one for each mesh of cfg.
func (r *measurement) closed(ctx context.Context, up []raised, script loadedScenario, cfg scenarios.Config) error {
	targets := map[string]scripted{}
	for _, t := range up {
		targets[string(t.mesh)] = scripted{t, script}
	}
	name := up[0].lab.Name
	step := "measure " + name
	begin := time.Now()
	r.p.start(step)
	cells, err := scenarios.Run(ctx, cfg, func(mesh string, _ scenarios.Pods) scenarios.Target { return targets[mesh] }, r.showClosed(name, len(cfg.Meshes)))
	r.res.Cells = append(r.res.Cells, cells...)
	if err != nil {
		return err
	}
	r.p.finish(step, fmt.Sprintf("%d cells", len(cells)), time.Since(begin))
	return ctx.Err()
}

// showClosed returns what shows how far a closed loop is.
func (r *measurement) showClosed(lab string, meshes int) func(scenarios.Event) {
	last := 0
	return func(e scenarios.Event) {
		if e.StepsDone < e.Steps {
			r.report(fmt.Sprintf("%d of %d cells, %s left, %s under %s", e.Done, e.Total, e.Left.Round(time.Second), e.Step.Point, e.Step.Mesh))
		}
		if !r.p.tty && e.Done >= last+meshes {
			last = e.Done
			r.p.line("  %s: %d of %d cells after %.0f s, about %s left", lab, e.Done, e.Total, e.Elapsed.Seconds(), e.Left.Round(time.Second))
		}
	}
}
