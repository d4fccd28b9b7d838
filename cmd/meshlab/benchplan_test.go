package main

import (
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

// Holm's correction counts the figures of the whole run, whichever lab they are
// of.
func TestHypothesesAreThoseOfTheRun(t *testing.T) {
	script, err := loadScenario(openScenario)
	if err != nil {
		t.Fatal(err)
	}
	p := benchPlan{meshes: []string{"direct", "ovs", "consul-connect"}, open: []loadedScenario{script}}
	for _, name := range []string{"hashicups", "load-balancing"} {
		lab, err := loadLab(name)
		if err != nil {
			t.Fatal(err)
		}
		p.labs = append(p.labs, lab)
	}
	var all []duetPlan
	for _, lab := range p.labs {
		plans, _, err := p.duets(lab)
		if err != nil {
			t.Fatal(err)
		}
		for _, plan := range plans {
			if plan.sides[0].lab.Name != lab.Name {
				t.Errorf("a plan of %s for lab %s", plan.sides[0].lab.Name, lab.Name)
			}
		}
		all = append(all, plans...)
	}
	if len(all) != len(p.labs[0].Requests)+len(p.labs[1].Requests) || len(p.labs[0].Requests) == len(p.labs[1].Requests) {
		t.Fatalf("%d plans of labs with %d and %d requests", len(all), len(p.labs[0].Requests), len(p.labs[1].Requests))
	}
	for _, plan := range all {
		if want := 2 * 2 * len(all); plan.hypotheses != want { // p50 and p99, of two meshes against the first
			t.Errorf("%s: %d hypotheses, want %d", plan.title(), plan.hypotheses, want)
		}
	}
}

// What a closed scenario allows is part of the run that is repeated.
func TestReproduceKeepsTheScenarioOfAClosedLoop(t *testing.T) {
	lab, err := loadLab("single-upstream")
	if err != nil {
		t.Fatal(err)
	}
	r := &scenarios.Result{
		ID: "20261121T120000Z-00000000", Labs: []scenarios.LabInfo{{Name: lab.Name, Pods: spread(lab.Lab), File: string(lab.source)}},
		Scenarios: []scenarios.ScenarioInfo{{Name: "long", File: "name: long\nclosed: { connections: [1], requests: 100, attempts: 4, warm_up: 7, timeout: 40s, limit: 30m }\n"}},
	}
	for _, mesh := range []string{"ovs", "direct"} {
		c := scenarios.Cell{Request: "web", Pods: spread(lab.Lab), Connections: 1, Mesh: mesh}
		for range 4 {
			c.Attempts = append(c.Attempts, scenarios.Attempt{Requests: 100, Avg: 1, P50: 1})
		}
		r.Cells = append(r.Cells, c)
	}
	o, err := ofResult(r)
	if err != nil {
		t.Fatal(err)
	}
	if m := o.plan.closed.matrix; m.WarmUp != 7 || m.Timeout != 40*time.Second || m.Limit != 30*time.Minute || m.Count != 100 {
		t.Errorf("got %+v", m)
	}
}
