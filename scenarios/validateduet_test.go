package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"meshlab.dev/meshlab/scenarios/stats"
)

// pairedResult is a document with everything that came with schema_version 2.
func pairedResult(t testing.TB) *Result {
	t.Helper()
	g := simulation(1, same, simulatedSide{p50: 1.3, p99: 1.3, errors: 0.0005})
	g.late = 0.1
	c := simulatedConfig("a", "b")
	c.Rule = Rule{Looks: []int{4}, Hypotheses: 8, Margins: DefaultRule(Alive, 0).Margins}
	h := alive(t, g)
	h.Costs = func(context.Context, int) ([]Cost, error) { return []Cost{{"switch", float64(g.trials), 1 << 20}}, nil }
	h.Knee = func(context.Context, int) (float64, error) { return 1000, nil }
	d, err := RunDuet(t.Context(), c, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Trials {
		d.Trials[i].Sides[0].Windows = []Window{{At: 0, N: 50, P50: 1, P99: 2}, {At: 0.5}}
	}
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	environment := Host()
	environment.Fingerprint = environment.Sum()
	outcome := d.Trials[0].Sides[1]
	return &Result{
		SchemaVersion: SchemaVersion, ID: NewID(start, [4]byte{1, 2, 3, 4}), Started: start, Finished: start.Add(time.Minute),
		Command: []string{"meshlab", "compare"}, Environment: environment,
		Meshes: []MeshInfo{{Name: "ovs"}}, Labs: []LabInfo{{Name: "hashicups", Pods: MultipleNodes}},
		Scenarios: []ScenarioInfo{{Name: "open", File: "name: open\n"}},
		Duets:     []Duet{*d},
		Ramps: []Ramp{{
			Scenario: "open", Lab: "hashicups", Pods: MultipleNodes, Mesh: "ovs", Objective: Objective{Percentile: 99, Below: time.Second},
			Steps: []RampStep{{Rate: 100, Achieved: 99.5, Outcome: outcome, Kept: true}}, Highest: 100, End: EndMaximum,
		}},
		Waterfalls: []Waterfall{{
			Request: "api", Lab: "hashicups", Pods: MultipleNodes, Mesh: "ovs", Requests: 10, Plain: 1, Tapped: 1.1,
			Spans: []Span{{Kind: SpanClient, Where: "client", What: "request", Duration: 0.1, P95: 0.2}},
		}},
		Calibration: &Calibration{
			Fingerprint: environment.Fingerprint, Made: start, Lab: "hashicups", Scenario: "open", Mesh: "ovs", Load: d.Load, Verdicts: 20, LabStarts: 2,
			FalseFails: map[string]int{"p50": 0, "p99": 1}, Undecided: map[string]int{"p50": 0, "p99": 4},
			Pairs: 14, Effects: []Effect{{Injected: 0.1, Delay: 100 * time.Microsecond, Reached: 0.11, Verdicts: 10, Found: map[string]int{"p50": 10, "p99": 3}, Pairs: 10}}, Smallest: 0.1,
		},
	}
}

func TestWriteAndReadPaired(t *testing.T) {
	path := t.TempDir() + "/result.json"
	want := pairedResult(t)
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("what was read back is not what was written")
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := compileSchema(t).Validate(file); err != nil { // it has no cells, and lists of nothing
		t.Errorf("the file does not match the schema: %v", err)
	}
	// Whoever reads the document comes to the same verdicts.
	d := got.Duets[0]
	for i, c := range Decide(d.Variants, d.Rule, d.Trials) {
		stored := d.Comparisons[i]
		if c.Verdict != stored.Verdict || c.Metrics[0].Ratio != stored.Metrics[0].Ratio || c.Metrics[0].PAdjusted != stored.Metrics[0].PAdjusted {
			t.Errorf("decided again:\n%+v\nstored:\n%+v", c, stored)
		}
	}
}

func TestReadVersion1(t *testing.T) {
	r, err := ReadFile("testdata/result-1.json")
	if err != nil {
		t.Fatal(err)
	}
	if r.SchemaVersion != 1 || len(r.Cells) != 2 || r.Cells[1].Attempts[1].Errors != 1 || r.Labs[0].Traffic == nil || len(r.Duets) != 0 {
		t.Errorf("got %+v", r)
	}
	if err := Write(t.TempDir()+"/again.json", r); err == nil || !strings.Contains(err.Error(), "schema_version 1: this meshlab writes 2") {
		t.Errorf("written again: %v", err)
	}
}

// wide is a histogram of one value that needs 50 MB.
func wide(t testing.TB) string {
	t.Helper()
	h := hdrhistogram.New(1, math.MaxInt64, 5)
	if err := h.RecordValue(1000); err != nil {
		t.Fatal(err)
	}
	s, err := stats.EncodeHDR(h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A queue that grew for minutes is no nonsense: it is above the histogram's end.
func TestLatenciesAboveTheHistogram(t *testing.T) {
	s := SideOutcome{Requests: 100, Latency: simulatedDistribution(1, stats.HDRHighestMicros/1000, 100), Service: simulatedDistribution(1, 2, 100)}
	s.Latency.P99, s.Latency.Max = 90_000, 233_000
	if err := s.validate(); err != nil {
		t.Error(err)
	}
	s.Latency = simulatedDistribution(1, 50_000, 100)
	s.Latency.Max = 233_000
	if err := s.validate(); err == nil || !strings.Contains(err.Error(), "hdr ends at 50") {
		t.Errorf("a histogram that ends before: %v", err)
	}
}

func TestValidatePaired(t *testing.T) {
	trial := func(r *Result) *Trial { return &r.Duets[0].Trials[1] }
	side := func(r *Result) *SideOutcome { return &trial(r).Sides[1] }
	metric := func(r *Result) *MetricDecision { return &r.Duets[0].Comparisons[0].Metrics[1] }
	tests := []struct {
		name   string
		change func(*Result)
		want   string
	}{
		{"lab", func(r *Result) { r.Duets[0].Lab = "other" }, `duets[0]: the document has no lab "other"`},
		{"no lab", func(r *Result) { r.Duets[0].Lab = "" }, "lab, or scenario and request, are empty"},
		{"lab of a variant", func(r *Result) { r.Duets[0].Variants[1].Lab = "other" }, `no lab "other"`},
		{"mesh of a variant", func(r *Result) { r.Duets[0].Variants[1].Mesh = "istio" }, `no mesh "istio"`},
		{"scenario", func(r *Result) { r.Scenarios = nil }, `no scenario "open"`},
		{"scenario of a variant", func(r *Result) { r.Duets[0].Variants[0].Script = "mix" }, `no scenario "mix"`},
		{"scenario twice", func(r *Result) { r.Scenarios = append(r.Scenarios, r.Scenarios[0]) }, "scenarios[1]: name \"open\""},
		{"pods", func(r *Result) { r.Duets[0].Pods = "" }, `pods ""`},
		{"method", func(r *Result) { r.Duets[0].Method = "" }, `method ""`},
		{"trials of two runs", func(r *Result) { r.Duets[0].Method = Across }, "they belong to the two runs"},
		{"one variant", func(r *Result) { r.Duets[0].Variants = r.Duets[0].Variants[:1] }, "1 variants"},
		{"rule", func(r *Result) { r.Duets[0].Rule.Looks = []int{0} }, "looks [0]"},
		{"hypotheses", func(r *Result) { r.Duets[0].Rule.Hypotheses = 1e6 }, "1000000 hypotheses"},
		{"knee of nobody", func(r *Result) { r.Duets[0].Knee[0].Variant = "c" }, `knee[0]: there is no variant "c"`},
		{"knee", func(r *Result) { r.Duets[0].Knee[0].Rate = math.Inf(1) }, "knee[0]: rate_per_second is +Inf"},
		{"rate", func(r *Result) { r.Duets[0].Load.Rate = math.NaN() }, "rate_per_second is NaN"},
		{"steal", func(r *Result) { trial(r).Steal = 1.1 }, "steal_ratio is 1.1"},
		{"busy", func(r *Result) { trial(r).Busy = math.NaN() }, "busy_ratio is NaN"},
		{"costs", func(r *Result) { trial(r).Costs = trial(r).Costs[:1] }, "costs of 1 variants"},
		{"cost", func(r *Result) { trial(r).Costs[1][0].CPUSeconds = -1 }, "cpu_seconds of switch is -1"},
		{"a side missing", func(r *Result) { trial(r).Sides = trial(r).Sides[:1] }, "1 of 2 variants were active"},
		{"a side asleep", func(r *Result) { *side(r) = SideOutcome{} }, "1 of 2 variants were active"},
		{"one at a time", func(r *Result) { r.Duets[0].Method = ABBA; trial(r).Sides[0] = SideOutcome{} }, "1 of 2 variants were active"},
		{"more errors than requests", func(r *Result) { side(r).Errors = 101 }, "101 errors of 100"},
		{"kinds", func(r *Result) { side(r).ErrorKind = map[string]int{"x": 1}; side(r).Errors = 0 }, "add up to 1"},
		{"latency without answers", func(r *Result) { side(r).Errors = 100; side(r).ErrorKind = map[string]int{"x": 100} }, "without any answer"},
		{"not a number", func(r *Result) { side(r).Latency.P99 = math.NaN() }, "sides[1]: latency: p99_ms is NaN"},
		{"zero", func(r *Result) { side(r).Service.Min = 0 }, "service: min_ms is 0"},
		{"order", func(r *Result) { side(r).Latency.P90 = 1e9 }, "not in order"},
		{"no histogram", func(r *Result) { side(r).Latency.HDR = "" }, "no histogram"},
		{"damaged histogram", func(r *Result) { side(r).Latency.HDR = "AAAA" }, "decode HDR"},
		{"cut histogram", func(r *Result) { h := &side(r).Latency.HDR; *h = (*h)[:len(*h)/2] }, "decode HDR"},
		{"wide histogram", func(r *Result) { side(r).Latency.HDR = wide(t) }, "5 digits up to 9223372036854775807 us"},
		{"histogram of another count", func(r *Result) { side(r).Latency = simulatedDistribution(1, 2, 7) }, "hdr holds 7 values"},
		{"histogram of others, at its end", func(r *Result) { side(r).Latency.Max = 90_000 }, "max_ms is 90000"},
		{"histogram of others", func(r *Result) { side(r).Latency.HDR = simulatedDistribution(1, 500, 100).HDR }, "hdr ends at 500"},
		{"window", func(r *Result) { trial(r).Sides[0].Windows[0].P50 = math.NaN() }, "windows[0]: p50_ms is NaN"},
		{"lateness", func(r *Result) { trial(r).Generator.Lateness.Max = math.Inf(1) }, "generator.lateness: max_ms"},
		{"processor of the generator", func(r *Result) { trial(r).Generator.CPUSeconds = -1 }, "generator.cpu_seconds is -1"},
		{"no base", func(r *Result) { r.Duets[0].Comparisons[0].Base = "b" }, "want the first variant"},
		{"no such variant", func(r *Result) { r.Duets[0].Comparisons[0].New = "c" }, "comparisons[0] (c against a)"},
		{"verdict", func(r *Result) { r.Duets[0].Comparisons[0].Verdict = "" }, `verdict ""`},
		{"verdict of a metric", func(r *Result) { metric(r).Verdict = "GOOD" }, `verdict "GOOD"`},
		{"metric", func(r *Result) { metric(r).Metric = "p90" }, `no metric "p90"`},
		{"metric twice", func(r *Result) { metric(r).Metric = "p50" }, "p50 is decided twice"},
		{"more pairs than trials", func(r *Result) { metric(r).Pairs = 5 }, "decided by 5 pairs, there are 4"},
		{"ratio", func(r *Result) { metric(r).Ratio = math.NaN() }, "p99: ratio is NaN"},
		{"bound", func(r *Result) { metric(r).Bound = math.Inf(1) }, "bound is +Inf"},
		{"p", func(r *Result) { metric(r).PAdjusted = 1.5 }, "p_adjusted is 1.5"},
		{"ramp", func(r *Result) { r.Ramps[0].Mesh = "istio" }, `ramps[0]: the document has no mesh "istio"`},
		{"objective", func(r *Result) { r.Ramps[0].Objective.Below = 0 }, "objective: 0s"},
		{"step of a ramp", func(r *Result) { r.Ramps[0].Steps[0].Achieved = math.NaN() }, "steps[0]: achieved_per_second is NaN"},
		{"waterfall", func(r *Result) { r.Waterfalls[0].Request = "" }, "waterfalls[0]: lab, mesh or request"},
		{"span", func(r *Result) { r.Waterfalls[0].Spans[0].P95 = math.NaN() }, "spans[0]: p95_ms is NaN"},
		{"calls within a span", func(r *Result) { r.Waterfalls[0].Spans[0].Within = -1 }, "spans[0]: within_ms is -1"},
		{"fingerprint", func(r *Result) { r.Calibration.Fingerprint = "../../etc" }, `fingerprint "../../etc"`},
		{"false fails", func(r *Result) { r.Calibration.FalseFails["p50"] = 21 }, "false_fails of p50 is 21, of 20"},
		{"effect", func(r *Result) { r.Calibration.Effects[0].Found["p50"] = 11 }, "effects[0]: found of p50 is 11, of 10"},
		{"reached", func(r *Result) { r.Calibration.Effects[0].Reached = math.NaN() }, "reached + 1 is NaN"},
	}
	sample, err := json.Marshal(pairedResult(t)) // it takes a while to make
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(bytes.NewReader(sample)); err != nil {
		t.Fatalf("the sample: %v", err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Result
			if err := json.Unmarshal(sample, &r); err != nil {
				t.Fatal(err)
			}
			tt.change(&r)
			if err := r.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	across := pairedResult(t)
	across.Duets[0].Method, across.Duets[0].Trials = Across, nil
	if err := across.Validate(); err != nil {
		t.Errorf("two runs: %v", err)
	}
}
