package reports

import (
	"strings"
	"testing"

	"meshlab.dev/meshlab/reports/figures"
	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/scenarios"
)

func TestSummary(t *testing.T) {
	s := func(change func(*scenarios.Result)) string {
		r := fakeResult(t, []string{"api"}, []scenarios.Pods{scenarios.SingleNode}, []int{1, 8}, 400, 3)
		if change != nil {
			change(r)
		}
		sec, err := newSection(r, "")
		if err != nil {
			t.Fatal(err)
		}
		return sec.summary()
	}
	whole := s(nil)
	for _, want := range []string{"Over 2 cells, at their median, the mesh in the switches answered the median request 2.", " times as fast as Consul Connect", " times the time of plain switching", "None of the 7200 requests failed."} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q lacks %q", whole, want)
		}
	}
	failed := s(func(r *scenarios.Result) { fail(t, &r.Cells[2].Attempts[0], 2, "timeout") })
	for _, want := range []string{"Consul Connect could be compared at 1 of them, plain switching at 2.", "2 of the 7202 requests failed, in 1 of 2 cells"} {
		if !strings.Contains(failed, want) {
			t.Errorf("%q lacks %q", failed, want)
		}
	}
	alone := s(func(r *scenarios.Result) { r.Cells = []scenarios.Cell{r.Cells[0], r.Cells[1]} })
	if strings.Contains(alone, "as fast as") || !strings.Contains(alone, "Over 1 cell, the mesh in the switches took") {
		t.Errorf("without Consul Connect: %q", alone)
	}
}

func TestNearCeiling(t *testing.T) {
	r := fakeResult(t, []string{"api"}, []scenarios.Pods{scenarios.SingleNode}, []int{1, 8}, 400, 3)
	s, err := newSection(r, "")
	if err != nil {
		t.Fatal(err)
	}
	if near := s.nearCeiling(); len(near) != 0 {
		t.Errorf("far from the ceiling: %v", near)
	}
	m := s.Points[0].later(cells.Direct)
	r.Ceiling[0].Attempt.RequestsPerSecond = m.PerSecond * 1.9
	near := s.nearCeiling()
	if len(near) < 1 || !strings.Contains(near[0], "api, single node, 1 connection under Plain switching") || !strings.Contains(near[0], "53 %") {
		t.Errorf("got %v", near)
	}
	r.Ceiling[0].Attempt.RequestsPerSecond = m.PerSecond * 2.1
	if near := s.nearCeiling(); len(near) != 0 {
		t.Errorf("at 48 %%: %v", near)
	}
}

// Meshes that nobody knows look different, as far as there are looks.
func TestUnknownMeshesLookDifferent(t *testing.T) {
	r := fakeResult(t, []string{"api"}, []scenarios.Pods{scenarios.SingleNode}, []int{1}, 100, 2)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		more := r.Cells[0]
		more.Mesh = name
		r.Cells = append(r.Cells, more)
	}
	s, err := newSection(r, "")
	if err != nil {
		t.Fatal(err)
	}
	later, _ := s.series(s.Points[0])
	seen := map[figures.Look]string{}
	for _, one := range later {
		if other, ok := seen[one.Look]; ok {
			t.Errorf("%s looks as %s", one.Name, other)
		}
		seen[one.Look] = one.Name
	}
	if len(later) != 8 {
		t.Errorf("%d meshes, want 8", len(later))
	}
}

func TestSlug(t *testing.T) {
	p := scenarios.Point{Request: "../GET /é?" + strings.Repeat("x", 100), Pods: scenarios.MultipleNodes, Connections: 8}
	got := slug(p)
	if strings.ContainsAny(got, "/.?") || len(got) > 60 || !strings.HasSuffix(got, "-mn-8") {
		t.Errorf("slug %q", got)
	}
}

func TestCommand(t *testing.T) {
	v := view{section: &section{Result: &scenarios.Result{Command: []string{"meshlab", "bench", "my lab.yaml", "it's", ""}}}}
	if got, want := v.Command(), `meshlab bench 'my lab.yaml' 'it'\''s' ''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDefaultTitle(t *testing.T) {
	for _, tt := range []struct {
		meshes []string
		want   string
	}{
		{[]string{"direct", "ovs", "consul-connect"}, "A mesh in the switches, Consul Connect and plain switching: response times"},
		{[]string{"consul-connect", "ovs"}, "A mesh in the switches and Consul Connect: response times"},
		{[]string{"direct"}, "Plain switching: response times"},
		{[]string{"été", "direct"}, "Plain switching and été: response times"},
		{[]string{"été"}, "Été: response times"},
		{nil, "Response times"},
	} {
		var r scenarios.Result
		for _, m := range tt.meshes {
			r.Meshes = append(r.Meshes, scenarios.MeshInfo{Name: m})
		}
		if got := DefaultTitle([]*scenarios.Result{&r, &r}); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.meshes, got, tt.want)
		}
	}
}
