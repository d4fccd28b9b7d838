package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"meshlab.dev/meshlab/reports/internal/cells"
	"meshlab.dev/meshlab/reports/internal/thesis"
	"meshlab.dev/meshlab/scenarios"
)

// setting is where something was measured: the environment of one result, or
// of several that are one measurement, or the thesis'.
type setting struct {
	name     string              // as in scenarios.Environment.Place; no two are the same
	results  []*scenarios.Result // none: the thesis
	findings []scenarios.Finding // of meshes, in the orientation of the report
	failed   map[string]bool     // cell and mesh with errors, as failureKey has it
}

func failureKey(cell, mesh string) string { return cell + "\n" + mesh }

// settings sorts results into settings, those nearest to the reader first:
// namespaces, Docker, clusters; else they come in the order given. The thesis
// comes last, if a result has one of its cells.
func settings(results []*scenarios.Result) ([]*setting, error) {
	groups, err := scenarios.Group(results)
	if err != nil {
		return nil, err
	}
	var all []*setting
	for _, g := range groups {
		all = append(all, settingOf(g))
	}
	slices.SortStableFunc(all, func(a, b *setting) int { return a.distance() - b.distance() })
	distinct(all, results)
	t, err := thesisSetting(all)
	if err != nil {
		return nil, err
	}
	if t != nil {
		all = append(all, t)
	}
	return all, nil
}

func settingOf(group []*scenarios.Result) *setting {
	s := &setting{results: group, failed: map[string]bool{}}
	meshes := map[string]bool{}
	var places []string
	for _, r := range group {
		for _, m := range r.Meshes {
			meshes[m.Name] = true
		}
		for _, c := range r.Cells {
			meshes[c.Mesh] = true
			if slices.ContainsFunc(c.Attempts, func(a scenarios.Attempt) bool { return a.Errors > 0 }) {
				s.failed[failureKey(c.Point().String(), c.Mesh)] = true
			}
		}
		if p := r.Environment.Place(); !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	s.name = strings.ReplaceAll(together(places, len(group)), " × ", "\u00A0×\u00A0") // no break
	for _, f := range scenarios.GroupFindings(group) {
		// Variants of duets may be builds or labs, which are not the same elsewhere.
		// And a cell with errors, be it in the first attempt, is shown as errors.
		failed := f.Model == scenarios.ClosedLoop && (s.failed[failureKey(f.Cell, f.Base)] || s.failed[failureKey(f.Cell, f.New)])
		if meshes[f.Base] && meshes[f.New] && !failed {
			s.findings = append(s.findings, oriented(f))
		}
	}
	return s
}

// together names n documents of a group by their places: clusters that differ
// in their version alone are told in one.
func together(places []string, n int) string {
	if n == 1 {
		return places[0]
	}
	var versions []string
	same := ""
	for i, p := range places {
		version, rest, _ := strings.Cut(p, ", ")
		if i > 0 && rest != same || !strings.HasPrefix(version, "Kubernetes ") {
			return strings.Join(places, " and ")
		}
		versions, same = append(versions, strings.TrimPrefix(version, "Kubernetes ")), rest
	}
	return commas(fmt.Sprintf("%d clusters, Kubernetes %s", n, strings.Join(versions, " and ")), same)
}

// distance is how far from the reader's machine a setting is.
func (s *setting) distance() int {
	switch e := s.results[0].Environment; {
	case e.Cluster != nil:
		return 2
	case e.Docker != "":
		return 1
	}
	return 0
}

// distinct tells settings of one name apart by the number of their run.
func distinct(all []*setting, results []*scenarios.Result) {
	count := map[string]int{}
	for _, s := range all {
		count[s.name]++
	}
	for _, s := range all {
		if count[s.name] > 1 {
			s.name += fmt.Sprintf(", run %d", slices.Index(results, s.results[0])+1)
		}
	}
}

// oriented turns a ratio so that the mesh that does more for a request is over
// the one that does less: every pair has one orientation in the whole report.
func oriented(f scenarios.Finding) scenarios.Finding {
	if c := rank(f.New) - rank(f.Base); c > 0 || c == 0 && f.New > f.Base {
		return f.Reversed()
	}
	return f
}

// rank is the place of a mesh over others in ratios: the first is over all.
func rank(mesh string) int {
	if i := slices.Index([]string{cells.Connect, cells.OVS, cells.Direct}, mesh); i >= 0 {
		return i
	}
	return 3
}

// thesisSetting has the rows of the thesis' table that a result has too, under
// the result's own names; nil when there is none.
func thesisSetting(all []*setting) (*setting, error) {
	quoted, err := ThesisFindings()
	if err != nil {
		return nil, err
	}
	t := &setting{name: thesis.Place}
	seen := map[string]bool{}
	for _, s := range all {
		for _, f := range s.findings {
			name := thesis.Request(f.Point.Request)
			if f.Model != scenarios.ClosedLoop || name == "" || seen[f.Cell] {
				continue
			}
			asThere := f.Point
			asThere.Request = strings.ToLower(name)
			i := slices.IndexFunc(quoted, func(q scenarios.Finding) bool { return q.Point == asThere })
			if i < 0 || quoted[i].Base != f.Base || quoted[i].New != f.New {
				continue
			}
			seen[f.Cell] = true
			q := quoted[i]
			q.Cell, q.Point = f.Cell, f.Point
			t.findings = append(t.findings, q)
		}
	}
	if len(t.findings) == 0 {
		return nil, nil //nolint:nilnil // no setting
	}
	return t, nil
}

// of returns the findings of one kind of ratio.
func (s *setting) of(k ratioKind) []scenarios.Finding {
	var out []scenarios.Finding
	for _, f := range s.findings {
		if kindOf(f) == k {
			out = append(out, f)
		}
	}
	return out
}

// ratioKind is what ratios must share to be in one table.
type ratioKind struct {
	model      scenarios.Model
	figure     string
	over, mesh string // the ratio is that of mesh to that of over
}

func kindOf(f scenarios.Finding) ratioKind { return ratioKind{f.Model, f.Figure, f.Base, f.New} }

// kinds are those of the settings: the meshes first that do most, closed loops
// before open ones.
func kinds(all []*setting) []ratioKind {
	var out []ratioKind
	for _, s := range all {
		for _, f := range s.findings {
			if k := kindOf(f); !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b ratioKind) int {
		return cmp.Or(rank(a.mesh)-rank(b.mesh), rank(a.over)-rank(b.over), strings.Compare(a.mesh, b.mesh), strings.Compare(a.over, b.over),
			strings.Compare(string(a.model), string(b.model)), strings.Compare(a.figure, b.figure))
	})
	return out
}

// title names a kind of ratio at the head of a table.
func (k ratioKind) title() string {
	loop := "open loop"
	if k.model == scenarios.ClosedLoop {
		loop = "closed loop"
	}
	figure := k.figure
	if figure == "avg" {
		figure = "average"
	}
	return fmt.Sprintf("%s ÷ %s: %s, %s", cells.Label(k.mesh), lower(cells.Label(k.over)), figure, loop)
}

// lower makes the first word of a label one inside a title, but for names.
func lower(label string) string {
	if label == cells.Label(cells.Connect) {
		return label
	}
	return strings.ToLower(label[:1]) + label[1:]
}
