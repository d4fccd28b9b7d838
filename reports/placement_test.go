package reports

import (
	"strings"
	"testing"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/scenarios"
)

// A report of a cluster says which hosts shared a node, wherever it tells of the
// environment, and speaks of no switches and turns that were not there.
func TestPlacement(t *testing.T) {
	r := cluster("aks", cells.Connect, "v1.34.3")
	n := &r.Environment.Cluster.Nodes
	(*n)[1].Zone = "eastus-2"
	*n = append([]scenarios.Node{{Role: scenarios.RoleControlPlane, InstanceType: "Standard_B2s"}}, *n...)
	r.Labs[0].Placement = []scenarios.Placed{{Host: "h1", Node: 1}, {Host: "client", Node: 1}, {Host: "h2", Node: 2}, {Host: "h0", Node: 1}}
	const want = "worker 1 (Standard_B2ms) had client, h0 and h1; worker 2 (Standard_B2ms, zone eastus-2) had h2. Hosts of one node share its processors"
	dir := write(t, r)
	var chapters strings.Builder
	runs, err := Runs([]*scenarios.Result{r})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range runs[0].Chapters {
		for _, b := range c.Blocks {
			chapters.WriteString(c.Title + ": " + b.Text + "\n")
		}
	}
	for name, text := range map[string]string{
		"page": string(read(t, dir, "index.html")), "Markdown": strings.ReplaceAll(string(read(t, dir, "report.md")), `\_`, "_"), "chapters": chapters.String(),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the %s lacks %q", name, want)
		}
		if strings.Contains(text, "the switches only forward") || strings.Contains(text, "The meshes took turns") {
			t.Errorf("the %s speaks of switches, or of turns of one mesh", name)
		}
	}
	if !strings.Contains(chapters.String(), "Environment: Lab ") {
		t.Error("the chapters tell it elsewhere than of the environment")
	}
	r.Labs[0].Placement = r.Labs[0].Placement[2:]
	if s, err := newSection(r, ""); err != nil || strings.Contains(s.placements()[0], "share") {
		t.Errorf("%v; hosts with a node each: %q", err, s.placements())
	}
	if s, err := newSection(smallResult(t), ""); err != nil || len(s.placements()) > 0 {
		t.Errorf("%v; on one machine: %q", err, s.placements())
	}
}

// Names of environments, variants and parts are heads of columns, and one that
// holds markup must stay a head.
func TestMarkdownHeads(t *testing.T) {
	r := smallResult(t)
	got := markdownTable(table{Columns: []column{{"a|b", "<c>"}}, Rows: [][]entry{{text("1")}}})
	if want := "| a\\|b: &lt;c> |\n| --- |\n| 1 |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Command = []string{"meshlab", "bench\n# no heading"}
	if md := string(read(t, write(t, r), "report.md")); !strings.Contains(md, "\n    # no heading'\n") {
		t.Error("a line of the command left its block")
	}
}
