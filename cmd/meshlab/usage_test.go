package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
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

// A file of another kind is told as one; its keys would all be mistakes.
func TestWrongKindOfFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"load.yaml":    "# mine\nname: load\nopen: { rate: 5 }\n",
		"closed.yaml":  "name: load\nclosed: {}\n",
		"lab.yaml":     "name: mine\nnodes:\n  h1: { kind: host }\n",
		"results.json": "{\n \"schema_version\": 2,\n \"id\": \"x\"\n}\n",
		"both.yaml":    "name: mine\nnodes: {}\nopen: {}\n",
		"neither.yaml": "name: mine\nopn: {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const scenario, lab, results = ": this is a scenario file: ", ": this is a lab file: ", ": these are results: "
	for _, row := range []struct{ file, asLab, asScenario string }{
		{"load.yaml", ":3:1" + scenario, ""},
		{"closed.yaml", ":2:1" + scenario, ""},
		{"lab.yaml", "", ":2:1" + lab},
		{"results.json", ":1:1" + results, ":1:1" + results},
		{"both.yaml", `unknown key "open"`, `unknown key "nodes"`},
		{"neither.yaml", `unknown key "opn"`, `unknown key "opn"; did you mean "open"?`},
	} {
		file := filepath.Join(dir, row.file)
		if _, err := loadLab(file); row.asLab != "" && (err == nil || !strings.Contains(err.Error(), row.asLab)) {
			t.Errorf("%s as a lab: %v, want %q", row.file, err, row.asLab)
		}
		if _, err := loadScenario(file); row.asScenario != "" && (err == nil || !strings.Contains(err.Error(), row.asScenario)) {
			t.Errorf("%s as a scenario: %v, want %q", row.file, err, row.asScenario)
		}
	}
}

// What validate finds is told as JSON too, right or wrong.
func TestValidateAsJSON(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"bad.yaml":  "name: bad\nnodez: {}\n",
		"fine.yaml": "name: fine\nnodes:\n  h1: { kind: host }\n  s1: { kind: switch }\nlinks:\n  - endpoints: [\"h1:eth1\", \"s1:1\"]\n",
		"load.yaml": "name: load\nopen: { rate: fast }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string][]mistake{
		"fine.yaml":            nil,
		"fine.yaml bad.yaml":   {{"bad.yaml", 1, 1, `needs the key "nodes"`}},
		"no.yaml":              {{"no.yaml", 0, 0, "unknown lab"}},
		"--scenario load.yaml": {{"load.yaml", 2, 15, `rate "fast"`}},
	} {
		out, errs, err := typed(t, append([]string{"validate", "--output", "json"}, strings.Fields(line)...)...)
		if want == nil {
			var lab struct{ Name string }
			if jerr := json.Unmarshal([]byte(out), &lab); err != nil || jerr != nil || lab.Name != "fine" {
				t.Errorf("%s: %v, %v: %s", line, err, jerr, out)
			}
			continue
		}
		var code exitCode
		if !errors.As(err, &code) || code != exitUsage || errs != "" {
			t.Errorf("%s: %v, standard error %q", line, err, errs)
		}
		var got []mistake
		if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) == 0 {
			t.Errorf("%s: %v: %s", line, err, out)
			continue
		}
		message := got[0].Message
		got[0].Message = want[0].Message
		if got[0] != want[0] || !strings.Contains(message, want[0].Message) {
			t.Errorf("%s: %s, want first %+v", line, out, want[0])
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

func TestLabAsJSON(t *testing.T) {
	text, _, err := typed(t, "labs", "hashicups")
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := typed(t, "labs", "hashicups", "--output", "json")
	var got map[string]string
	if jerr := json.Unmarshal([]byte(out), &got); err != nil || jerr != nil || got["name"] != "hashicups" || got["file"] != text {
		t.Errorf("%v, %v: %s", err, jerr, out)
	}
}
