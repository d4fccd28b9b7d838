package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"meshlab.dev/meshlab/scenarios"
)

// workflow is what the tests look at in a workflow of GitHub Actions.
type workflow struct {
	On          map[string]any    `yaml:"on"`
	Permissions map[string]string `yaml:"permissions"`
	Env         map[string]string `yaml:"env"`
	Jobs        map[string]struct {
		If          string            `yaml:"if"`
		Permissions map[string]string `yaml:"permissions"`
		Timeout     int               `yaml:"timeout-minutes"`
		Steps       []workflowStep    `yaml:"steps"`
	} `yaml:"jobs"`
}

type workflowStep struct {
	Name string            `yaml:"name"`
	Uses string            `yaml:"uses"`
	Run  string            `yaml:"run"`
	Env  map[string]string `yaml:"env"`
	With map[string]any    `yaml:"with"`
}

func readWorkflow(t *testing.T) workflow {
	t.Helper()
	source, err := os.ReadFile("examples/ci/meshlab.yml")
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(source, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// step returns a step by its name, which is unique in the workflow but for
// those that two jobs share word for word.
func (w workflow) step(t *testing.T, name string) workflowStep {
	t.Helper()
	for _, job := range w.Jobs {
		for _, s := range job.Steps {
			if s.Name == name {
				return s
			}
		}
	}
	t.Fatalf("the workflow has no step %q", name)
	return workflowStep{}
}

func TestWorkflowMayDoLittle(t *testing.T) {
	w := readWorkflow(t)
	if len(w.Jobs) != 3 || len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("%d jobs, permissions %v", len(w.Jobs), w.Permissions)
	}
	if _, foreign := w.On["pull_request_target"]; foreign || w.On == nil {
		t.Errorf("it runs on %v", w.On)
	}
	pinned := regexp.MustCompile(`^actions/[a-z/-]+@v[0-9]+$`)
	for name, job := range w.Jobs {
		if job.Timeout == 0 {
			t.Errorf("job %s has no end", name)
		}
		runsCode := false
		for _, s := range job.Steps {
			if s.Uses != "" && !pinned.MatchString(s.Uses) {
				t.Errorf("job %s uses %s, which is not pinned to a major version", name, s.Uses)
			}
			if strings.HasPrefix(s.Uses, "actions/checkout@") {
				runsCode = true
				if s.With["persist-credentials"] != false {
					t.Errorf("job %s leaves its token in the checkout", name)
				}
			}
			// What a pull request can choose is no part of a script.
			if strings.Contains(s.Run, "${{") {
				t.Errorf("job %s, step %s: an expression inside a script", name, s.Name)
			}
		}
		if runsCode && job.Permissions != nil {
			t.Errorf("job %s runs code of the repository with the permissions %v", name, job.Permissions)
		}
	}
}

// inScript finds the uses of meshlab in a shell script: after any path and any
// command before it, over lines that a backslash joins.
func inScript(at, script string) []commandLine {
	var all []commandLine
	for line := range strings.Lines(strings.ReplaceAll(script, "\\\n", " ")) {
		words := strings.Fields(line)
		i := slices.IndexFunc(words, func(w string) bool { return strings.HasSuffix(w, "bin/meshlab") })
		if i < 0 || i+1 == len(words) {
			continue
		}
		all = append(all, commandLine{at, words[i+1:]})
	}
	return all
}

func TestPipelinesUseVerbsAndFlagsThatExist(t *testing.T) {
	var uses []commandLine
	for name, job := range readWorkflow(t).Jobs {
		for _, s := range job.Steps {
			uses = append(uses, inScript("meshlab.yml, job "+name+", step "+s.Name, s.Run)...)
		}
	}
	if len(uses) != 5 {
		t.Fatalf("found %d uses of meshlab in the workflow: %v", len(uses), uses)
	}
	page, err := os.ReadFile("ci.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks("ci.md", string(page)) {
		if b.language != "yaml" {
			continue
		}
		var jobs map[string]struct {
			Script []string `yaml:"script"`
			After  []string `yaml:"after_script"`
		}
		if err := yaml.Unmarshal([]byte(b.text), &jobs); err != nil {
			t.Fatalf("%s: %v", b.at, err)
		}
		for _, j := range jobs {
			uses = append(uses, inScript(b.at, strings.Join(append(j.Script, j.After...), "\n"))...)
		}
	}
	if len(uses) != 7 {
		t.Fatalf("found %d uses of meshlab in pipelines: %v", len(uses), uses)
	}
	bin := buildMeshlab(t)
	for _, c := range uses {
		flags, ok := flagsOf(t, bin, c.words[0])
		if !ok {
			t.Errorf("%s: there is no verb %q", c.at, c.words[0])
			continue
		}
		for _, word := range c.words {
			if endsCommand(word) || word == "||" {
				break
			}
			if flag, _, _ := strings.Cut(word, "="); strings.HasPrefix(flag, "-") && !slices.Contains(flags, flag) {
				t.Errorf("%s: meshlab %s has no flag %s: it has %s", c.at, c.words[0], flag, strings.Join(flags, " "))
			}
		}
	}
	out, err := exec.Command(bin, "compare", "--help").Output()
	if err != nil || !strings.Contains(string(out), "0 PASS, 3 FAIL (a regression), 4 INCONCLUSIVE") {
		t.Errorf("the exit codes of compare are not those of the workflow: %v\n%s", err, out)
	}
}

// The two scripts that turn an exit code into the state of a job, run by bash
// as GitHub does, with a stand-in for sudo and all that it would start.
func TestWorkflowTurnsExitCodesIntoVerdicts(t *testing.T) {
	w := readWorkflow(t)
	for _, row := range []struct {
		code  int
		exit  int
		says  string
		wrote bool
	}{
		{0, 0, "PASS", true},
		{3, 3, "FAIL", true},
		{4, 0, "::warning title=meshlab::INCONCLUSIVE", true},
		{1, 1, "could not compare: exit code 1", false},
		{2, 1, "could not compare: exit code 2", false},
	} {
		dir := t.TempDir()
		stub := "#!/bin/sh\n[ \"$1\" = env ] || exit 99\n"
		if row.wrote {
			stub += "echo a comment > comment.md\n"
		}
		stub += fmt.Sprintf("exit %d\n", row.code)
		if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte(stub), 0o755); err != nil {
			t.Fatal(err)
		}
		run := func(step string, env ...string) (string, int) {
			c := exec.Command("bash", "-e", "-o", "pipefail", "-c", w.step(t, step).Run)
			c.Dir = dir
			c.Env = append(env, "PATH="+dir+":"+os.Getenv("PATH"), "AS_ROOT="+w.Env["AS_ROOT"],
				"GITHUB_OUTPUT="+filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary"))
			out, err := c.CombinedOutput()
			if c.ProcessState == nil {
				t.Fatal(err)
			}
			return string(out), c.ProcessState.ExitCode()
		}
		if out, exit := run("Compare"); exit != 0 {
			t.Errorf("code %d: the step Compare ends with %d: %s", row.code, exit, out)
		}
		output, err := os.ReadFile(filepath.Join(dir, "output"))
		if err != nil || string(output) != fmt.Sprintf("code=%d\n", row.code) {
			t.Errorf("code %d: output %q, %v", row.code, output, err)
		}
		if summary, err := os.ReadFile(filepath.Join(dir, "summary")); (err == nil) != row.wrote || row.wrote && string(summary) != "a comment\n" {
			t.Errorf("code %d: summary %q, %v", row.code, summary, err)
		}
		if out, exit := run("Verdict", fmt.Sprintf("CODE=%d", row.code)); exit != row.exit || !strings.Contains(out, row.says) {
			t.Errorf("code %d: the step Verdict ends with %d and says %q", row.code, exit, out)
		}
	}
	// A job that was stopped before it had a verdict has none.
	c := exec.Command("bash", "-e", "-c", w.step(t, "Verdict").Run)
	c.Env = []string{"CODE="}
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown") {
		t.Errorf("without a code: %v, %s", err, out)
	}
}

// A YAML block that begins with the comment "scenario" is a whole file.
func TestScenariosInDocumentsParse(t *testing.T) {
	n := 0
	for name, text := range documents(t) {
		for _, b := range blocks(name, text) {
			if b.language != "yaml" || !strings.HasPrefix(b.text, "# scenario\n") {
				continue
			}
			n++
			if _, err := scenarios.ParseScenario(b.at, []byte(b.text)); err != nil {
				t.Error(err)
			}
		}
	}
	if n < 2 {
		t.Errorf("only %d scenario files in the documents", n)
	}
}

func TestBuiltinScenariosAreExplained(t *testing.T) {
	page, err := os.ReadFile("scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios.BuiltinScenarios() {
		if row := fmt.Sprintf("\n| `%s` | %s |", s.Name, s.Model); !strings.Contains(string(page), row) {
			t.Errorf("scenarios.md has no row that begins with %q", strings.TrimSpace(row))
		}
	}
}
