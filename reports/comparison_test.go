package reports

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

// cluster is a document of one cluster of a cloud lab, under one mesh.
func cluster(id, mesh string, kubernetes string) *scenarios.Result {
	r := sample.Result(sample.Small, sample.OnlyCells)
	r.ID = id
	r.Cells = slices.DeleteFunc(r.Cells, func(c scenarios.Cell) bool { return c.Mesh != mesh })
	r.Meshes = slices.DeleteFunc(r.Meshes, func(m scenarios.MeshInfo) bool { return m.Name != mesh })
	node := scenarios.Node{Role: scenarios.RoleWorker, InstanceType: "Standard_B2ms", Region: "eastus", Cores: 2, MemoryBytes: 8 << 30}
	r.Environment.Runtime, r.Environment.Group = scenarios.Kubernetes, "cloud-1"
	r.Environment.Cluster = &scenarios.Cluster{Kubernetes: kubernetes, Cloud: "azure", Nodes: []scenarios.Node{node, node}}
	return r
}

// surroundings are a local run, one on Docker, and one of two clusters.
func surroundings() []*scenarios.Result {
	local, boxed := sample.Result(sample.Small, sample.OnlyCells), sample.Result(sample.Small, sample.OnlyCells)
	boxed.ID, boxed.Environment.Runtime, boxed.Environment.Docker = "docker", "docker", "28.5.2"
	for i := range boxed.Cells { // slower by half under every mesh, so no ratio changes
		for k := range boxed.Cells[i].Attempts {
			a := &boxed.Cells[i].Attempts[k]
			a.Avg, a.P50 = a.Avg*1.0001, a.P50*1.0001
		}
	}
	return []*scenarios.Result{cluster("aks", cells.Connect, "v1.34.3"), boxed, local, cluster("vms", cells.OVS, "v1.33.1")}
}

func TestSettings(t *testing.T) {
	all, err := settings(surroundings())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	want := []string{"namespaces on one machine, 2 cores", "Docker 28.5.2 on one machine, 2 cores",
		"2 clusters, Kubernetes 1.34 and 1.33, 2\u00A0×\u00A0Standard_B2ms in eastus (Azure)",
		"the thesis' two clusters in Azure, 2022"}
	if !slices.Equal(names, want) {
		t.Fatalf("got %q, want %q", names, want)
	}
	for i, s := range all {
		for _, f := range s.findings {
			if f.New == cells.OVS && f.Base != cells.Direct || f.Base == cells.Connect || f.Apart != (i >= 2) {
				t.Errorf("%s: %+v", s.name, f)
			}
		}
	}
	for want, places := range map[string][]string{
		"2 clusters, Kubernetes 1.34, 2 × A in b":           {"Kubernetes 1.34, 2 × A in b"},
		"2 clusters, Kubernetes 1.34":                       {"Kubernetes 1.34"},
		"Kubernetes 1.34, 2 × A and Kubernetes 1.34, 1 × C": {"Kubernetes 1.34, 2 × A", "Kubernetes 1.34, 1 × C"},
		"Kubernetes 1.34 and namespaces on one machine":     {"Kubernetes 1.34", "namespaces on one machine"},
	} {
		if got := together(places, 2); got != want {
			t.Errorf("%q are %q, want %q", places, got, want)
		}
	}
	same := []*scenarios.Result{sample.Result(sample.Small, sample.OnlyCells), sample.Result(sample.Small, sample.OnlyCells)}
	same[1].ID = "again"
	if all, err = settings(same); err != nil || all[0].name != "namespaces on one machine, 2 cores, run 1" || all[1].name != "namespaces on one machine, 2 cores, run 2" {
		t.Errorf("%v; two runs of one machine are %q and %q", err, all[0].name, all[1].name)
	}
}

