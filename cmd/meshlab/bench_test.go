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
