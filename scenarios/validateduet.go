package scenarios

import (
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"meshlab.dev/meshlab/scenarios/stats"
)

// number says what is wrong with a figure of a document; nil: it is finite and
// not negative.
func number(name string, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%s is %v: want a number, 0 or more", name, v)
	}
	return nil
}

func share(name string, v float64) error {
	if !(v >= 0 && v <= 1) {
		return fmt.Errorf("%s is %v: want a number from 0 to 1", name, v)
	}
	return nil
}

// validate returns what makes the duet useless to a reader.
func (d Duet) validate() error {
	if d.Lab == "" || d.Scenario == "" && d.Request == "" {
		return errors.New("lab, or scenario and request, are empty")
	}
	if err := d.Pods.validate(); err != nil {
		return err
	}
	switch d.Method {
	case Alive, ABBA:
	case Across:
		if len(d.Trials) > 0 {
			return fmt.Errorf("method %s with trials: they belong to the two runs", Across)
		}
	default:
		return fmt.Errorf("method %q: want %s, %s or %s", d.Method, Alive, ABBA, Across)
	}
	if err := errors.Join(validateVariants(d.Variants), d.Rule.validate(), number("load.rate_per_second", d.Load.Rate)); err != nil {
		return err
	}
	if len(d.Trials) > maxTrials {
		return fmt.Errorf("%d trials: want %d at most", len(d.Trials), maxTrials)
	}
	for i, k := range d.Knee {
		if d.variant(k.Variant) < 0 {
			return fmt.Errorf("knee[%d]: there is no variant %q", i, k.Variant)
		}
		if err := number("rate_per_second", k.Rate); err != nil {
			return fmt.Errorf("knee[%d]: %w", i, err)
		}
	}
	for i, t := range d.Trials {
		if err := t.validate(d); err != nil {
			return fmt.Errorf("trials[%d]: %w", i, err)
		}
	}
	if err := d.validateFaults(); err != nil {
		return err
	}
	for i, c := range d.Comparisons {
		if err := c.validate(d); err != nil {
			return fmt.Errorf("comparisons[%d] (%s against %s): %w", i, c.New, c.Base, err)
		}
	}
	return nil
}

// variant returns the index of the variant of that name, or -1.
func (d Duet) variant(name string) int {
	for i, v := range d.Variants {
		if v.Name == name {
			return i
		}
	}
	return -1
}

func (t Trial) validate(d Duet) error {
	if err := errors.Join(share("steal_ratio", t.Steal), share("busy_ratio", t.Busy), number("warm_up.seconds", t.WarmUp.Seconds)); err != nil {
		return err
	}
	if len(t.Costs) > 0 && len(t.Costs) != len(d.Variants) {
		return fmt.Errorf("costs of %d variants, there are %d", len(t.Costs), len(d.Variants))
	}
	for _, costs := range t.Costs {
		for _, c := range costs {
			if err := number("cpu_seconds of "+c.Part, c.CPUSeconds); err != nil {
				return err
			}
		}
	}
	active := 0
	for _, s := range t.Sides {
		if s.Requests > 0 {
			active++
		}
	}
	if want := len(d.Variants); d.Method == Alive && active != want || d.Method == ABBA && active != 2 {
		return fmt.Errorf("%d of %d variants were active", active, want)
	}
	return t.TrialOutcome.validate(len(d.Variants))
}

func (c Comparison) validate(d Duet) error {
	base, changed := d.variant(c.Base), d.variant(c.New)
	if base != 0 || changed < 1 {
		return errors.New("want the first variant, and another one of the duet")
	}
	if !c.Verdict.known() {
		return fmt.Errorf("verdict %q", c.Verdict)
	}
	pairs := len(pairsOf(d.Trials, changed))
	if d.Method == Across {
		pairs = maxTrials
	}
	seen := make(map[string]bool)
	for _, m := range c.Metrics {
		if seen[m.Metric] {
			return fmt.Errorf("%s is decided twice", m.Metric)
		}
		seen[m.Metric] = true
		if err := m.validate(pairs); err != nil {
			return fmt.Errorf("%s: %w", m.Metric, err)
		}
	}
	return nil
}

