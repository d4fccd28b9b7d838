//go:build integration

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"meshlab.dev/meshlab/reports/gate"
	"meshlab.dev/meshlab/scenarios"
)

// A load that is small enough for a busy machine. The delay is that of the
// service on purpose: without one, medians drift on a busy machine, and each
// warm-up takes the 20 s that it may.
const steady = `name: %s
open: { rate: 200, connections: 16, requests: 200, pairs: [2] }
requests:
  get: { to: web, headers: { Meshlab-Delay: %s } }
steps:
  - { request: get }
`

const (
	fast = "20ms"
	slow = "400ms" // by far more than what a busy machine adds
)

// The whole way of a regression: found, told in every form, and an exit code of
// its own.
func TestCompareFindsARegression(t *testing.T) {
	p := root(t)
	before := inventory(t)
	// Fewer pairs can never FAIL: each of nine must be slower. Fewer connections
	// would not carry the rate. It runs without other tests beside it: with three,
	// on a starved machine, requests failed in both labs, and latencies rightly do
	// not compare then.
	nine := strings.NewReplacer("pairs: [2]", "pairs: [9]", "rate: 200, connections: 16", "rate: 100, connections: 64").Replace(steady)
	p.writeFile(t, "before.yaml", fmt.Sprintf(nine, "before", fast))
	p.writeFile(t, "after.yaml", fmt.Sprintf(nine, "after", slow))
	r := p.run(t, "", "compare", "before.yaml", "after.yaml", "--lab", "single-upstream", "--only", "",
		"--markdown", "comment.md", "--junit", "junit.xml", "--annotate")
	if r.code != exitRegression {
		t.Errorf("what failed: %v", failedRequests(p))
		t.Fatal(r)
	}
	for _, want := range []string{"of 2 figures worse by more than the margin", "::error title=meshlab FAIL%3A p50", "not calibrated"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the output lacks %q:\n%s", want, r.stdout)
		}
	}
	for file, want := range map[string]string{"comment.md": "### meshlab: FAIL", "junit.xml": `<failure message="before in single-upstream (MN): the p50 of after is `} {
		text, err := os.ReadFile(filepath.Join(p.dir, file))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %q (%v):\n%s", file, want, err, text)
		}
	}
	res, err := scenarios.ReadFile(filepath.Join(p.dir, "results", "latest.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := res.Duets[0]
	if c := d.Comparisons[0]; c.Verdict != scenarios.Fail || d.Variants[0].Starts != 9 || d.Variants[1].Starts != 9 {
		t.Errorf("not a FAIL with each pair in labs of its own: %+v, %+v", c, d.Variants)
	}
	if got := d.Comparisons[0].Metrics[0].Ratio; got < 2 {
		t.Errorf("the p50 is %v times as long with %s", got, slow)
	}
	for i, side := range d.Trials[0].Sides {
		if len(d.Trials[0].Costs[i]) < 3 {
			t.Errorf("costs of %s: %+v", d.Variants[i].Name, d.Trials[0].Costs[i])
		}
		if side.Requests != 200 || side.Errors != 0 {
			t.Errorf("side %d: %d requests, %d errors: %v", i, side.Requests, side.Errors, side.ErrorKind)
		}
	}
	// The same run, read again: no regression, and how sure that is depends on
	// how busy the machine was.
	r = p.run(t, "", "compare", filepath.Join("results", res.ID+".json"), filepath.Join("results", "latest.json"), "--output", "json")
	if r.code != 0 && r.code != exitInconclusive || !strings.Contains(r.stderr, "These are two runs") {
		t.Errorf("a file against itself: %s", r)
	}
	if err := same(t, withFiles(before, files(t, p.dir))); err != nil {
		t.Error(err)
	}
}

// failedRequests lists how requests failed in the trials of the last run.
func failedRequests(p person) (all []string) {
	res, err := scenarios.ReadFile(filepath.Join(p.dir, "results", "latest.json"))
	if err != nil {
		return []string{err.Error()}
	}
	for _, d := range res.Duets {
		for i, trial := range d.Trials {
			for j, side := range trial.Sides {
				if side.Errors > 0 {
					all = append(all, fmt.Sprintf("trial %d, %s: %v", i+1, d.Variants[j].Name, side.ErrorKind))
				}
			}
		}
	}
	return all
}

// Two builds of one source are no regression.
func TestCompareBuilds(t *testing.T) {
	p := root(t)
	before := inventory(t)
	p.writeFile(t, "light.yaml", fmt.Sprintf(steady, "light", fast))
	bin := filepath.Join(os.Getenv(binVar), "bin", "meshlab")
	r := p.run(t, "", "compare", "--base-bin", bin, "--new-bin", bin, "--lab", "single-upstream", "--scenario", "light.yaml", "--output", "json")
	var out struct {
		Verdict scenarios.Verdict `json:"verdict"`
		Figures []gate.Row        `json:"figures"`
		Results string            `json:"results"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("%v: %s", err, r)
	}
	// On a busy machine it may stay inconclusive.
	if r.code != 0 && r.code != exitInconclusive || out.Verdict == scenarios.Fail || len(out.Figures) != 2 {
		t.Errorf("%s: %+v", r, out)
	}
	res, err := scenarios.ReadFile(filepath.Join(p.dir, out.Results))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range res.Duets[0].Variants {
		if v.Build == "" {
			t.Errorf("variant %s does not say which build it is", v.Name)
		}
	}
	r = p.run(t, "", "compare", "--base-bin", "/bin/true", "--new-bin", bin)
	if r.code != exitUsage || !strings.Contains(r.stderr, "/bin/true") {
		t.Errorf("a program that is not meshlab: %s", r)
	}
	if err := same(t, withFiles(before, files(t, p.dir))); err != nil {
		t.Error(err)
	}
}

// What can be known beforehand is told before a lab is up.
func TestCompareRefuses(t *testing.T) {
	p := root(t)
	p.writeFile(t, "a.yaml", fmt.Sprintf(steady, "a", fast))
	p.writeFile(t, "b.yaml", strings.Replace(fmt.Sprintf(steady, "b", fast), "200", "100", 1))
	p.writeFile(t, "broken.json", "{")
	p.writeFile(t, "foreign.json", "{}")
	for _, tc := range []struct{ args, want string }{
		{"ovs", "name BASE and NEW"},
		{"ovs hashicups", "must be of one kind"},
		{"ovs drect", "drect"},
		{"a.yaml b.yaml --lab single-upstream", "differ in their load"},
		{"a.yaml a.yaml --lab single-upstream --scenario open", "leave --scenario out"},
		{"direct ovs --scenario thesis", "closed loop"},
		{"direct ovs --scenario none", "none"},
		{"direct ovs --only nothing", "nothing"},
		{"broken.json foreign.json", "ends in the middle"},
		{"foreign.json foreign.json", "not a result document"},
		{"direct ovs --base-bin x", "--new-bin"},
	} {
		r := p.run(t, "", append([]string{"compare"}, strings.Fields(tc.args)...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("compare %s: want exit code 2 and %q: %s", tc.args, tc.want, r)
		}
	}
}

// A calibration is told by the reports that come after it, and a run can be
// made again from its report alone.
func TestCalibrateAndReproduce(t *testing.T) {
	p := root(t)
	p.env = append(p.env, "XDG_STATE_HOME="+filepath.Join(p.dir, "state"))
	before := inventory(t)
	three := strings.Replace(steady, "[2]", "[3]", 1) // fewer pairs have no interval
	p.writeFile(t, "light.yaml", fmt.Sprintf(three, "light", fast))
	r := p.run(t, "", "calibrate", "single-upstream", "--scenario", "light.yaml", "--pairs", "3", "--verdicts", "10", "--effects", "50")
	if r.code != 0 || !strings.Contains(r.stdout, "+50 % added") || !strings.Contains(r.stdout, "Stored in") {
		t.Fatal(r)
	}
	told := p.ok(t, "bench", "single-upstream", "--mesh", "direct,ovs", "--scenario", "light.yaml", "--log")
	if !strings.Contains(told, "Calibrated on") {
		t.Errorf("the verdict does not tell of the calibration: %s", told)
	}
	logs, err := filepath.Glob(filepath.Join(p.dir, "results", "*.requests.csv.gz"))
	if err != nil || len(logs) != 1 {
		t.Errorf("logs of requests: %v, %v", logs, err)
	}
	p.ok(t, "report", "results/latest.json", "--out", "report", "--pdf")
	for _, format := range []string{"benchfmt", "csv", "openmetrics", "smp"} {
		if out := p.ok(t, "export", "results/latest.json", "--format", format); len(out) < 100 {
			t.Errorf("as %s: %q", format, out)
		}
	}
	p.ok(t, "export", "results/latest.json", "--format", "fortio", "--out", "fortio")
	// A calibration that cannot be read costs no results.
	kept, err := filepath.Glob(filepath.Join(p.dir, "state", "meshlab", "calibration", "*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("calibrations: %v, %v", kept, err)
	}
	if err := os.WriteFile(kept[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	r = p.run(t, "", "reproduce", filepath.Join("report", "index.html"), "--output", "json")
	if r.code != 0 || !strings.Contains(r.stderr, "'meshlab calibrate --fresh' makes it anew") {
		t.Error(r)
	}
	told = r.stdout
	var again struct {
		Replications []scenarios.Replication `json:"replications"`
	}
	if err := json.Unmarshal([]byte(told), &again); err != nil {
		t.Fatalf("%v: %s", err, told)
	}
	if len(again.Replications) != 2 {
		t.Errorf("%d ratios were held against the report's 2: %s", len(again.Replications), told)
	}
	for _, one := range again.Replications {
		if one.Outcome == scenarios.NotMeasured {
			t.Errorf("%+v was not measured", one.Original)
		}
	}
	if err := same(t, withFiles(before, files(t, p.dir))); err != nil {
		t.Error(err)
	}
}

// Ctrl-C in the middle of trials leaves neither labs nor half a result.
func TestInterruptedDuet(t *testing.T) {
	p := root(t)
	before := inventory(t)
	p.writeFile(t, "light.yaml", fmt.Sprintf(steady, "light", fast))
	cmd := p.command(t.Context(), "bench", "single-upstream", "--mesh", "direct,ovs", "--scenario", "light.yaml", "--log")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		told.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "lab for ovs") { // the duet comes next
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	text := told.String()
	_ = cmd.Wait() // its code is what counts
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(text, "interrupted; no lab is left") {
		t.Errorf("exit code %d: %s", code, text)
	} else if left, _ := os.ReadDir(filepath.Join(p.dir, "results")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := same(t, withFiles(before, files(t, p.dir))); err != nil {
		t.Error(err)
	}
}
