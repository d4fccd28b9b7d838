package scenarios

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// The bounds of an Objective.
const (
	minPercentile = 1
	maxPercentile = 99.9
	maxErrors     = 0.5
)

// ParseObjective reads an objective as in "p99=20ms", which no request may
// fail.
func ParseObjective(s string) (Objective, error) {
	p, below, ok := strings.Cut(s, "=")
	percentile, err := strconv.ParseFloat(strings.TrimPrefix(p, "p"), 64)
	d, durationErr := time.ParseDuration(below)
	if !ok || !strings.HasPrefix(p, "p") || err != nil || durationErr != nil {
		return Objective{}, fmt.Errorf("objective %.64q: want a percentile and a duration, as in p99=20ms", s)
	}
	o := Objective{Percentile: percentile, Below: d}
	if err := o.Validate(); err != nil {
		return Objective{}, fmt.Errorf("objective %.64q: %w", s, err)
	}
	return o, nil
}

// String is the objective in the form that ParseObjective reads.
func (o Objective) String() string { return fmt.Sprintf("p%g=%v", o.Percentile, o.Below) }

// Validate returns all errors of the objective, joined.
func (o Objective) Validate() error {
	var errs []error
	if !(o.Percentile >= minPercentile && o.Percentile <= maxPercentile) {
		errs = append(errs, fmt.Errorf("percentile %g: want %d to %g", o.Percentile, minPercentile, maxPercentile))
	}
	if o.Below <= 0 || o.Below > MaxTimeout {
		errs = append(errs, fmt.Errorf("latency %v: want more than 0 and at most %v", o.Below, MaxTimeout))
	}
	if !(o.Errors >= 0 && o.Errors <= maxErrors) {
		errs = append(errs, fmt.Errorf("share of errors %g: want 0 to %g", o.Errors, maxErrors))
	}
	return errors.Join(errs...)
}

// Kept reports whether what was sent kept the objective. It returns an error
// when the histogram cannot be read.
func (o Objective) Kept(s SideOutcome) (bool, error) {
	if s.Errors >= s.Requests || float64(s.Errors) > o.Errors*float64(s.Requests) {
		return false, nil
	}
	ms, err := o.of(s.Latency)
	if err != nil {
		return false, err
	}
	return ms < o.Below.Seconds()*1e3, nil
}

// of returns the percentile of the objective in milliseconds: the exact figure
// where the distribution has it, or that of its histogram.
func (o Objective) of(d Distribution) (float64, error) {
	switch o.Percentile {
	case 50:
		return d.P50, nil
	case 90:
		return d.P90, nil
	case 99:
		return d.P99, nil
	}
	h, err := stats.DecodeHDR(d.HDR)
	if err != nil {
		return 0, fmt.Errorf("percentile %g of the latencies: %w", o.Percentile, err)
	}
	return float64(h.ValueAtQuantile(o.Percentile)) / 1e3, nil
}

// sample is how many requests the percentile needs for ten of them to lie
// beyond it, and never fewer than 200.
func (o Objective) sample() int {
	return max(200, int(math.Ceil(10/(1-o.Percentile/100))))
}
