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
		"export results.json", "controller", "ps --al", "link list --al", "completion bsh", "completion bash x",
	} {
		if code := run(t.Context(), strings.Fields(line)); code != exitUsage {
			t.Errorf("%s: exit code %d, want %d", line, code, exitUsage)
		}
	}
}

// A mistyped verb gets the nearest ones, at each level.
func TestUnknownVerbs(t *testing.T) {
	for line, want := range map[string]string{
		"dwn":            "unknown verb \"dwn\"; did you mean down?\nSee 'meshlab --help'",
		"fault kil":      "unknown verb \"kil\"; did you mean kill?\nSee 'meshlab fault --help'",
		"link lst":       "unknown verb \"lst\"; did you mean list",
		"cloud plna":     "unknown verb \"plna\"; did you mean plan",
		"image psh":      "unknown verb \"psh\"; did you mean push?\nSee 'meshlab image --help'",
		"agent manifsts": "unknown verb \"manifsts\"; did you mean manifests?\nSee 'meshlab agent --help'",
		"completion bsh": "unknown verb \"bsh\"; did you mean bash",
		"fault xxxxxx":   "unknown verb \"xxxxxx\"\nSee 'meshlab fault --help'",
	} {
		if _, _, err := typed(t, strings.Fields(line)...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	for _, line := range []string{"fault", "link", "cloud", "image", "completion"} {
		if out, _, err := typed(t, line); err != nil || !strings.Contains(out, "Usage:") {
			t.Errorf("%s: no help: %v\n%s", line, err, out)
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