func (m MetricDecision) validate(pairs int) error {
	if metricOf(m.Metric) == nil {
		return fmt.Errorf("there is no metric %q", m.Metric)
	}
	if !m.Verdict.known() {
		return fmt.Errorf("verdict %q", m.Verdict)
	}
	if m.Pairs < 0 || m.Pairs > pairs {
		return fmt.Errorf("decided by %d pairs, there are %d", m.Pairs, pairs)
	}
	return errors.Join(
		number("margin", m.Margin), number("ratio", m.Ratio), number("low", m.Low), number("high", m.High),
		number("bound", m.Bound), share("p_value", m.PValue), share("p_adjusted", m.PAdjusted),
	)
}

func (v Verdict) known() bool { return v == Pass || v == Fail || v == Inconclusive }

func (p Pods) validate() error {
	if p != SingleNode && p != MultipleNodes {
		return fmt.Errorf("pods %q: want %s or %s", p, SingleNode, MultipleNodes)
	}
	return nil
}

// validate checks what a generator answered, or a document holds, for that
// many variants. Sides that were not active are zero.
func (o TrialOutcome) validate(variants int) error {
	if len(o.Sides) != variants {
		return fmt.Errorf("%d sides, there are %d variants", len(o.Sides), variants)
	}
	if err := errors.Join(number("seconds", o.Seconds), number("generator.cpu_seconds", o.Generator.CPUSeconds)); err != nil {
		return err
	}
	for i, s := range o.Sides {
		if err := s.validate(); err != nil {
			return fmt.Errorf("sides[%d]: %w", i, err)
		}
	}
	// Some requests waited for a connection: the others are in the histogram.
	late := o.Generator.Lateness
	if late.HDR == "" && late == (Distribution{}) {
		return nil
	}
	if err := late.validate(-1, 0); err != nil {
		return fmt.Errorf("generator.lateness: %w", err)
	}
	return nil
}

func (s SideOutcome) validate() error {
	if s.Requests < 0 || s.Errors < 0 || s.Errors > s.Requests {
		return fmt.Errorf("%d errors of %d requests", s.Errors, s.Requests)
	}
	if err := validateKinds(s.ErrorKind, s.Errors); err != nil {
		return err
	}
	for i, w := range s.Windows {
		err := errors.Join(number("at_s", w.At), number("n", float64(w.N)), number("p50_ms", w.P50), number("p99_ms", w.P99))
		if err != nil {
			return fmt.Errorf("windows[%d]: %w", i, err)
		}
	}
	for i, r := range s.Log {
		// A request is never sent before it is to start, but clocks are read twice.
		if err := errors.Join(number("at_ms", r.At), number("service_ms", r.Service)); err != nil || math.IsNaN(r.Late) || math.IsInf(r.Late, 0) {
			return fmt.Errorf("log[%d]: late_ms %v: %w", i, r.Late, err)
		}
	}
	answers := s.Requests - s.Errors
	if answers == 0 {
		if s.Latency != (Distribution{}) || s.Service != (Distribution{}) {
			return errors.New("latencies without any answer")
		}
		return nil
	}
	if err := s.Latency.validate(answers, math.SmallestNonzeroFloat64); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	if err := s.Service.validate(answers, math.SmallestNonzeroFloat64); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	return nil
}

func validateKinds(kinds map[string]int, errs int) error {
	sum := 0
	for kind, n := range kinds {
		if n < 1 {
			return fmt.Errorf("error kind %q happened %d times", kind, n)
		}
		sum += n
	}
	if sum != errs {
		return fmt.Errorf("the error kinds add up to %d, not to the %d errors", sum, errs)
	}
	return nil
}

