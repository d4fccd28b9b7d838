// Package cells pools the attempts of closed-loop cells into the figures that
// the page, the Markdown and the printed report show alike, and names meshes
// and loads for people.
package cells

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"meshlab.dev/meshlab/reports/internal/format"
	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// Measure is what one or several attempts of a cell came to. When Errors is
// not zero it holds no latency at all.
type Measure struct {
	Requests int
	Errors   int
	Kinds    map[string]int

	Min, Avg, P50, P90, P99, Max float64 // milliseconds
	PerSecond                    float64

	PerAttempt []float64 // p50 of each attempt, milliseconds

	HDR *hdrhistogram.Histogram // of successes, microseconds
}

// OK tells whether there are latencies to show.
func (m *Measure) OK() bool { return m != nil && m.Errors == 0 && m.Requests > 0 }

// Pool merges attempts into one Measure. Percentiles come from the merged
// histograms, the others are exact: the average is weighted by the number of
// requests, requests per second are all requests over all seconds.
//
// It returns nil when there are no attempts. A single failed request leaves
// nothing but the counts of requests and errors.
func Pool(attempts []scenarios.Attempt) (*Measure, error) {
	if len(attempts) == 0 {
		return nil, nil //nolint:nilnil // nil is a Measure, of nothing: OK is false
	}
	m := &Measure{Kinds: make(map[string]int), Min: math.Inf(1)}
	var sum, seconds float64
	var encoded []string
	for _, a := range attempts {
		m.Requests += a.Requests
		m.Errors += a.Errors
		for kind, n := range a.ErrorKind {
			m.Kinds[kind] += n
		}
		m.Min, m.Max = min(m.Min, a.Min), max(m.Max, a.Max)
		sum += a.Avg * float64(a.Requests)
		seconds += a.Seconds
		encoded = append(encoded, a.HDR)
		m.PerAttempt = append(m.PerAttempt, a.P50)
	}
	if m.Errors > 0 {
		return &Measure{Requests: m.Requests, Errors: m.Errors, Kinds: m.Kinds}, nil
	}
	h, err := stats.MergeHDR(encoded...)
	if err != nil {
		return nil, err
	}
	m.Avg = sum / float64(m.Requests)
	m.PerSecond = float64(m.Requests) / seconds
	at := func(p float64) float64 {
		// The histogram rounds up within its precision; the exact extremes bound it.
		return min(max(float64(h.ValueAtPercentile(p))/1000, m.Min), m.Max)
	}
	m.P50, m.P90, m.P99 = at(50), at(90), at(99)
	m.HDR = h
	return m, nil
}

// ErrorText tells the errors of a Measure in a few words.
func (m *Measure) ErrorText() string {
	word := "errors"
	if m.Errors == 1 {
		word = "error"
	}
	return fmt.Sprintf("%d %s", m.Errors, word)
}

// KindsText lists the kinds of errors, the most frequent first.
func (m *Measure) KindsText() string {
	kinds := make([]string, 0, len(m.Kinds))
	for k := range m.Kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b string) int {
		if m.Kinds[a] != m.Kinds[b] {
			return m.Kinds[b] - m.Kinds[a]
		}
		return strings.Compare(a, b)
	})
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%s ×%d", k, m.Kinds[k])
	}
	return strings.Join(kinds, ", ")
}

// Ratio is a quotient of two p50, with the smallest and the largest over the
// attempts: attempt i of one mesh is set against attempt i of the other, which
// ran next to it.
type Ratio struct {
	Value, Low, High float64
	OK               bool
}

// RatioOf sets the p50 of a over that of b. It is not OK when either has no
// latencies.
func RatioOf(a, b *Measure) Ratio {
	if !a.OK() || !b.OK() || b.P50 == 0 {
		return Ratio{}
	}
	r := Ratio{Value: a.P50 / b.P50, OK: true}
	r.Low, r.High = r.Value, r.Value
	for i := range min(len(a.PerAttempt), len(b.PerAttempt)) {
		q := stats.RatioOfMedians(a.PerAttempt[i:i+1], b.PerAttempt[i:i+1])
		r.Low, r.High = min(r.Low, q), max(r.High, q)
	}
	return r
}

// String prints a ratio with the range over its attempts.
func (r Ratio) String() string {
	if !r.OK {
		return format.Missing
	}
	return format.TimesRange(r.Value, r.Low, r.High)
}

// Cell is one mesh at one load.
type Cell struct {
	First *Measure // attempt 1
	Later *Measure // all others, pooled
	All   *Measure // what failed in any attempt
}

// PoolCell pools the attempts of a cell, the first one apart. With an error in
// any of them, only All is there.
func PoolCell(c scenarios.Cell) (*Cell, error) {
	var out Cell
	var err error
	failed := slices.ContainsFunc(c.Attempts, func(a scenarios.Attempt) bool { return a.Errors > 0 })
	if failed {
		out.All, err = Pool(c.Attempts)
		return &out, err
	}
	out.All = &Measure{}
	if out.First, err = Pool(c.Attempts[:1]); err != nil {
		return nil, err
	}
	out.Later, err = Pool(c.Attempts[1:])
	return &out, err
}

// Counted returns the pooled later attempts, or a measure that is not OK when
// any attempt of the cell, the first one included, had an error.
func (c *Cell) Counted() *Measure {
	switch {
	case c == nil:
		return nil
	case c.All.Errors > 0:
		return c.All
	}
	return c.Later
}

// Cold is the same as Counted, for the first attempt.
func (c *Cell) Cold() *Measure {
	switch {
	case c == nil:
		return nil
	case c.All.Errors > 0:
		return c.All
	}
	return c.First
}
