package export

import (
	"bytes"
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"meshlab.dev/meshlab/reports/internal/sample"
	"meshlab.dev/meshlab/scenarios"
)

// readMetrics reads the families. The parser is of the older text format, in
// which the times of samples are milliseconds and the end has no mark; what
// it does not check, promtool did when this was written.
func readMetrics(t *testing.T, body []byte) map[string]*dto.MetricFamily {
	t.Helper()
	if !bytes.HasSuffix(body, []byte("\n# EOF\n")) || bytes.Count(body, []byte("# EOF")) != 1 {
		t.Error("it does not end in # EOF")
	}
	var lines [][]byte
	for line := range bytes.Lines(body) {
		if i := bytes.LastIndexByte(line, ' '); line[0] != '#' {
			line = append(line[:i:i], '\n')
		}
		lines = append(lines, line)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(bytes.Join(lines, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func labels(m *dto.Metric) map[string]string {
	all := make(map[string]string)
	for _, l := range m.Label {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

func TestOpenMetricsIsRead(t *testing.T) {
	families := readMetrics(t, write(t, "openmetrics", tiny(t)))
	find := func(family string, want map[string]string) *dto.Metric {
		t.Helper()
		var found *dto.Metric
		for _, m := range families[family].GetMetric() {
			got, fits := labels(m), true
			for k, v := range want {
				fits = fits && got[k] == v
			}
			if fits && found != nil {
				t.Fatalf("%s %v is there twice", family, want)
			}
			if fits {
				found = m
			}
		}
		if found == nil {
			t.Fatalf("no %s %v", family, want)
		}
		return found
	}
	side := map[string]string{"loop": "open", "variant": "ovs (new)", "clock": "intended", "attempts": "all"}
	h := find("meshlab_request_duration_seconds", side).Histogram
	if h.GetSampleCount() != 6 {
		t.Errorf("%d values, want 6", h.GetSampleCount())
	}
	near(t, "sum", h.GetSampleSum(), (2.25+3.25+4.25+5.25+1.25+3.25)/1000)
	want := map[float64]uint64{0.0015: 1, 0.0025: 2, 0.004: 4, 0.0065: 6, 10: 6}
	for _, b := range h.Bucket {
		if n, ok := want[b.GetUpperBound()]; ok && b.GetCumulativeCount() != n {
			t.Errorf("%d values up to %v s, want %d", b.GetCumulativeCount(), b.GetUpperBound(), n)
		}
	}
	q := find("meshlab_request_duration_quantiles_seconds", side).Summary
	if q.Quantile[0].GetQuantile() != 0.5 {
		t.Fatalf("%+v", q)
	}
	near(t, "median", q.Quantile[0].GetValue(), 0.00325)
	side["clock"] = "sent"
	near(t, "service time", find("meshlab_request_duration_seconds", side).Histogram.GetSampleSum(), (2+3+4+5+1+3)/1000.)

	for family, samples := range map[string][]struct {
		labels map[string]string
		want   float64
	}{
		"meshlab_requests_total": {
			{map[string]string{"loop": "closed", "mesh": "ovs", "attempts": "first"}, 3},
			{map[string]string{"loop": "closed", "mesh": "ovs", "attempts": "later"}, 4},
			{map[string]string{"variant": "ovs (new)"}, 8},
		},
		"meshlab_request_errors_total": {
			{map[string]string{"mesh": "consul-connect", "kind": "timeout"}, 3},
			{map[string]string{"variant": "ovs (new)", "kind": "status 500"}, 1},
		},
		"meshlab_cpu_seconds_total": {{map[string]string{"variant": "ovs (base)", "part": "switch"}, 0.4}},
		"meshlab_memory_bytes":      {{map[string]string{"variant": "ovs (new)", "part": "switch"}, 4e6}},
		"meshlab_ratio": {
			{map[string]string{"bound": "estimate"}, 1.25}, {map[string]string{"bound": "low95"}, 1.125},
			{map[string]string{"bound": "high95"}, 1.5}, {map[string]string{"bound": "upper99"}, 1.75},
		},
		"meshlab_p_value":                  {{map[string]string{"metric": "p50"}, 0.5}},
		"meshlab_verdict":                  {{map[string]string{"verdict": "INCONCLUSIVE"}, 1}},
		"meshlab_ramp_requests_per_second": {{map[string]string{"below": "20ms"}, 100}},
		"meshlab_run_info":                 {{map[string]string{"cores": "4"}, 1}},
	} {
		for _, s := range samples {
			m := find(family, s.labels)
			got := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
			near(t, family, got, s.want)
		}
	}
}

// A comparison without latencies FAILs by its errors, and one of few pairs has no
// bounds; neither has a 0 for what is not known.
func TestOpenMetricsOfLittle(t *testing.T) {
	r := tiny(t)
	c := &r.Duets[0].Comparisons[0]
	m := c.Metrics[0]
	m.Low, m.High, m.Bound = 0, 0, 0
	dead := m
	dead.Metric, dead.Ratio = "p99", 0
	c.Metrics = []scenarios.MetricDecision{m, dead}
	c.Verdict, c.Reason = scenarios.Fail, "requests that failed: 4 of 8 (50 %) under ovs (new), 0 of 8 (0 %) under ovs (base)"
	families := readMetrics(t, write(t, "openmetrics", r))
	for family, want := range map[string][]string{
		"meshlab_ratio":   {"p50 estimate"},
		"meshlab_p_value": {"p50 ", "p99 "},
		"meshlab_verdict": {"p50 INCONCLUSIVE", "p99 INCONCLUSIVE", "failures FAIL"},
	} {
		var got []string
		for _, m := range families[family].GetMetric() {
			l := labels(m)
			got = append(got, l["metric"]+" "+l["bound"]+l["verdict"])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", family, got, want)
		}
	}
}

func TestOpenMetricsSamplesAreUnique(t *testing.T) {
	second := sample.Result(sample.Small)
	second.ID = "another"
	for _, results := range [][]*scenarios.Result{{tiny(t)}, {sample.Result(sample.Small), second}} {
		seen := make(map[string]bool)
		for line := range bytes.Lines(write(t, "openmetrics", results...)) {
			if line[0] == '#' {
				continue
			}
			name, _, _ := bytes.Cut(line, []byte("} "))
			if seen[string(name)] {
				t.Errorf("twice: %s", name)
			}
			seen[string(name)] = true
		}
	}
}
