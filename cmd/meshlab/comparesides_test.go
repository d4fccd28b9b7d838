package main

import (
	"os"
	"path/filepath"
	"testing"

	"meshlab.dev/meshlab/scenarios"
)

// Two scenarios of one name are both in the document, and each variant says which of
// them it was sent.
func TestSidesOfScenariosOfOneName(t *testing.T) {
	dir := t.TempDir()
	file := func(name, request string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("name: mix\nopen: {}\nsteps:\n  - request: "+request+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, tc := range map[string]struct {
		base, changed string
		labels, names [2]string
		stored        int
	}{
		"one file name":  {file("old/mix.yaml", "frontend"), file("new/mix.yaml", "api"), [2]string{"mix (base)", "mix (new)"}, [2]string{"mix (base)", "mix (new)"}, 2},
		"two file names": {file("a.yaml", "frontend"), file("b.yaml", "api"), [2]string{"a", "b"}, [2]string{"mix (base)", "mix (new)"}, 2},
		"the same text":  {file("c.yaml", "api"), file("d.yaml", "api"), [2]string{"c", "d"}, [2]string{"mix", "mix"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			sides, err := compareFlags{lab: defaultLab, mesh: "ovs"}.sides(t.Context(), []string{tc.base, tc.changed})
			if err != nil {
				t.Fatal(err)
			}
			r := &measurement{res: &scenarios.Result{}}
			plan := duetPlan{script: sides[0].script, sides: sides}
			for i, s := range sides {
				r.addScenario(s.script)
				v := s.variant(plan)
				if v.Name != tc.labels[i] || v.Script != tc.names[i] {
					t.Errorf("variant %d: %+v", i, v)
				}
				stored := ""
				for _, info := range r.res.Scenarios {
					if info.Name == v.Script {
						stored = info.File
					}
				}
				if stored != string(s.script.source) {
					t.Errorf("the document has for %s:\n%s", v.Script, stored)
				}
			}
			if got := len(r.res.Scenarios); got != tc.stored {
				t.Errorf("%d scenarios are stored, want %d", got, tc.stored)
			}
		})
	}
}