// Two environments whose ratios are the same are told to be so, whatever their
// times are, and the clusters' ratios are marked as of different machines.
func TestComparison(t *testing.T) {
	results := surroundings()
	fail(t, &results[1].Cells[2].Attempts[0], 1, "timeout") // Consul Connect, frontend, 1 connection, on Docker
	c, err := newComparison(results)
	if err != nil {
		t.Fatal(err)
	}
	tables := c.Ratios()
	if len(tables) != 4 || !strings.HasPrefix(tables[0].Caption, "Consul Connect ÷ mesh in the switches: average, closed loop.") || len(tables[0].Columns) != 3+4 {
		t.Fatalf("%d tables, the first %+v", len(tables), tables[0])
	}
	row := tables[0].Rows[0]
	if row[0].Text != "frontend" || row[4].Text != "errors" || !strings.HasSuffix(row[5].Text, " "+apartMark) || !strings.HasSuffix(row[6].Text, " "+apartMark) && row[6].Text != "–" {
		t.Errorf("the first cell is %+v", row)
	}
	if strings.Contains(fmt.Sprint(tables[2]), apartMark) {
		t.Errorf("ratios to plain switching are not of different machines: %+v", tables[2])
	}
	for _, p := range c.predictions() {
		if p.from == c.Settings[0] && p.to == c.Settings[1] && (p.Same != p.Cells-p.Open || p.Largest > 1.001 || p.Within != p.Cells) {
			t.Errorf("the same ratios: %+v", p.Prediction)
		}
	}
	told := fmt.Sprint(c.Told())
	for _, want := range []string{"Namespaces on one machine, 2 cores, beside Docker 28.5.2 on one machine, 2 cores: of Consul Connect and the mesh in the switches", "too few to tell"} {
		if !strings.Contains(told, want) {
			t.Errorf("it does not tell %q:\n%s", want, told)
		}
	}
	if len(c.Figures()) != len(c.Told()) || !strings.Contains(strings.Join(c.Notes(), " "), apartMark) {
		t.Errorf("%d figures and %d sentences, notes %q", len(c.Figures()), len(c.Told()), c.Notes())
	}
}

// What no two environments have is nothing to compare.
func TestComparisonOfNothing(t *testing.T) {
	a, b := fakeResult(t, []string{"get"}, []scenarios.Pods{scenarios.SingleNode}, []int{1}, 20, 3), fakeResult(t, []string{"put"}, []scenarios.Pods{scenarios.SingleNode}, []int{1}, 20, 3)
	b.ID = "other"
	if c, err := newComparison([]*scenarios.Result{a, b}); c != nil || err != nil {
		t.Errorf("got %+v, %v", c, err)
	}
	b.Environment.Group, a.Environment.Group = "g", "g"
	b.Cells = slices.Clone(a.Cells)
	if _, err := newComparison([]*scenarios.Result{a, b}); err == nil || !strings.Contains(err.Error(), "one group") {
		t.Errorf("one cell twice in a group: %v", err)
	}
}

func TestWriteComparison(t *testing.T) {
	dir := write(t, surroundings()...)
	page, md := string(read(t, dir, "index.html")), string(read(t, dir, "report.md"))
	wellFormed(t, "index.html", []byte(page))
	for _, want := range []string{`<a href="#environments">Environments side by side, and the thesis</a>`, `id="environments"`, "†", "2 × Standard_B2ms", "Kendall"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if !strings.Contains(md, "\n# Environments side by side, and the thesis\n") || !strings.Contains(md, "](figures/environments-1.png)") {
		t.Errorf("report.md lacks the comparison:\n%.3000s", md)
	}
	read(t, dir, "figures", "environments-1.png")
	chapters, err := Together(surroundings())
	if err != nil || len(chapters) != 1 || len(chapters[0].Blocks) < 8 {
		t.Errorf("in print: %v, %+v", err, chapters)
	}
	if chapters, err := Together(surroundings()[2:3]); err != nil || chapters != nil {
		t.Errorf("of one result: %v, %+v", err, chapters)
	}
}
