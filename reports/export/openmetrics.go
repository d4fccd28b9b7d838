package export

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"meshlab.dev/meshlab/reports/gate"
	"meshlab.dev/meshlab/scenarios"
)

// writeOpenMetrics writes the results as metric families (OpenMetrics 1.0,
// text format). Each sample has the end of its run as its time, so that a
// Prometheus can take the file in ("promtool tsdb create-blocks-from
// openmetrics").
func writeOpenMetrics(w io.Writer, runs []run) error {
	f := newFamilies()
	for _, r := range runs {
		f.at = r.Finished.UnixMilli()
		f.environment(r)
		for _, s := range r.series {
			if s.loop == rampLoop {
				continue // their points have loads of their own; below is what they found
			}
			if err := f.measured(r, s); err != nil {
				return fmt.Errorf("%s: %w", s.key, err)
			}
		}
		for i := range r.Ramps {
			f.ramp(r, r.Ramps[i])
		}
		for i := range r.Duets {
			f.compared(r, r.Duets[i])
		}
	}
	for _, name := range f.order {
		family := f.byName[name]
		if len(family.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToOpenMetrics(w, family); err != nil {
			return err
		}
	}
	_, err := expfmt.FinalizeOpenMetrics(w)
	return err
}

// families collects samples by metric family, as the format wants them.
type families struct {
	byName map[string]*dto.MetricFamily
	order  []string
	at     int64 // of the samples that are added: milliseconds since 1970
}

func newFamilies() *families {
	f := &families{byName: make(map[string]*dto.MetricFamily)}
	for _, d := range []struct {
		name, unit string
		kind       dto.MetricType
		help       string
	}{
		{"meshlab_run_info", "", dto.MetricType_GAUGE, "The run and the machine it was made on."},
		{"meshlab_requests_total", "", dto.MetricType_COUNTER, "Requests that were made, with those that failed."},
		{"meshlab_request_errors_total", "", dto.MetricType_COUNTER, "Requests that failed, by kind."},
		{"meshlab_request_duration_seconds", "seconds", dto.MetricType_HISTOGRAM, "Time of successful requests, by where it counts from."},
		{"meshlab_request_duration_quantiles_seconds", "seconds", dto.MetricType_SUMMARY, "The same, as quantiles of all values."},
		{"meshlab_cpu_seconds_total", "seconds", dto.MetricType_COUNTER, "Processor time that a part of the lab used during the trials."},
		{"meshlab_memory_bytes", "bytes", dto.MetricType_GAUGE, "Memory of a part of the lab, the largest at the end of a trial."},
		{"meshlab_ratio", "", dto.MetricType_GAUGE, "Latency of a variant by that of the base: the estimate and its bounds."},
		{"meshlab_p_value", "", dto.MetricType_GAUGE, "Signed-rank test of a ratio above 1, adjusted by Holm."},
		{"meshlab_verdict", "", dto.MetricType_GAUGE, "1 for the verdict on a metric, or on requests that failed."},
		{"meshlab_ramp_requests_per_second", "", dto.MetricType_GAUGE, "Highest rate that kept the objective."},
	} {
		family := &dto.MetricFamily{Name: proto.String(d.name), Help: proto.String(d.help), Type: d.kind.Enum()}
		if d.unit != "" {
			family.Unit = proto.String(d.unit)
		}
		f.byName[d.name] = family
		f.order = append(f.order, d.name)
	}
	return f
}

// add adds a sample; labels are names and values in turn.
func (f *families) add(name string, labels []string, m *dto.Metric) {
	for i := 0; i+1 < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(labels[i]), Value: proto.String(labels[i+1])})
	}
	m.TimestampMs = proto.Int64(f.at)
	family := f.byName[name]
	family.Metric = append(family.Metric, m)
}

func (f *families) gauge(name string, labels []string, v float64) {
	f.add(name, labels, &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(tenDigits(v))}})
}

func (f *families) counter(name string, labels []string, v float64) {
	f.add(name, labels, &dto.Metric{Counter: &dto.Counter{Value: proto.Float64(tenDigits(v))}})
}

func (f *families) environment(r run) {
	e := r.Environment
	f.gauge("meshlab_run_info", []string{
		"run", r.ID, "meshlab", e.Meshlab, "place", e.Place(), "os", e.OS, "kernel", e.Kernel, "cpu", e.CPU, "cores", strconv.Itoa(e.Cores),
		"virtualization", e.Virtualization, "open_vswitch", e.OpenVSwitch, "datapath", e.Datapath,
		"consul", e.Consul, "proxy", e.Proxy, "fingerprint", e.Fingerprint,
	}, 1)
}

// metricLabels are on every sample of a series, also where they are empty:
// the samples of a family should all have the same names.
func metricLabels(r run, s series, which string) []string {
	return []string{
		"run", r.ID, "loop", string(s.loop), "scenario", s.scenario, "request", s.request, "lab", s.lab, "pods", string(s.pods),
		"mesh", s.mesh, "variant", s.variant, "connections", strconv.Itoa(s.connections), "rate", number(s.rate), "attempts", which,
	}
}

