package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// measure is what one or several attempts of a cell came to. When Errors is
// not zero it holds no latency at all.
type measure struct {
	Requests int
	Errors   int
	Kinds    map[string]int

	Min, Avg, P50, P90, P99, Max float64 // milliseconds
	PerSecond                    float64

	perAttempt []float64 // p50 of each attempt, milliseconds
	values     []count   // ascending
}

// count says how often a latency came up.
type count struct {
	ms float64
	n  int64
}

// OK tells whether there are latencies to show.
func (m *measure) OK() bool { return m != nil && m.Errors == 0 && m.Requests > 0 }

// pool merges attempts into one measure. Percentiles come from the merged
// histograms, the others are exact: the average is weighted by the number of
// requests, requests per second are all requests over all seconds.
//
// It returns nil when there are no attempts. A single failed request leaves
// nothing but the counts of requests and errors.
func pool(attempts []scenarios.Attempt) (*measure, error) {
	if len(attempts) == 0 {
		return nil, nil //nolint:nilnil // nil is a measure, of nothing: OK is false
	}
	m := &measure{Kinds: make(map[string]int), Min: math.Inf(1)}
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
		m.perAttempt = append(m.perAttempt, a.P50)
	}
	if m.Errors > 0 {
		return &measure{Requests: m.Requests, Errors: m.Errors, Kinds: m.Kinds}, nil
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
	for _, b := range h.Distribution() {
		if b.Count > 0 {
			m.values = append(m.values, count{ms: float64(b.To) / 1000, n: b.Count})
		}
	}
	return m, nil
}

// errorText tells the errors of a measure in a few words.
func (m *measure) errorText() string {
	word := "errors"
	if m.Errors == 1 {
		word = "error"
	}
	return fmt.Sprintf("%d %s", m.Errors, word)
}

// kindsText lists the kinds of errors, the most frequent first.
func (m *measure) kindsText() string {
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

// ratio is a quotient of two p50, with the smallest and the largest over the
// attempts: attempt i of one mesh is set against attempt i of the other, which
// ran next to it.
type ratio struct {
	Value, Low, High float64
	OK               bool
}

// ratioOf sets the p50 of a over that of b. It is not OK when either has no
// latencies.
func ratioOf(a, b *measure) ratio {
	if !a.OK() || !b.OK() || b.P50 == 0 {
		return ratio{}
	}
	r := ratio{Value: a.P50 / b.P50, OK: true}
	r.Low, r.High = r.Value, r.Value
	for i := range min(len(a.perAttempt), len(b.perAttempt)) {
		q := stats.RatioOfMedians(a.perAttempt[i:i+1], b.perAttempt[i:i+1])
		r.Low, r.High = min(r.Low, q), max(r.High, q)
	}
	return r
}
