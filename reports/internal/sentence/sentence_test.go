package sentence

import (
	"math"
	"strings"
	"testing"
	"time"

	"meshlab.dev/meshlab/scenarios"
)

func duet(names ...string) scenarios.Duet {
	d := scenarios.Duet{Scenario: "open", Request: "frontend", Pods: scenarios.MultipleNodes}
	for _, n := range names {
		mesh, _, _ := strings.Cut(n, " ")
		d.Variants = append(d.Variants, scenarios.Variant{Name: n, Mesh: mesh})
	}
	return d
}

func metric(name string, pairs int, ratio, low, high float64, v scenarios.Verdict) scenarios.MetricDecision {
	margin := 0.05
	if name == "p99" {
		margin = 0.1
	}
	return scenarios.MetricDecision{Metric: name, Margin: margin, Pairs: pairs, Ratio: ratio, Low: low, High: high, Verdict: v}
}

func TestComparison(t *testing.T) {
	p50 := metric("p50", 30, 0.62, 0.60, 0.64, scenarios.Pass)
	p99 := metric("p99", 30, 0.71, 0.65, 0.78, scenarios.Pass)
	builds := duet("ovs (base)", "ovs (new)")
	mix := duet("direct", "ovs")
	mix.Request, mix.Scenario = "", "shop"
	http2 := duet("direct", "kuma")
	http2.Scenario, http2.Request, http2.Pods = "open-http2", "coffees", scenarios.SingleNode
	for name, tt := range map[string]struct {
		d    scenarios.Duet
		c    scenarios.Comparison
		want string
	}{
		"the issue's": {duet("consul-connect", "ovs"), scenarios.Comparison{Base: "consul-connect", New: "ovs", Metrics: []scenarios.MetricDecision{p50, p99}},
			"Frontend, several nodes: with the mesh in the switches the median answer takes 0.62 times as long as under Consul Connect (95\u00a0% interval 0.60 to 0.64, 30 pairs); the 99th percentile 0.71 times (0.65 to 0.78)."},
		"other numbers of pairs": {builds, scenarios.Comparison{Base: "ovs (base)", New: "ovs (new)", Metrics: []scenarios.MetricDecision{metric("p50", 10, 1.0021, 0.9987, 1.0052, scenarios.Pass), p99}},
			"Frontend, several nodes: with ovs (new) the median answer takes 1.002 times as long as with ovs (base) (95\u00a0% interval 0.999 to 1.005, 10 pairs); the 99th percentile 0.71 times (0.65 to 0.78, 30 pairs)."},
		"a mix": {mix, scenarios.Comparison{Base: "direct", New: "ovs", Metrics: []scenarios.MetricDecision{p99}},
			"shop, several nodes: with the mesh in the switches the 99th percentile takes 0.71 times as long as with plain switching (95\u00a0% interval 0.65 to 0.78, 30 pairs)."},
		"another scenario": {http2, scenarios.Comparison{Base: "direct", New: "kuma", Metrics: []scenarios.MetricDecision{metric("p50", 1, 12.34, 11.2, 13.9, scenarios.Fail)}},
			"API (scenario open-http2), single node: with kuma the median answer takes 12.3 times as long as with plain switching (95\u00a0% interval 11.2 to 13.9, 1 pair)."},
		"no interval": {duet("direct", "ovs"), scenarios.Comparison{Base: "direct", New: "ovs", Metrics: []scenarios.MetricDecision{metric("p50", 2, 0.743, 0, 0, scenarios.Inconclusive), metric("p99", 2, 1.077, 0, 0, scenarios.Inconclusive)}},
			"Frontend, several nodes: with the mesh in the switches the median answer takes 0.74 times as long as with plain switching (too few pairs for an interval, 2 pairs); the 99th percentile 1.08 times (too few pairs for an interval)."},
		"no ratio": {duet("direct", "ovs"), scenarios.Comparison{Base: "direct", New: "ovs", Metrics: []scenarios.MetricDecision{metric("p50", 0, 0, 0, 0, scenarios.Inconclusive), metric("p99", 3, math.NaN(), 1, math.Inf(1), scenarios.Inconclusive)}},
			"Frontend, several nodes: what the answers take with the mesh in the switches cannot be set against what they take with plain switching, for no pair of trials has latencies on both sides."},
	} {
		if got := Comparison(tt.d, tt.c); got != tt.want {
			t.Errorf("%s: got\n%s, want\n%s", name, got, tt.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	slow := []scenarios.MetricDecision{metric("p50", 10, 1.2, 1.1, 1.3, scenarios.Fail), metric("p99", 10, 1.2, 0.9, 1.4, scenarios.Inconclusive)}
	for name, tt := range map[string]struct {
		c    scenarios.Comparison
		want string
	}{
		"faster": {scenarios.Comparison{Verdict: scenarios.Pass, Metrics: []scenarios.MetricDecision{metric("p50", 10, 0.6, 0.5, 0.7, scenarios.Pass), metric("p99", 10, 0.6, 0.5, 0.99, scenarios.Pass)}},
			"It is not slower by the margin (5\u00a0% at p50 and 10\u00a0% at p99) or more; it is faster, for the intervals lie below 1."},
		"the same": {scenarios.Comparison{Verdict: scenarios.Pass, Metrics: []scenarios.MetricDecision{metric("p50", 10, 1, 0.98, 1.02, scenarios.Pass)}},
			"It is not slower by the margin (5\u00a0% at p50) or more."},
		"slower": {scenarios.Comparison{Verdict: scenarios.Fail, Metrics: slow}, "It is slower by more than the margin (5\u00a0% at p50)."},
		"undecided": {scenarios.Comparison{Verdict: scenarios.Inconclusive, Metrics: slow, Reason: "too many for a PASS"},
			"The trials do not tell whether it is slower by the margin (10\u00a0% at p99) or more: this is no proof that it is not. Too many for a PASS."},
		"by errors": {scenarios.Comparison{Verdict: scenarios.Fail, Reason: "éxtra errors."}, "More of its requests fail. Éxtra errors."},
		"nothing":   {scenarios.Comparison{Verdict: scenarios.Inconclusive}, "The trials do not tell."},
	} {
		if got := Verdict(tt.c); got != tt.want {
			t.Errorf("%s: got\n%s, want\n%s", name, got, tt.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	ratio := func(v, low, high float64) string {
		a, b, c := Ratio(v, low, high)
		return a + " " + b + " " + c
	}
	for _, tt := range []struct{ got, want string }{
		{ratio(0.634, 0.630, 0.638), "0.634 0.630 0.638"},
		{ratio(1, 0.5, 2), "1.00 0.50 2.00"},
		{ratio(1, 1, 1), "1.00 1.00 1.00"},
		{ratio(1.00004, 1.00001, 1.00008), "1.0000 1.0000 1.0001"},
		{Percent(0.05), "5\u00a0%"}, {Percent(0.005), "0.5\u00a0%"}, {Percent(1), "100\u00a0%"}, {Percent(0), "0\u00a0%"}, {Percent(0.123), "12\u00a0%"},
		{Share(0, 0), "unknown"}, {Share(3, 2), "unknown"}, {Share(2, 2), "2 of 2 (100\u00a0%)"},
		// The rule of three: with none in n, the bound is close to 3/n.
		{Share(0, 1000), "0 of 1000 (0\u00a0%)"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestCalibration(t *testing.T) {
	c := scenarios.Calibration{Fingerprint: "a", Made: time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC), Lab: "hashicups", Request: "api", Mesh: "ovs", Scenario: "open",
		Load: scenarios.OpenLoad{Rate: 400}, Verdicts: 200, LabStarts: 150, FalseFails: map[string]int{"p99": 2, "p50": 0},
		Undecided: map[string]int{"p50": 3}, Pairs: 11.4, Smallest: 0.1}
	foreign, blind := c, c
	foreign.Fingerprint = "b"
	blind.Smallest = 0
	r := func(c *scenarios.Calibration) *scenarios.Result {
		return &scenarios.Result{Calibration: c, Environment: scenarios.Environment{Fingerprint: "a"}}
	}
	for name, tt := range map[string]struct {
		r     *scenarios.Result
		sure  bool
		first string
		all   string
	}{
		"calibrated": {r(&c), true, "False alarms when a mesh was compared with itself, in verdicts drawn from 150 pairs of labs: p50 0 of 200 (0\u00a0%); p99 2 of 200 (1\u00a0%).",
			"Calibrated on 3 February 2026 by meshlab with the request api of the lab hashicups under the mesh in the switches, scenario open, 400 requests per second and side; 11.4 pairs per verdict on average; inconclusive of 200: p50 3."},
		"not":     {r(nil), false, "This machine is not calibrated: how often its verdicts are false alarms, and how small a slowdown they find, is unknown.", "meshlab calibrate"},
		"empty":   {r(&scenarios.Calibration{Fingerprint: "a"}), false, "This machine is not calibrated: how often its verdicts are false alarms, and how small a slowdown they find, is unknown.", ""},
		"foreign": {r(&foreign), false, "The calibration is that of another machine or of other software than this run's, so it says little about these verdicts; “meshlab calibrate” makes a new one.", "False alarms"},
		"blind":   {r(&blind), true, "False alarms when", "a PASS says little here"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Calibration(tt.r)
			if !strings.HasPrefix(got[0], tt.first) {
				t.Errorf("begins\n%s, want\n%s", got[0], tt.first)
			}
			if !strings.Contains(strings.Join(got, " "), tt.all) {
				t.Errorf("%q lacks %q", got, tt.all)
			}
			if Calibrated(tt.r) != tt.sure {
				t.Errorf("calibrated: %v", !tt.sure)
			}
		})
	}
}

func TestPairedMethod(t *testing.T) {
	d := duet("direct", "ovs")
	d.Load = scenarios.OpenLoad{Arrivals: scenarios.Poisson, Rate: 400}
	d.Trials = []scenarios.Trial{{TrialOutcome: scenarios.TrialOutcome{Sides: []scenarios.SideOutcome{{Requests: 600}, {Requests: 600}}}}}
	d.Comparisons = []scenarios.Comparison{{Metrics: []scenarios.MetricDecision{{Pairs: 10}, {Pairs: 20}}}}
	abba := d
	abba.Method, abba.Load.Rate = scenarios.ABBA, 250
	abba.Comparisons = nil
	r := &scenarios.Result{ID: "x", Seed: 7, Duets: []scenarios.Duet{d, abba}}
	text := strings.Join(PairedMethod(r), "\n")
	for _, want := range []string{
		"(20 pairs per comparison, 600 requests per variant and trial)", "sent 250 to 400 requests per second to each variant, one to each in random order, with Poisson arrivals of all together;",
		"(meshlab unknown, seed 7, run x)", "In a duet", "Under ABBA", "It is decided after 10, 14 and 20, or 30 pairs.", "With more than one in a thousand of a variant there is no PASS",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if text, want := ForThesis(&scenarios.Result{Duets: []scenarios.Duet{abba}}), "to each variant, one variant at a time in randomised ABBA order, with Poisson arrivals;"; !strings.Contains(text, want) {
		t.Errorf("lacks %q:\n%s", want, text)
	}
	const own = "Each pair of trials has labs of its own"
	if strings.Contains(text, own) {
		t.Errorf("labs that came up once:\n%s", text)
	}
	d.Trials = append(d.Trials, d.Trials[0])
	for i := range d.Variants {
		d.Variants[i].Starts = 2
	}
	if text := strings.Join(PairedMethod(&scenarios.Result{Duets: []scenarios.Duet{d}}), "\n"); !strings.Contains(text, own) {
		t.Errorf("lacks %q:\n%s", own, text)
	}
	if PairedMethod(&scenarios.Result{}) != nil {
		t.Error("a method of paired trials without any")
	}
	empty := PairedMethod(&scenarios.Result{Duets: []scenarios.Duet{{}}})
	if strings.Contains(strings.Join(empty, ""), "%!") {
		t.Errorf("%q", empty)
	}
}
