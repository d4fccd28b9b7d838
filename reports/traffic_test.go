package reports

import (
	"strings"
	"testing"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

func TestTrafficOfOtherMeshes(t *testing.T) {
	meshes := func(names ...string) []scenarios.MeshInfo {
		var all []scenarios.MeshInfo
		for _, n := range names {
			all = append(all, scenarios.MeshInfo{Name: n})
		}
		return all
	}
	for name, tc := range map[string]struct {
		meshes  []scenarios.MeshInfo
		traffic *scenarios.Traffic
		want    string
		picture bool
	}{
		"none that counts": {meshes("direct", "consul-connect"), nil,
			"Under Plain switching and Consul Connect the switches only forward", false},
		"an older document": {meshes("direct", "ovs"), nil,
			"The results hold no counts of the switches. Under Plain switching the switches only forward", false},
		"alone":        {meshes("ovs"), fakeTraffic(), "Counted by the switches of the lab", true},
		"no edges":     {meshes("ovs"), &scenarios.Traffic{Mesh: "ovs"}, "No service calls another.", false},
		"both of them": {meshes("direct", "ovs"), fakeTraffic(), "Under Plain switching the switches only forward", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := fakeResult(t, nil, []scenarios.Pods{scenarios.SingleNode}, nil, 1, 2)
			r.Meshes, r.Labs[0].Traffic = tc.meshes, tc.traffic
			dir := write(t, r)
			page := string(read(t, dir, "index.html"))
			wellFormed(t, "index.html", []byte(page))
			for _, text := range []string{page, string(read(t, dir, "report.md"))} {
				if !strings.Contains(text, tc.want) {
					t.Errorf("it lacks %q", tc.want)
				}
			}
			if got := strings.Contains(page, `class="graph"`); got != tc.picture {
				t.Errorf("a picture: %v, want %v", got, tc.picture)
			}
			if strings.Contains(page, "nothing to show") && len(tc.meshes) == 1 {
				t.Error("it speaks of meshes that were not there")
			}
		})
	}
}

// Of paired trials alone, the page says why nothing was counted, and what counts.
func TestNoTrafficOfPairedTrials(t *testing.T) {
	r := sample.Result(sample.Small, sample.OnlyDuets)
	if len(r.Cells) > 0 || len(r.Duets) == 0 {
		t.Fatal("the sample is of another run")
	}
	for i := range r.Labs {
		r.Labs[i].Traffic = nil
	}
	page := string(read(t, write(t, r), "index.html"))
	for _, want := range []string{"each pair of trials had labs of its own", "Results of “meshlab bench” hold counts"} {
		if !strings.Contains(page, want) {
			t.Errorf("it lacks %q", want)
		}
	}
}

// What a registry calls its services is neither markup nor a picture's code.
func TestTrafficEscapes(t *testing.T) {
	evil := `<script>alert(1)</script>|"` + "`"
	r := smallResult(t)
	r.Labs[0].Traffic = &scenarios.Traffic{
		Mesh: "ovs", Seconds: 1,
		Edges:     []scenarios.TrafficEdge{{Source: evil, Destination: scenarios.AnyService, Packets: 1}},
		Instances: []scenarios.TrafficInstance{{Service: evil, ID: evil}},
	}
	dir := write(t, r)
	page, data := split(t, string(read(t, dir, "index.html")))
	wellFormed(t, "traffic-1.svg", read(t, dir, "figures", "traffic-1.svg"))
	if strings.Contains(page, "<script>") || strings.Contains(data, "<") || strings.Contains(string(read(t, dir, "report.md")), "<script") {
		t.Error("a name became markup")
	}
	if !strings.Contains(page, "any service") {
		t.Error("the page does not spell out any service")
	}
}

func TestTrafficUnits(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{format.Size(0), "0 B"}, {format.Size(999), "999 B"}, {format.Size(999.6), "1.00 kB"}, {format.Size(12_345), "12.3 kB"}, {format.Size(4e21), "4000 EB"},
		{format.Rate(0), "0"}, {format.Rate(0.0754), "0.075"}, {format.Rate(99.7), "100"}, {format.Rate(12345.6), "12\u202f346"},
		{format.Count(1<<64 - 1), format.Count(1<<63 - 1)},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}
