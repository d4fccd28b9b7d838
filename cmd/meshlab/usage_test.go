package main

import (
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/orchestrate/supervisor"
)

// What a user got wrong on the command line has the same exit code whatever
// level of verbs it is of.
func TestWrongUse(t *testing.T) {
	for _, line := range []string{
		"up a b", "link set", "link lst", "fault kill", "fault partition s1", "image push", "cloud plan a b", "agent manifests x",
		"export results.json", "controller", "ps --al", "link list --al",
	} {
		if code := run(t.Context(), strings.Fields(line)); code != exitUsage {
			t.Errorf("%s: exit code %d, want %d", line, code, exitUsage)
		}
	}
}

// Of a mesh and a name that nothing has, the name was meant to be a mesh.
func TestCompareWrongUse(t *testing.T) {
	for line, want := range map[string]string{
		"direct ov":          `unknown mesh "ov"; did you mean "ovs"?`,
		"ov direct":          `unknown mesh "ov"; did you mean "ovs"?`,
		"direct nosuch.yaml": `unknown mesh "nosuch.yaml": it is one of direct, ovs, consul-connect`,
		"direct hashicups":   "direct is a mesh and hashicups is a lab: BASE and NEW must be of one kind",
		"no no.yaml":         `unknown lab "no", and no such file`,
	} {
		args := append([]string{"compare", "--out", t.TempDir()}, strings.Fields(line)...)
		if _, _, err := typed(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// What to type next stands in one column, whatever the lab is called.
func TestPrintUp(t *testing.T) {
	for name, want := range map[string]string{
		"shop":  "  meshlab ps     what runs in it\n  meshlab flows  what the switches do\n  meshlab down   remove it\n",
		"other": "  meshlab ps --lab other     what runs in it\n  meshlab flows --lab other  what the switches do\n  meshlab down other         remove it\n",
	} {
		var b strings.Builder
		printUp(&b, name, supervisor.Status{Lab: "shop"}, time.Second)
		if got := b.String(); !strings.HasSuffix(got, want) {
			t.Errorf("got\n%s\nwant at its end\n%s", got, want)
		}
	}
}
