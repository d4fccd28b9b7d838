package export

import (
	"slices"
	"testing"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

func TestTargets(t *testing.T) {
	_, browse, err := scenarios.LookupScenario("browse")
	if err != nil {
		t.Fatal(err)
	}
	doc := sample.Result(sample.Small)
	doc.Scenarios = append(doc.Scenarios, scenarios.ScenarioInfo{Name: "browse", File: string(browse)})
	r := run{Result: doc, labs: parseLabs(doc.Labs)}
	tests := []struct {
		name string
		s    series
		want []string
	}{
		{"request of the lab", series{lab: "hashicups", scenario: "open", request: "api"}, []string{"http://public-api/api"}},
		{"of a closed loop", series{lab: "hashicups", request: "frontend"}, []string{"http://frontend/"}},
		{"mix", series{lab: "hashicups", scenario: "browse"}, []string{"http://frontend/", "http://public-api/api", "http://public-api/api"}},
		{"request of the scenario", series{lab: "hashicups", scenario: "browse", request: "one-coffee"}, []string{"http://public-api/api"}},
		{"unknown lab", series{lab: "other", request: "api"}, nil},
		{"unknown request", series{lab: "hashicups", request: "other"}, nil},
		{"unknown scenario", series{lab: "hashicups", scenario: "other"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, spec := range r.targets(tt.s) {
				got = append(got, spec.URL)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	for i := range doc.Labs {
		doc.Labs[i].File = "nodes: nonsense"
	}
	r.labs = parseLabs(doc.Labs)
	if got := r.targets(tests[0].s); got != nil {
		t.Errorf("of a lab file that cannot be read: %v", got)
	}
}

// TestSidesOfABBAShareTheTime: a trial's time is that of both.
func TestSidesOfABBAShareTheTime(t *testing.T) {
	runs, err := flatten([]*scenarios.Result{sample.Result(sample.Small)})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, s := range runs[0].series {
		if s.loop != openLoop {
			continue
		}
		for _, p := range s.points {
			near(t, s.key+" achieved", p.achieved(), s.rate)
		}
		if s.method == scenarios.ABBA {
			found++
		}
	}
	if found != 2 {
		t.Errorf("%d sides of ABBA, want 2", found)
	}
}

func TestInactiveSidesAreLeftOut(t *testing.T) {
	r := tiny(t)
	r.Duets[0].Trials[0].Sides[1] = scenarios.SideOutcome{}
	runs, err := flatten([]*scenarios.Result{r})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range runs[0].series {
		if s.key == "duet-1-2" && (len(s.points) != 1 || s.points[0].number != 2) {
			t.Errorf("%d points, the first is trial %d; want trial 2 alone", len(s.points), s.points[0].number)
		}
	}
}
