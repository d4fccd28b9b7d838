package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"meshlab.dev/meshlab/labs"
	"meshlab.dev/meshlab/labs/builtin"
	"meshlab.dev/meshlab/orchestrate"
	"meshlab.dev/meshlab/scenarios"
)

func TestPrintWaterfall(t *testing.T) {
	var b strings.Builder
	err := printWaterfall(&b, scenarios.Waterfall{
		Request: "api", Lab: "hashicups", Mesh: "ovs", Requests: 198, Lost: 2, Plain: 0.5, Tapped: 0.51,
		Spans: []scenarios.Span{
			{Kind: scenarios.SpanClient, Where: "client", What: "client", Duration: 0.1, P95: 0.2},
			{Kind: scenarios.SpanService, Where: "h1", What: "web", Start: 0.1, Duration: 0.3, P95: 0.4, Within: 0.2},
			{Kind: scenarios.SpanService, Where: "h2", What: "backend", Depth: 1, Start: 0.15, Duration: 0.2, P95: 0.2},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `api of hashicups under ovs: p50 0.510 ms with taps, 0.500 ms without (+2.0 %); 198 requests, 2 not put together
  WHERE   WHAT                    MS     P95    ITSELF  
  client  client                  0.100  0.200          ██████████
  h1      web                     0.300  0.400  0.100             ██████████████████████████████
  h2        backend               0.200  0.200                         ████████████████████
          not indented, together  0.400                 
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	b.Reset()
	if err := printWaterfall(&b, scenarios.Waterfall{Request: "api", Mesh: "ovs"}); err != nil || strings.Contains(b.String(), "NaN") {
		t.Errorf("an empty one: %v\n%s", err, b.String())
	}
}

func TestWaterfallLine(t *testing.T) {
	for _, s := range []scenarios.Span{{}, {Start: 10}, {Duration: 10}, {Start: 9.99, Duration: 0.01}, {Start: 12, Duration: 5}, {Start: 5, Duration: 0}} {
		line := waterfallLine(s, 10)
		if n := utf8.RuneCountInString(line); n < 1 || n > waterfallBar || !strings.HasSuffix(line, "█") {
			t.Errorf("%+v: %q", s, line)
		}
	}
	if line := waterfallLine(scenarios.Span{}, 0); line != "" {
		t.Errorf("of nothing: %q", line)
	}
}

// TestAttributedWay: what is looked for in packets is what the meshes use.
func TestAttributedWay(t *testing.T) {
	lab, _, err := labs.Load("hashicups", builtin.Names())
	if err != nil {
		t.Fatal(err)
	}
	for _, mesh := range orchestrate.Meshes() {
		way, err := attributed{lab: lab, mesh: mesh, request: "api"}.way()
		if err != nil {
			t.Fatal(err)
		}
		if way.To != "public-api" || way.Virtual.IsValid() != (mesh == orchestrate.OVS) || (way.Sidecars != nil) != (mesh == orchestrate.ConsulConnect) {
			t.Errorf("%s: %+v", mesh, way)
		}
		if mesh == orchestrate.ConsulConnect && (len(way.Sidecars) != len(lab.Services) || way.Sidecars["public-api"] != 21001) {
			t.Errorf("sidecars at %v", way.Sidecars)
		}
	}
}
