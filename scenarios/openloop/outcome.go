package openloop

import (
	"fmt"
	"math"
	"time"

	"meshlab.dev/meshlab/scenarios"
	"meshlab.dev/meshlab/scenarios/stats"
)

// outcome adds up the records of a trial that has ended, for that many sides.
func (t *trial) outcome(sides int) (scenarios.TrialOutcome, error) {
	o := scenarios.TrialOutcome{
		Started: t.clock.start.UTC(),
		Seconds: t.took.Seconds(),
		Sides:   make([]scenarios.SideOutcome, sides),
	}
	var late []float64
	for i, a := range t.plan {
		switch r := t.records[i]; {
		case r.end == 0:
		case r.queued:
			o.Generator.Queued++
		default:
			late = append(late, millis(r.sent-a.at))
		}
	}
	o.Generator.CPUSeconds = t.cpu.Seconds()
	var err error
	if o.Generator.Lateness, err = distribution(late); err != nil {
		return scenarios.TrialOutcome{}, err
	}
	for _, q := range t.queues {
		if o.Sides[t.plan[q.arrivals[0]].side], err = t.sideOutcome(q); err != nil {
			return scenarios.TrialOutcome{}, err
		}
	}
	return o, nil
}

func (t *trial) sideOutcome(q *queue) (scenarios.SideOutcome, error) {
	s := scenarios.SideOutcome{Requests: len(q.arrivals), ErrorKind: make(map[string]int)}
	latency := make([]float64, 0, len(q.arrivals))
	service := make([]float64, 0, len(q.arrivals))
	for _, i := range q.arrivals {
		a, r := t.plan[i], t.records[i]
		if r.end == 0 {
			r.kind = fmt.Sprintf("not sent within %v", t.spec.Limit)
		}
		if t.spec.Log {
			at := scenarios.RequestAt{At: millis(a.at), Step: a.step, Error: r.kind}
			if r.end != 0 {
				at.Late, at.Service = millis(r.sent-a.at), millis(r.end-r.sent)
			}
			s.Log = append(s.Log, at)
		}
		if r.kind != "" {
			s.ErrorKind[r.kind]++
			s.Errors++
			continue
		}
		latency = append(latency, millis(r.end-a.at))
		service = append(service, millis(r.end-r.sent))
	}
	s.Windows = t.windows(q)
	var err error
	if s.Latency, err = distribution(latency); err != nil {
		return scenarios.SideOutcome{}, err
	}
	s.Service, err = distribution(service)
	return s, err
}

// windows cuts the trial of a side into stretches, by intended start.
func (t *trial) windows(q *queue) []scenarios.Window {
	if t.spec.Window == 0 {
		return nil
	}
	var all []scenarios.Window
	var latency []float64 // of the last window
	end := func() {
		if len(all) == 0 {
			return
		}
		w := &all[len(all)-1]
		sum := stats.Summarize(latency)
		w.N, w.P50, w.P99 = len(latency), sum.P50, sum.P99
		latency = latency[:0]
	}
	for _, i := range q.arrivals {
		a, r := t.plan[i], t.records[i]
		if a.at >= t.spec.Limit {
			break // nothing that was to start later was sent
		}
		for time.Duration(len(all))*t.spec.Window <= a.at {
			end()
			all = append(all, scenarios.Window{At: (time.Duration(len(all)) * t.spec.Window).Seconds()})
		}
		if r.end != 0 && r.kind == "" {
			latency = append(latency, millis(r.end-a.at))
		} else {
			all[len(all)-1].Errors++
		}
	}
	end()
	return all
}

// distribution sums up milliseconds, which it sorts. What lies beyond the
// histogram's ends is counted at its ends.
func distribution(values []float64) (scenarios.Distribution, error) {
	if len(values) == 0 {
		return scenarios.Distribution{}, nil
	}
	h := stats.NewHDR()
	for _, v := range values {
		micros := min(max(int64(math.Round(v*1000)), stats.HDRLowestMicros), stats.HDRHighestMicros)
		if err := h.RecordValue(micros); err != nil {
			return scenarios.Distribution{}, fmt.Errorf("record a latency of %v ms: %w", v, err)
		}
	}
	text, err := stats.EncodeHDR(h)
	if err != nil {
		return scenarios.Distribution{}, err
	}
	s := stats.Summarize(values)
	return scenarios.Distribution{Min: s.Min, Avg: s.Avg, P50: s.P50, P90: s.P90, P99: s.P99, Max: s.Max, HDR: text}, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
