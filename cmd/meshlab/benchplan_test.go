package main

import (
	"os"
	"path/filepath"
	"strings"
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

// A closed loop with steps and paired trials of the lab's requests, in one run: what
// is chosen of the lab file is for the paired trials alone.
func TestReproduceStepsBesidePairedTrials(t *testing.T) {
	lab, err := loadLab("hashicups")
	if err != nil {
		t.Fatal(err)
	}
	open, err := loadScenario(openScenario)
	if err != nil {
		t.Fatal(err)
	}
	const own = "name: own\nclosed: { connections: [1], requests: 100, attempts: 4, warm_up: 1 }\nsteps:\n  - request: frontend\n"
	r := &scenarios.Result{
		ID: "20261121T120000Z-00000000", Labs: []scenarios.LabInfo{{Name: lab.Name, Pods: spread(lab.Lab), File: string(lab.source)}},
		Scenarios: []scenarios.ScenarioInfo{{Name: "own", File: own}, {Name: open.Name, File: string(open.source)}},
		Duets: []scenarios.Duet{{Scenario: open.Name, Request: "api", Lab: lab.Name, Pods: spread(lab.Lab),
			Variants:    []scenarios.Variant{{Name: "direct", Mesh: "direct"}, {Name: "ovs", Mesh: "ovs"}},
			Comparisons: []scenarios.Comparison{{Base: "direct", New: "ovs", Metrics: []scenarios.MetricDecision{{Metric: "p50", Ratio: 1.1, Low: 1, High: 1.2}}}}}},
	}
	for _, mesh := range []string{"direct", "ovs"} {
		c := scenarios.Cell{Request: "frontend", Pods: spread(lab.Lab), Connections: 1, Mesh: mesh}
		for range 4 {
			c.Attempts = append(c.Attempts, scenarios.Attempt{Requests: 100, Avg: 1, P50: 1})
		}
		r.Cells = append(r.Cells, c)
	}
	for name, text := range map[string]string{"steps of its own": own, "requests of the lab file": strings.Split(own, "steps:")[0]} {
		t.Run(name, func(t *testing.T) {
			r.Scenarios[0].File = text
			o, err := ofResult(r)
			if err != nil {
				t.Fatal(err)
			}
			cfg, _, err := o.plan.matrix(lab)
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Requests) != 1 || cfg.Requests[0] != "frontend" {
				t.Errorf("the closed loop sends %v", cfg.Requests)
			}
			plans, _, err := o.plan.duets(lab)
			if err != nil || len(plans) != 1 || plans[0].request != "api" {
				t.Errorf("paired trials: %v, %+v", err, plans)
			}
		})
	}
	if _, err := (benchFlags{meshes: []string{"ovs"}, scenarios: []string{writeScenario(t, own)}, only: []string{"api"}}).plan(newBench(), []string{"hashicups"}); err == nil || !strings.Contains(err.Error(), "--only chooses") {
		t.Errorf("--only beside steps: %v", err)
	}
}

func writeScenario(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// The seed of a run is that of the order of its closed loop, whatever planned it.
func TestMatrixHasTheSeed(t *testing.T) {
	again, err := ofThesis()
	if err != nil {
		t.Fatal(err)
	}
	again.plan.seed = 7
	flags := benchFlags{meshes: []string{"ovs"}, seed: 7}
	c := newBench()
	if err := c.Flags().Set("seed", "7"); err != nil {
		t.Fatal(err)
	}
	bench, err := flags.plan(c, []string{"hashicups"})
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kubeBench{Labs: []string{"hashicups"}, Meshes: []string{"ovs"}, Seed: 7}.plan()
	if err != nil {
		t.Fatal(err)
	}
	cluster.meshes = []string{"ovs"} // the cluster says which it has
	cluster.closed.matrix.Meshes = cluster.meshes
	for name, p := range map[string]benchPlan{"reproduce": again.plan, "bench": bench, "bench --kube": cluster} {
		if cfg, _, err := p.matrix(bench.labs[0]); err != nil || cfg.Seed != 7 {
			t.Errorf("%s: seed %d, %v", name, cfg.Seed, err)
		}
	}
}

// A run has one scenario of a name: its figures go by that.
func TestScenariosOfOneName(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, request := range []string{"frontend", "api"} {
		files = append(files, filepath.Join(dir, request+".yaml"))
		text := "name: mix\nopen: { rate: 10 }\nsteps:\n  - request: " + request + "\n"
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, p := benchFlags{scenarios: files}, benchPlan{meshes: []string{"direct", "ovs"}}
	err := f.scripts(newBench(), &p)
	if err == nil || !strings.Contains(err.Error(), files[0]+" and "+files[1]+" are both scenario mix") {
		t.Errorf("two scenarios of one name: %v", err)
	}
	p = benchPlan{meshes: p.meshes}
	if err := (benchFlags{scenarios: files[:1]}).scripts(newBench(), &p); err != nil || len(p.open) != 1 {
		t.Errorf("one of them: %v, %d scenarios", err, len(p.open))
	}
	p = benchPlan{meshes: p.meshes}
	if err := (benchFlags{scenarios: []string{openScenario}, duet: true}).scripts(newBench(), &p); err != nil || len(p.open) != 1 {
		t.Errorf("--duet beside its scenario: %v, %d scenarios", err, len(p.open))
	}
}
