package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what the tests read of the file for Grafana.
type dashboard struct {
	UID           string
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name       string
			Type       string
			Definition string
		}
	}
	Panels []struct {
		ID         int
		Type       string
		Title      string
		GridPos    struct{ H, W, X, Y int }
		Datasource struct{ UID string }
		Targets    []struct {
			RefID string
			Expr  string
		}
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile("../../docs/grafana/meshlab.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries are the questions of the dashboard, by panel, with Grafana's
// variables as they are when everything is selected.
func (d dashboard) queries() map[string][]string {
	vars := strings.NewReplacer("$__rate_interval", "1m", "$datapath", ".*", "$source", ".*", "$destination", ".*")
	all := map[string][]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], vars.Replace(target.Expr))
		}
	}
	return all
}

// metricsOf lists the names and the labels of each metric of a page.
func metricsOf(page string) map[string][]string {
	all := map[string][]string{}
	line := regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `)
	labels := regexp.MustCompile(`([a-z_]+)="`)
	for _, m := range line.FindAllStringSubmatch(page, -1) {
		if all[m[1]] == nil {
			all[m[1]] = []string{"job", "instance"} // Prometheus adds them
		}
		for _, l := range labels.FindAllStringSubmatch(m[2], -1) {
			all[m[1]] = append(all[m[1]], l[1])
		}
	}
	return all
}

var (
	metricInQuery = regexp.MustCompile(`\b((?:meshlab|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)
	labelInQuery  = regexp.MustCompile(`([a-z_]+)[=!]~?"`)
	groupInQuery  = regexp.MustCompile(`\b(?:by|on) \(([a-z_, ]*)\)`)
)

// missing names what a query asks for and the page does not have.
func missing(query string, have map[string][]string) []string {
	var all, known []string
	for _, m := range metricInQuery.FindAllStringSubmatch(query, -1) {
		labels, ok := have[m[1]]
		known = append(known, labels...)
		if !ok {
			all = append(all, m[1])
		}
		for _, l := range labelInQuery.FindAllStringSubmatch(m[2], -1) {
			if ok && !slices.Contains(labels, l[1]) {
				all = append(all, m[1]+"{"+l[1]+"}")
			}
		}
	}
	for _, m := range groupInQuery.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(m[1], ", ") {
			if !slices.Contains(known, l) {
				all = append(all, "{"+l+"}")
			}
		}
	}
	return all
}

func TestMissing(t *testing.T) {
	have := metricsOf("meshlab_a_total{x=\"1\",y=\"2\"} 3\nmeshlab_b 4\n")
	for query, want := range map[string]string{
		`rate(meshlab_a_total{x=~".*",y!="z"}[1m]) / meshlab_b`: "",
		`sum(meshlab_c) + meshlab_b{job="j"}`:                   "meshlab_c",
		`meshlab_a_total{z=~".*"}`:                              "meshlab_a_total{z}",
		`meshlab_b{x="1"} or meshlab_bb`:                        "meshlab_b{x} meshlab_bb",
		`sum by (x, z) (meshlab_a_total)`:                       "{z}",
		`meshlab_a_total * on (w) meshlab_b`:                    "{w}",
	} {
		if got := strings.Join(missing(query, have), " "); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
}

func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	have := metricsOf(scrape(t, newBusyExporter(t)))
	shown := map[string]bool{}
	for panel, queries := range d.queries() {
		for _, q := range queries {
			if strings.Contains(q, "$") {
				t.Errorf("panel %q: a variable that the dashboard does not have in %s", panel, q)
			}
			for _, name := range missing(q, have) {
				t.Errorf("panel %q asks for %s, which is not on the page", panel, name)
			}
			for _, m := range metricInQuery.FindAllStringSubmatch(q, -1) {
				shown[m[1]] = true
			}
		}
	}
	for name := range have {
		if strings.HasPrefix(name, "meshlab_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 39 {
		t.Errorf("head of the dashboard: %q, %q, schema %d", d.UID, d.Title, d.SchemaVersion)
	}
	if len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
		t.Error("the source of the data cannot be chosen")
	}
	for _, v := range d.Templating.List[1:] {
		for _, name := range missing(strings.Replace(v.Definition, "label_values(", "", 1), have) {
			t.Errorf("variable %s asks for %s, which is not on the page", v.Name, name)
		}
	}
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: no query, or not of the chosen source", p.Title)
		}
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q leaves the grid of 24 columns", p.Title)
		}
	}
}
