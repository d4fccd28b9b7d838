package scenarios

import (
	"math"
	"strings"
	"testing"
)

// ratios are findings of API over 1, 2, 3... connections; each is a ratio, or
// a ratio and its interval.
func ratios(values ...[]float64) []Finding {
	var all []Finding
	for i, v := range values {
		at := Point{Request: "api", Pods: MultipleNodes, Connections: i + 1}
		f := Finding{Cell: at.String(), Figure: "avg", Base: "ovs", New: "consul-connect", Ratio: v[0], Point: at}
		if len(v) == 3 {
			f.Low, f.High = v[1], v[2]
		}
		all = append(all, f)
	}
	return all
}

func TestPredict(t *testing.T) {
	local := ratios([]float64{2, 1.8, 2.2}, []float64{3, 2.5, 3.5}, []float64{1.1, 0.9, 1.3}, []float64{0.5, 0.4, 0.6}, []float64{4, 3, 5}, []float64{1.5})
	cloud := ratios([]float64{2.1}, []float64{6}, []float64{1.5}, []float64{2}, []float64{1})
	p := Predict(local, cloud)
	want := Prediction{Cells: 5, Same: 2, Opposite: 1, Open: 2, Sides: 3, Constant: 4, Favours: 1, Median: 2, Largest: 4, LargestAt: Point{"MN", "api", 4}, Bounded: 5, Within: 1}
	if math.Abs(p.Median-want.Median) > 1e-12 || math.Abs(p.Largest-4) > 1e-12 {
		t.Errorf("off by %v at the median and %v at most, want 2 and 4", p.Median, p.Largest)
	}
	// By ratio: 4 > 3 > 2 > 1.1 > 0.5 there, 1, 6, 2.1, 1.5, 2 here: 5 of 10 pairs in order.
	if math.Abs(p.TauB) > 1e-12 {
		t.Errorf("tau-b %v, want 0", p.TauB)
	}
	p.Median, p.Largest, p.TauB = want.Median, want.Largest, 0
	if p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	// The other way around, all but what names the predicted one is the same.
	back := Predict(cloud, local)
	if back.Same != 2 || back.Opposite != 1 || back.Open != 2 || back.Constant != 3 || back.Within != 1 {
		t.Errorf("backwards %+v", back)
	}
	if none := Predict(local, nil); none.Cells != 0 || !math.IsNaN(none.TauB) {
		t.Errorf("of nothing: %+v", none)
	}
	// Ratios that are a power of each other, however fast the machines, are in one order.
	if p := Predict(ratios([]float64{2}, []float64{3}, []float64{0.5}), ratios([]float64{4}, []float64{9}, []float64{0.25})); p.TauB != 1 || p.Same != 3 || p.Bounded != 0 {
		t.Errorf("the same order: %+v", p)
	}
}

func TestReversed(t *testing.T) {
	f := ratios([]float64{2, 1.6, 2.5})[0].Reversed()
	if f.Base != "consul-connect" || f.New != "ovs" || f.Ratio != 0.5 || f.Low != 0.4 || f.High != 0.625 || f.Ahead() != -1 {
		t.Errorf("got %+v", f)
	}
	if f := ratios([]float64{2})[0].Reversed(); f.Bounded() {
		t.Errorf("an interval from nowhere: %+v", f)
	}
}

// grouped is a document of one mesh and one cell, with later attempts of these
// averages and medians.
func grouped(t *testing.T, id, group, mesh string, ms ...float64) *Result {
	t.Helper()
	r := &Result{SchemaVersion: SchemaVersion, ID: id, Environment: Environment{Group: group}, Meshes: []MeshInfo{{Name: mesh}}}
	c := Cell{Request: "api", Pods: MultipleNodes, Connections: 8, Mesh: mesh, Attempts: []Attempt{attempt(t, 99)}}
	for _, v := range ms {
		c.Attempts = append(c.Attempts, attempt(t, v))
	}
	r.Cells = []Cell{c}
	return r
}

func TestGroup(t *testing.T) {
	aks, vms := grouped(t, "1", "cloud", "consul-connect", 6, 6.5, 7), grouped(t, "2", "cloud", "ovs", 2, 2.2, 2.4)
	alone, other := grouped(t, "3", "", "ovs", 1), grouped(t, "4", "", "ovs", 1)
	groups, err := Group([]*Result{alone, aks, other, vms, aks})
	if err != nil || len(groups) != 3 || groups[0][0] != alone || len(groups[1]) != 2 || groups[1][1] != vms || groups[2][0] != other {
		t.Fatalf("got %v, %v", groups, err)
	}
	found := GroupFindings(groups[1])
	if len(found) != 2 || found[0].Figure != "avg" || found[1].Figure != "p50" {
		t.Fatalf("got %+v", found)
	}
	// Three values each around 6.5 and 2.2: by hand, exp of the difference of mean logarithms.
	want := math.Exp((math.Log(6) + math.Log(6.5) + math.Log(7) - math.Log(2) - math.Log(2.2) - math.Log(2.4)) / 3)
	f := found[0]
	if math.Abs(f.Ratio-want) > 1e-9 || !f.Apart || f.Base != "ovs" || f.New != "consul-connect" || !(f.Low < want && f.High > want) {
		t.Errorf("got %+v, want %v apart", f, want)
	}
	if got := GroupFindings([]*Result{grouped(t, "1", "c", "consul-connect", 6), grouped(t, "2", "c", "ovs", 2)}); len(got) != 2 || got[0].Bounded() {
		t.Errorf("one attempt each: %+v", got)
	}
	// What one document compares is not compared across documents too.
	both := grouped(t, "5", "cloud", "ovs", 2, 2.2)
	both.Cells = append(both.Cells, grouped(t, "", "", "direct", 1, 1.1).Cells...)
	if got := GroupFindings([]*Result{both, aks}); len(got) != 4 || got[0].Apart || !got[2].Apart {
		t.Errorf("got %+v", got)
	}
	failed := grouped(t, "6", "cloud", "ovs", 2, 2.2)
	failed.Cells[0].Attempts[2].Errors = 1
	if got := GroupFindings([]*Result{aks, failed}); len(got) != 0 {
		t.Errorf("a ratio with a failed attempt: %+v", got)
	}
	if _, err := Group([]*Result{aks, grouped(t, "7", "cloud", "consul-connect", 6)}); err == nil || !strings.Contains(err.Error(), "results 1 and 7 are of one group") {
		t.Errorf("the same cell twice: %v", err)
	}
}
