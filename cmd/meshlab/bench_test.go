//go:build integration

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

// What bench notes of the switches is what its load has done.
func TestBenchTraffic(t *testing.T) {
	p := root(t)
	file := p.writeFile(t, "small.yaml", fmt.Sprintf(small, echoCommand, 0))
	p.ok(t, "bench", file, "--mesh", "direct,ovs", "--quick", "--out", "results")
	res, err := scenarios.ReadFile(filepath.Join(p.dir, "results", "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	traffic := res.Labs[0].Traffic
	if traffic == nil {
		t.Fatal("no traffic")
	}
	// Two attempts and a warm-up, with 1 connection and with 8.
	const connections = 3 * (1 + 8)
	requests, seconds := 0, 0.0
	for _, c := range res.Cells {
		if c.Mesh == traffic.Mesh {
			for _, a := range c.Attempts {
				requests += a.Requests
				seconds += a.Seconds
			}
		}
	}
	t.Logf("%+v, %d requests in %.2f s without warm-ups", *traffic, requests, seconds)
	if traffic.Mesh != "ovs" || traffic.Seconds <= seconds {
		t.Errorf("mesh %s, %v s; the attempts alone took %v s", traffic.Mesh, traffic.Seconds, seconds)
	}
	if len(traffic.Edges) != 1 || len(traffic.Instances) != 1 {
		t.Fatalf("%d edges and %d instances, want one of each", len(traffic.Edges), len(traffic.Instances))
	}
	e, i := traffic.Edges[0], traffic.Instances[0]
	if e.Source != "client" || e.Destination != "web" || e.Attempts != connections || e.Denied != 0 || e.Packets < uint64(requests) || e.Bytes < 100*uint64(requests) {
		t.Errorf("edge %+v", e)
	}
	if i.Service != "web" || i.ID != "h1/web" || i.Connections != connections || i.Packets < uint64(requests) || i.Resets != 0 {
		t.Errorf("instance %+v", i)
	}
	p.ok(t, "report", filepath.Join("results", "latest.json"), "--out", "report")
	page, err := os.ReadFile(filepath.Join(p.dir, "report", "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`class="graph"`, "h1/web", "Under Plain switching the switches only forward"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report lacks %s", want)
		}
	}
}

// What a scenario breaks is broken in the labs of both meshes, mended within
// the trial, and told with its real times.
func TestBenchWithFaults(t *testing.T) {
	p := root(t)
	p.writeFile(t, "kill.yaml", `name: kill
open: { rate: 100, connections: 4, requests: 200, pairs: [2] }
steps:
  - request: web
faults:
  - { at: 500ms, kill: web-1, for: 700ms }
`)
	p.ok(t, "bench", "load-balancing", "--scenario", "kill.yaml", "--mesh", "direct,ovs", "--out", "results")
	res, err := scenarios.ReadFile(filepath.Join(p.dir, "results", "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := res.Duets[0]
	if len(d.Faults) != 1 || d.Faults[0].String() != "kill web-1" || len(d.Trials) != 2 {
		t.Fatalf("%d trials with faults %v", len(d.Trials), d.Faults)
	}
	for i, trial := range d.Trials {
		if len(trial.Faults) != 2 {
			t.Fatalf("trial %d: faults %+v, want one in the lab of each mesh", i, trial.Faults)
		}
		for j, f := range trial.Faults {
			// Clocks are read in two processes, and a busy machine is late, not early.
			if f.Variant != j || f.Began < 0.49 || f.Ended < f.Began+0.69 || f.Ended > 30 {
				t.Errorf("trial %d: %+v", i, f)
			}
		}
		// Plain switching has one address, that of web-1. What was to start just
		// before the fault may have met it.
		direct := trial.Sides[0]
		early, late := 0, 0
		for _, w := range direct.Windows {
			if w.At < 0.4 {
				early += w.Errors
			} else {
				late += w.Errors
			}
		}
		if late < 30 || early > late/10 || early+late != direct.Errors {
			t.Errorf("trial %d: under plain switching %d requests failed before the fault, %d from then on, %d in all", i, early, late, direct.Errors)
		}
		if ovs := trial.Sides[1]; ovs.Errors >= direct.Errors {
			t.Errorf("trial %d: %d requests failed with plain switching, %d with the mesh in the switches", i, direct.Errors, ovs.Errors)
		}
	}
	p.ok(t, "report", filepath.Join("results", "latest.json"), "--out", "report")
	for file, wanted := range map[string][]string{
		"index.html": {"What was broken, and who noticed", "In every trial web-1 was killed from ", ">web-1 was killed, "},
		"report.md":  {"](figures/duet1-course.png)", "| web-1 was killed | Plain switching | 2 | "},
	} {
		text, err := os.ReadFile(filepath.Join(p.dir, "report", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wanted {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q", file, want)
			}
		}
	}
}
