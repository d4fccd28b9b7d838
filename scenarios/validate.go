package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"meshlab.dev/meshlab/scenarios/stats"
)

// Validate returns all that makes the document useless to a reader, joined:
// a wrong version, cells twice or without attempts, figures that are not
// numbers or contradict each other, histograms that are missing or damaged,
// traffic without names or with names twice.
func (r *Result) Validate() error {
	var errs []error
	if r.SchemaVersion != SchemaVersion {
		errs = append(errs, fmt.Errorf("schema_version %d: this meshlab writes %d", r.SchemaVersion, SchemaVersion))
	}
	if r.ID == "" {
		errs = append(errs, errors.New("id is empty"))
	}
	if r.Finished.Before(r.Started) {
		errs = append(errs, fmt.Errorf("finished %v, before it started %v", r.Finished, r.Started))
	}
	seen := make(map[cellKey]bool)
	for i, c := range r.Cells {
		k := keyOf(c)
		if seen[k] {
			errs = append(errs, fmt.Errorf("cells[%d]: %s under %s is there twice", i, c.Point(), c.Mesh))
		}
		seen[k] = true
		if err := c.validate(); err != nil {
			errs = append(errs, fmt.Errorf("cells[%d] (%s under %s): %w", i, c.Point(), c.Mesh, err))
		}
	}
	for i, l := range r.Labs {
		if l.Traffic == nil {
			continue
		}
		if err := l.Traffic.validate(); err != nil {
			errs = append(errs, fmt.Errorf("labs[%d]: traffic: %w", i, err))
		}
	}
	for i, c := range r.Ceiling {
		if err := c.Attempt.validate(); err != nil {
			errs = append(errs, fmt.Errorf("generator_ceiling[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (c Cell) validate() error {
	if c.Request == "" || c.Mesh == "" {
		return errors.New("request or mesh is empty")
	}
	if c.Pods != SingleNode && c.Pods != MultipleNodes {
		return fmt.Errorf("pods %q: want %s or %s", c.Pods, SingleNode, MultipleNodes)
	}
	if c.Connections < 1 {
		return fmt.Errorf("connections %d: want 1 or more", c.Connections)
	}
	if len(c.Attempts) == 0 {
		return errors.New("no attempts")
	}
	for i, a := range c.Attempts {
		if err := a.validate(); err != nil {
			return fmt.Errorf("attempts[%d]: %w", i, err)
		}
	}
	return nil
}

// hdrTolerance is how far a histogram's extremes may lie from the exact ones:
// 0.1 % of its precision and a microsecond of rounding.
func hdrTolerance(ms float64) float64 { return ms*0.002 + 0.002 }

func (a Attempt) validate() error {
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"seconds", a.Seconds}, {"min_ms", a.Min}, {"avg_ms", a.Avg}, {"p50_ms", a.P50}, {"p90_ms", a.P90},
		{"p99_ms", a.P99}, {"max_ms", a.Max}, {"requests_per_second", a.RequestsPerSecond},
	} {
		if math.IsNaN(f.value) || math.IsInf(f.value, 0) || f.value < 0 {
			return fmt.Errorf("%s is %v: want a number, 0 or more", f.name, f.value)
		}
	}
	if a.Requests < 1 || a.Errors < 0 || a.Errors > a.Requests {
		return fmt.Errorf("%d errors of %d requests", a.Errors, a.Requests)
	}
	kinds := 0
	for kind, n := range a.ErrorKind {
		if n < 1 {
			return fmt.Errorf("error kind %q happened %d times", kind, n)
		}
		kinds += n
	}
	if kinds != a.Errors {
		return fmt.Errorf("the error kinds add up to %d, not to the %d errors", kinds, a.Errors)
	}
	if len(a.Fortio) > 0 && !json.Valid(a.Fortio) {
		return errors.New("fortio is not JSON")
	}
	if a.Errors == a.Requests {
		return nil // no success, so no latency either
	}
	if a.Seconds == 0 {
		return fmt.Errorf("%d answers in no time", a.Requests-a.Errors)
	}
	return a.validateLatencies()
}

func (a Attempt) validateLatencies() error {
	// The average of equal values may lie a rounding error beside them.
	const rounding = 1e-9
	if a.Min <= 0 || a.Min > a.P50 || a.P50 > a.P90 || a.P90 > a.P99 || a.P99 > a.Max ||
		a.Avg < a.Min*(1-rounding) || a.Avg > a.Max*(1+rounding) {
		return fmt.Errorf("latencies are not in order: min %v, avg %v, p50 %v, p90 %v, p99 %v, max %v ms",
			a.Min, a.Avg, a.P50, a.P90, a.P99, a.Max)
	}
	h, err := stats.DecodeHDR(a.HDR)
	if err != nil {
		return fmt.Errorf("hdr: %w", err)
	}
	if n := h.TotalCount(); n != int64(a.Requests-a.Errors) {
		return fmt.Errorf("hdr holds %d values, there were %d successes", n, a.Requests-a.Errors)
	}
	if ms := float64(h.Max()) / 1000; math.Abs(ms-a.Max) > hdrTolerance(a.Max) {
		return fmt.Errorf("hdr ends at %v ms, max_ms is %v", ms, a.Max)
	}
	return nil
}