// validate checks a distribution of that many values, none below least; count
// -1: any number of them.
func (d Distribution) validate(count int, least float64) error {
	err := errors.Join(number("min_ms", d.Min), number("avg_ms", d.Avg), number("p50_ms", d.P50),
		number("p90_ms", d.P90), number("p99_ms", d.P99), number("max_ms", d.Max))
	if err != nil {
		return err
	}
	if d.Min < least {
		return fmt.Errorf("min_ms is %v: nothing is answered in no time", d.Min)
	}
	// The average of equal values may lie a rounding error beside them.
	const rounding = 1e-9
	if d.Min > d.P50 || d.P50 > d.P90 || d.P90 > d.P99 || d.P99 > d.Max ||
		d.Avg < d.Min*(1-rounding) || d.Avg > d.Max*(1+rounding) {
		return fmt.Errorf("latencies are not in order: min %v, avg %v, p50 %v, p90 %v, p99 %v, max %v ms",
			d.Min, d.Avg, d.P50, d.P90, d.P99, d.Max)
	}
	return validateHDR(d.HDR, count, d.Max)
}

// hdrTolerance is how far a histogram's extremes may lie from the exact ones:
// 0.1 % of its precision and a microsecond of rounding.
func hdrTolerance(ms float64) float64 { return ms*0.002 + 0.002 }

// validateHDR checks that a histogram decodes, holds count values (-1: any
// number but 0) and ends at most.
func validateHDR(encoded string, count int, most float64) error {
	if err := checkGeometry(encoded); err != nil {
		return fmt.Errorf("hdr: %w", err)
	}
	h, err := stats.DecodeHDR(encoded)
	if err != nil {
		return fmt.Errorf("hdr: %w", err)
	}
	if n := h.TotalCount(); count >= 0 && n != int64(count) || n == 0 {
		return fmt.Errorf("hdr holds %d values, there were %d successes", n, count)
	}
	// What lies above the scale, such as the wait of a queue that grew for minutes,
	// is counted at its end, and exact in most.
	const end = stats.HDRHighestMicros / 1000.0
	if ms := float64(h.Max()) / 1000; math.Abs(min(ms, end)-min(most, end)) > hdrTolerance(min(most, end)) {
		return fmt.Errorf("hdr ends at %v ms, max_ms is %v", ms, most)
	}
	return nil
}

// The header of a V2 histogram, before and after compression; see Decode and
// decodeDeCompressedHeaderFormat of hdrhistogram-go.
const (
	hdrOuterHeader = 8
	hdrInnerHeader = 40
	hdrDigitsAt    = 12
	hdrHighestAt   = 24
)

// The widest histogram that is decoded: with three digits up to an hour it has
// 22 doublings of 1024 counters.
const (
	hdrMostDigits  = 3
	hdrMostHighest = uint64(time.Hour / time.Microsecond)
)

// checkGeometry refuses a histogram of a wide range or a high precision before
// it is decoded. A few bytes can ask for counters of 50 MB, and a document may
// hold thousands of histograms.
func checkGeometry(encoded string) error {
	if encoded == "" {
		return stats.ErrNoHistogram
	}
	r := base64.NewDecoder(base64.StdEncoding, strings.NewReader(encoded))
	if _, err := io.CopyN(io.Discard, r, hdrOuterHeader); err != nil {
		return fmt.Errorf("decode HDR histogram: %w", err)
	}
	z, err := zlib.NewReader(r)
	if err != nil {
		return fmt.Errorf("decode HDR histogram: %w", err)
	}
	var header [hdrInnerHeader]byte
	if _, err := io.ReadFull(z, header[:]); err != nil {
		return fmt.Errorf("decode HDR histogram: %w", err)
	}
	digits, highest := binary.BigEndian.Uint32(header[hdrDigitsAt:]), binary.BigEndian.Uint64(header[hdrHighestAt:])
	if digits > hdrMostDigits || highest > hdrMostHighest {
		return fmt.Errorf("decode HDR histogram: %d digits up to %d us: want %d digits up to %d us at most",
			digits, highest, hdrMostDigits, hdrMostHighest)
	}
	return nil
}
