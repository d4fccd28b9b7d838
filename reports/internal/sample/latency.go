package sample

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/HdrHistogram/hdrhistogram-go"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// latencies turns values into what documents hold. It keeps one histogram,
// for a new one is large.
type latencies struct{ h *hdrhistogram.Histogram }

func newLatencies() *latencies { return &latencies{stats.NewHDR()} }

// hdr encodes values, in milliseconds.
func (l *latencies) hdr(ms []float64) string {
	l.h.Reset()
	for _, v := range ms {
		if err := l.h.RecordValue(max(1, int64(math.Round(v*1000)))); err != nil {
			panic(fmt.Sprintf("record %v ms: %v", v, err))
		}
	}
	s, err := stats.EncodeHDR(l.h)
	if err != nil {
		panic(err.Error())
	}
	return s
}

// of returns the figures and the histogram of values, which it sorts.
func (l *latencies) of(ms []float64) scenarios.Distribution {
	if len(ms) == 0 {
		return scenarios.Distribution{}
	}
	s := stats.Summarize(ms)
	return scenarios.Distribution{Min: s.Min, Avg: s.Avg, P50: s.P50, P90: s.P90, P99: s.P99, Max: s.Max, HDR: l.hdr(ms)}
}

// draw returns service times like those of a busy machine: a log-normal body
// around the median, and a few stragglers.
func draw(rng *rand.Rand, n int, median float64) []float64 {
	ms := make([]float64, n)
	for i := range ms {
		v := median * math.Exp(0.2*rng.NormFloat64())
		if rng.Float64() < 0.02 {
			v *= 1.5 + 4*rng.Float64()
		}
		ms[i] = round(v)
	}
	return ms
}

// round leaves tenths of microseconds.
func round(ms float64) float64 { return math.Round(ms*1e4) / 1e4 }
