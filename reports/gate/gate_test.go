package gate

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// document has a FAIL, a PASS and an INCONCLUSIVE, with names that every form
// of output has to quote.
func document() *scenarios.Result {
	metric := func(name string, ratio, low, high, margin float64, v scenarios.Verdict) scenarios.MetricDecision {
		return scenarios.MetricDecision{Metric: name, Ratio: ratio, Low: low, High: high, Bound: high, Margin: margin, Pairs: 20, Verdict: v}
	}
	trial := func(base, changed float64, flags ...scenarios.Flag) scenarios.Trial {
		side := func(v float64) scenarios.SideOutcome {
			return scenarios.SideOutcome{Requests: 1000, Latency: scenarios.Distribution{P50: v, P99: 4 * v}}
		}
		return scenarios.Trial{TrialOutcome: scenarios.TrialOutcome{Sides: []scenarios.SideOutcome{side(base), side(changed)}}, Flags: flags}
	}
	begin := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	return &scenarios.Result{
		ID: "20261121T120000Z-00000000", Started: begin, Finished: begin.Add(90 * time.Second),
		Environment: scenarios.Environment{CPU: "Example CPU | 2 GHz", Cores: 2, Kernel: "Linux 6.18"},
		Duets: []scenarios.Duet{{
			Scenario: "open", Request: "frontend", Lab: "hashicups", Pods: scenarios.MultipleNodes,
			Variants: []scenarios.Variant{{Name: "base", Mesh: "ovs"}, {Name: "new|<b>", Mesh: "ovs"}},
			Trials:   []scenarios.Trial{trial(1, 1.2), trial(1.1, 1.3, scenarios.Flag{Kind: scenarios.FlagSteal, Detail: "steal 3 %"}), trial(0.9, 1.1)},
			Comparisons: []scenarios.Comparison{{Base: "base", New: "new|<b>", Verdict: scenarios.Fail, Metrics: []scenarios.MetricDecision{
				metric("p50", 1.182, 1.16, 1.2, 0.05, scenarios.Fail), metric("p99", 1.05, 0.98, 1.13, 0.1, scenarios.Inconclusive)}}},
		}, {
			Scenario: "browse", Lab: "hashicups", Pods: scenarios.MultipleNodes,
			Variants: []scenarios.Variant{{Name: "base", Mesh: "ovs"}, {Name: "new|<b>", Mesh: "ovs"}},
			Comparisons: []scenarios.Comparison{{Base: "base", New: "new|<b>", Verdict: scenarios.Pass, Reason: "a reason: 5 %, or more", Metrics: []scenarios.MetricDecision{
				metric("p50", 1.001, 0.99, 1.01, 0.05, scenarios.Pass)}}},
		}},
	}
}

func TestForms(t *testing.T) {
	for _, tc := range []struct {
		file  string
		write func(*strings.Builder, *scenarios.Result) error
	}{
		{"text.txt", func(b *strings.Builder, r *scenarios.Result) error { return Text(b, r) }},
		{"comment.md", func(b *strings.Builder, r *scenarios.Result) error { return Markdown(b, r) }},
		{"junit.xml", func(b *strings.Builder, r *scenarios.Result) error { return JUnit(b, r) }},
		{"annotations.txt", func(b *strings.Builder, r *scenarios.Result) error { return Annotations(b, r) }},
	} {
		t.Run(tc.file, func(t *testing.T) {
			var b strings.Builder
			if err := tc.write(&b, document()); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", tc.file)
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s\nIf that is meant: go test ./reports/gate -update", b.String(), want)
			}
		})
	}
}

func TestJUnitCounts(t *testing.T) {
	var b strings.Builder
	if err := JUnit(&b, document()); err != nil {
		t.Fatal(err)
	}
	var s struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	if err := xml.Unmarshal([]byte(b.String()), &s); err != nil {
		t.Fatal(err)
	}
	if s.Tests != 3 || s.Failures != 1 || s.Skipped != 1 {
		t.Errorf("got %+v, want 3 tests, 1 failure, 1 skipped", s)
	}
}

func TestOverall(t *testing.T) {
	duets := func(verdicts ...scenarios.Verdict) (all []scenarios.Duet) {
		for _, v := range verdicts {
			all = append(all, scenarios.Duet{Comparisons: []scenarios.Comparison{{Verdict: v}}})
		}
		return all
	}
	for _, tc := range []struct {
		given []scenarios.Duet
		want  scenarios.Verdict
	}{
		{nil, scenarios.Inconclusive},
		{duets(scenarios.Pass, scenarios.Pass), scenarios.Pass},
		{duets(scenarios.Pass, scenarios.Inconclusive), scenarios.Inconclusive},
		{duets(scenarios.Inconclusive, scenarios.Fail, scenarios.Pass), scenarios.Fail},
	} {
		if got := Overall(tc.given); got != tc.want {
			t.Errorf("%+v: got %s, want %s", tc.given, got, tc.want)
		}
	}
}

