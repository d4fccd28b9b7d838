package sample

import (
	"encoding/json"
	"math"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

func (g *generator) attempt(n, connections int, medianMs float64) scenarios.Attempt {
	ms := draw(g.rng, n, medianMs)
	sum := 0.0
	for _, v := range ms {
		sum += v
	}
	seconds := sum / 1000 / float64(connections)
	a := scenarios.Attempt{Started: start(), Seconds: seconds, Requests: n}
	if g.failed {
		a.Errors, a.ErrorKind = n, map[string]int{"timeout": n}
		return a
	}
	s := stats.Summarize(ms)
	a.Min, a.Avg, a.P50, a.P90, a.P99, a.Max = s.Min, s.Avg, s.P50, s.P90, s.P99, s.Max
	a.RequestsPerSecond, a.HDR = float64(n)/seconds, g.latencies.hdr(ms)
	a.Fortio = json.RawMessage(`{"Count":0,"Data":null}`)
	return a
}

func (g *generator) ceiling() []scenarios.Ceiling {
	var all []scenarios.Ceiling
	for _, n := range g.connections {
		failed := g.failed
		g.failed = false
		all = append(all, scenarios.Ceiling{Connections: n, Attempt: g.attempt(g.count, n, 0.02+0.016*float64(n))})
		g.failed = failed
	}
	return all
}

func (g *generator) cells() []scenarios.Cell {
	var all []scenarios.Cell
	at := start()
	for _, pods := range g.pods {
		for _, request := range g.requests {
			for _, n := range g.connections {
				queue := base(request, pods) * (1 + 0.22*float64(n-1))
				for _, mesh := range g.meshes {
					c := scenarios.Cell{Request: request, Pods: pods, Connections: n, Mesh: mesh}
					for i := range g.repeats {
						median := queue * factor(mesh) * math.Exp(0.06*g.rng.NormFloat64())
						if i == 0 {
							median *= 1.6
						}
						a := g.attempt(g.count, n, median)
						at = at.Add(2 * time.Second)
						a.Started = at
						c.Attempts = append(c.Attempts, a)
					}
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// ramps search the highest load under each mesh, by halves.
func (g *generator) ramps() []scenarios.Ramp {
	objective := scenarios.Objective{Percentile: 99, Below: 20 * time.Millisecond}
	limit := map[string]float64{direct: 2210, ovs: 2060, connect: 1130}
	var all []scenarios.Ramp
	for _, mesh := range g.meshes {
		r := scenarios.Ramp{Scenario: "open", Lab: "hashicups", Pods: scenarios.MultipleNodes, Mesh: mesh, Objective: objective}
		low, high := 0.0, 0.0
		for rate := 400.0; len(r.Steps) < 8; {
			step := g.rampStep(rate, limit[mesh], factor(mesh))
			r.Steps = append(r.Steps, step)
			if step.Kept {
				low = rate
			} else {
				high = rate
			}
			if high == 0 {
				rate *= 2
			} else {
				rate = math.Round((low + high) / 2)
			}
		}
		r.Highest, r.End = low, scenarios.EndObjective
		all = append(all, r)
	}
	return all
}

// rampStep is one rate, at a share of what the mesh stands.
func (g *generator) rampStep(rate, limit, factor float64) scenarios.RampStep {
	share := rate / limit
	step := scenarios.RampStep{Rate: rate, Achieved: rate, Late: 0.16}
	n := g.count
	if g.failed {
		step.Outcome, step.Achieved = scenarios.SideOutcome{Requests: n, Errors: n, ErrorKind: map[string]int{"timeout": n}}, 0
		return step
	}
	median := 0.7 * factor / math.Max(0.04, 1-0.93*share)
	if share > 1 {
		median, step.Achieved = 30*share, limit
	}
	service := draw(g.rng, n, median)
	late := make([]float64, n)
	for i, v := range service {
		late[i] = round(v * (1 + 0.1*g.rng.Float64()))
	}
	step.Outcome = scenarios.SideOutcome{Requests: n, Latency: g.latencies.of(late), Service: g.latencies.of(service)}
	step.Kept = step.Outcome.Latency.P99 <= 20
	return step
}