// measured adds what a series came to: the first attempt of a closed loop
// apart from the others, all trials of a duet together.
func (f *families) measured(r run, s series) error {
	if s.loop == openLoop {
		return f.points(r, s, "all", s.points)
	}
	if err := f.points(r, s, "first", s.points[:1]); err != nil {
		return err
	}
	if len(s.points) == 1 {
		return nil
	}
	return f.points(r, s, "later", s.points[1:])
}

func (f *families) points(r run, s series, which string, points []point) error {
	labels := metricLabels(r, s, which)
	requests, failed := 0, make(map[string]int)
	cpu, memory := make(map[string]float64), make(map[string]uint64)
	for _, p := range points {
		requests += p.requests
		known := 0
		for kind, n := range p.kinds {
			failed[kind] += n
			known += n
		}
		if p.errors > known {
			failed["unknown"] += p.errors - known
		}
		for _, c := range p.costs {
			cpu[c.Part] += c.CPUSeconds
			memory[c.Part] = max(memory[c.Part], c.MemoryBytes)
		}
	}
	f.counter("meshlab_requests_total", labels, float64(requests))
	for _, kind := range slices.Sorted(maps.Keys(failed)) {
		f.counter("meshlab_request_errors_total", append(slices.Clone(labels), "kind", kind), float64(failed[kind]))
	}
	for _, part := range slices.Sorted(maps.Keys(cpu)) {
		l := append(slices.Clone(labels), "part", part)
		f.counter("meshlab_cpu_seconds_total", l, cpu[part])
		f.gauge("meshlab_memory_bytes", l, float64(memory[part]))
	}
	if err := f.durations(append(slices.Clone(labels), "clock", s.clock()), points, latencyOf); err != nil {
		return err
	}
	return f.durations(append(slices.Clone(labels), "clock", "sent"), points, serviceOf)
}

func (f *families) durations(labels []string, points []point, of func(point) *scenarios.Distribution) error {
	m, ok, err := merge(points, of)
	if err != nil || !ok {
		return err
	}
	h := &dto.Histogram{SampleCount: proto.Uint64(uint64(m.count)), SampleSum: proto.Float64(tenDigits(m.sum / 1000))} //nolint:gosec // not negative
	below, next := 0, 0
	for _, bound := range bucketBounds() {
		for next < len(m.bars) && m.bars[next].from <= bound*1000 {
			below += m.bars[next].count
			next++
		}
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(uint64(below))}) //nolint:gosec // not negative
	}
	h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: proto.Float64(math.Inf(1)), CumulativeCount: h.SampleCount})
	f.add("meshlab_request_duration_seconds", labels, &dto.Metric{Histogram: h})

	q := &dto.Summary{SampleCount: h.SampleCount, SampleSum: h.SampleSum}
	for _, quantile := range []float64{0.5, 0.75, 0.9, 0.99, 0.999} {
		q.Quantile = append(q.Quantile, &dto.Quantile{Quantile: proto.Float64(quantile), Value: proto.Float64(m.at(100*quantile) / 1000)})
	}
	f.add("meshlab_request_duration_quantiles_seconds", labels, &dto.Metric{Summary: q})
	return nil
}

// bucketBounds are the same for all histograms, so that they can be added up:
// five in each decade from 0.1 ms to 10 s, in seconds.
func bucketBounds() []float64 {
	var all []float64
	for _, decade := range []float64{1e4, 1e3, 100, 10, 1} {
		for _, v := range []float64{1, 1.5, 2.5, 4, 6.5} {
			all = append(all, v/decade)
		}
	}
	return append(all, 10)
}

func (f *families) ramp(r run, ramp scenarios.Ramp) {
	f.gauge("meshlab_ramp_requests_per_second", []string{
		"run", r.ID, "scenario", ramp.Scenario, "lab", ramp.Lab, "pods", string(ramp.Pods), "mesh", ramp.Mesh,
		"percentile", number(ramp.Objective.Percentile), "below", ramp.Objective.Below.String(),
	}, ramp.Highest)
}

// compared adds the decisions of a duet. What is not known, as the bounds of too few
// pairs, has no sample.
func (f *families) compared(r run, d scenarios.Duet) {
	for _, row := range gate.Rows([]scenarios.Duet{d}) {
		labels := []string{
			"run", r.ID, "scenario", d.Scenario, "request", d.Request, "lab", d.Lab, "pods", string(d.Pods),
			"base", row.Base, "new", row.New, "metric", row.Metric,
		}
		for _, b := range []struct {
			name  string
			value float64
		}{{"estimate", row.Ratio}, {"low95", row.Low}, {"high95", row.High}, {"upper99", row.Bound}} {
			if b.value > 0 {
				f.gauge("meshlab_ratio", append(slices.Clone(labels), "bound", b.name), b.value)
			}
		}
		if row.Metric != gate.Failures {
			f.gauge("meshlab_p_value", labels, row.PAdjusted)
		}
		f.gauge("meshlab_verdict", append(slices.Clone(labels), "verdict", string(row.Verdict)), 1)
	}
}