// A FAIL by requests that failed is one in every form, though each latency may
// be as good as before.
func TestFailByErrors(t *testing.T) {
	r := document()
	c := &r.Duets[1].Comparisons[0]
	c.Verdict, c.Reason = scenarios.Fail, "requests that failed: 200 of 10000 (2 %) under new, 0 of 10000 (0 %) under base"
	c.Metrics[0].Verdict = scenarios.Inconclusive
	r.Duets = r.Duets[1:]
	if got, want := Headline(r.Duets), "FAIL: requests fail more often in 1 comparison."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for want, write := range map[string]func(*strings.Builder) error{
		`tests="2" failures="1" skipped="1"`: func(b *strings.Builder) error { return JUnit(b, r) },
		"::error title=meshlab FAIL%3A failures of browse::browse in hashicups (MN): more requests fail under new|<b> than under base; requests that failed: 200": func(b *strings.Builder) error { return Annotations(b, r) },
		"| FAIL | browse | MN | failures | base |": func(b *strings.Builder) error { return Markdown(b, r) },
		"FAIL: requests fail more often":           func(b *strings.Builder) error { return Text(b, r) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v: got\n%s\nwant %q in it", err, b.String(), want)
		}
	}
}

// Two runs have many meshes and numbers of connections, and no two rows are about
// the same in any form.
func TestRowsOfTwoRunsAreToldApart(t *testing.T) {
	r := sample.Result()
	var err error
	if r.Duets, err = scenarios.CompareRuns(r, r); err != nil {
		t.Fatal(err)
	}
	var text, comment, junit, annotations strings.Builder
	if err := errors.Join(Text(&text, r), Markdown(&comment, r), JUnit(&junit, r), Annotations(&annotations, r)); err != nil {
		t.Fatal(err)
	}
	var s suite
	if err := xml.Unmarshal([]byte(junit.String()), &s); err != nil {
		t.Fatal(err)
	}
	rows := Rows(r.Duets)
	if len(rows) < 20 || len(s.Cases) != len(rows) {
		t.Fatalf("%d rows, %d cases", len(rows), len(s.Cases))
	}
	var loads, cases, figures []string
	for i, row := range rows {
		cases = append(cases, s.Cases[i].Class+" "+s.Cases[i].Name)
		loads = append(loads, fmt.Sprint(row.Load(), row.Pods, row.Metric))
		row.MetricDecision = scenarios.MetricDecision{Metric: row.Metric}
		figure, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		figures = append(figures, string(figure))
	}
	for form, all := range map[string][]string{"table": loads, "JUnit": cases, "JSON": figures} {
		slices.Sort(all)
		if n := len(slices.Compact(all)); n < len(rows) {
			t.Errorf("%s: only %d of %d rows differ", form, n, len(rows))
		}
	}
	for want, got := range map[string]string{
		"  frontend, consul-connect, 8 connections    MN     p50  ":         text.String(),
		"| frontend, consul-connect, 8 connections | MN | p50 | ":           comment.String(),
		"p50 of frontend%2C consul-connect%2C 8 connections::":              annotations.String(),
		": frontend, consul-connect, 8 connections (MN)\">":                 junit.String(),
		"frontend of open, ovs, 16 connections (MN), " + r.ID + " against ": text.String(),
		`"mesh":"consul-connect","connections":8,"base_ms":0,"new_ms":0,`:   strings.Join(figures, "\n"),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// Both sides of a row have a mesh, or are meshes.
func TestMeshOfARow(t *testing.T) {
	r := document()
	if got := Rows(r.Duets)[0]; got.Mesh != "ovs" {
		t.Errorf("two builds under ovs: %+v", got)
	}
	r.Duets[0].Variants[0].Mesh = "direct"
	if got := Rows(r.Duets)[0]; got.Mesh != "" {
		t.Errorf("two meshes: %+v", got)
	}
}

// One pair has a ratio, and no interval.
func TestNoInterval(t *testing.T) {
	row := Row{Base: "a", New: "b", MetricDecision: scenarios.MetricDecision{Metric: "p50", Ratio: 1.04, Pairs: 1, Margin: 0.05}}
	if got := span(row); got != "-" {
		t.Errorf("span: %q", got)
	}
	if got := row.Sentence(); !strings.Contains(got, "1.040 times") || !strings.Contains(got, "no interval, 1 pair;") {
		t.Error(got)
	}
	row.Low, row.High = 1, 1.1
	if got := row.Sentence() + span(row); !strings.Contains(got, "95 % interval 1.000 to 1.100, 1 pair;") || !strings.Contains(got, ")1.000 to 1.100") {
		t.Error(got)
	}
}

func TestTrust(t *testing.T) {
	if got := Trust(nil); !strings.Contains(got, "not calibrated") || !strings.Contains(got, "meshlab calibrate") {
		t.Errorf("without a calibration: %q", got)
	}
	got := Trust(&scenarios.Calibration{Made: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Mesh: "ovs", Request: "api", Lab: "shop", Verdicts: 200,
		FalseFails: map[string]int{"p50": 1}, Smallest: 0.1})
	for _, want := range []string{"20 November 2026 with api in shop", "1 of 200 for p50", "0 of 200 for p99", "+10 %"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

// A calibration is of paired trials: a verdict over two runs does not borrow it.
func TestTrustOfTwoRuns(t *testing.T) {
	r := document()
	r.Calibration = &scenarios.Calibration{Verdicts: 200}
	for i := range r.Duets {
		r.Duets[i].Method = scenarios.Across
	}
	for name, write := range map[string]func(*strings.Builder) error{
		"text": func(b *strings.Builder) error { return Text(b, r) }, "Markdown": func(b *strings.Builder) error { return Markdown(b, r) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); strings.Contains(got, "Calibrated on") || !strings.Contains(got, "How often a verdict over two runs is wrong is not known") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
